//! Numbers of replicas together with how well they pack, where those by load alone don't pack well.

use super::counts::Replicas;
use super::pack::Packing;
use crate::seed::{Purpose, generator};
use rand::RngExt;
use topology::Cluster;

/// Slots packed, over all counts of replicas that are tried.
const SLOTS_TRIED: usize = 1 << 15;
/// How much fuller the fullest rank may get by a step of the search, when it begins; less and less, and nothing in the end.
const BACKWARDS: f64 = 0.1;

/// Counts of replicas, and a packing of them, whose fullest rank is below that of `packed` if any are found: one fewer of one expert, one
/// more of another, again and again, within [`SLOTS_TRIED`]. Steps back are taken too, smaller and smaller ones.
pub(super) fn evener(
    cluster: &Cluster,
    load: &[f64],
    counts: Vec<Replicas>,
    packed: Packing,
    enough: f64,
) -> (Vec<Replicas>, Packing) {
    let slots: u32 = counts.iter().map(|replicas| replicas.count).sum();
    let tries = SLOTS_TRIED / slots.max(1) as usize;
    let mut rng = generator(Purpose::Placement, 0, [0, 0, 0]);
    let (mut at, mut fullest) = (counts.clone(), packed.fullest());
    let mut best = (counts, packed);
    for tried in 0..tries {
        if best.1.fullest() <= enough {
            break;
        }
        let donors: Vec<usize> = (0..at.len()).filter(|&expert| at[expert].count > 1).collect();
        if donors.is_empty() {
            break;
        }
        let donor = donors[rng.random_range(0..donors.len())];
        let receiver = rng.random_range(0..at.len());
        if receiver == donor || at[receiver].count >= cluster.num_ranks() {
            continue;
        }
        let mut counts = at.clone();
        for (expert, count) in [(receiver, at[receiver].count + 1), (donor, at[donor].count - 1)] {
            counts[expert] = Replicas { count, load: load[expert] / f64::from(count) };
        }
        let mut packing = Packing::by_load(cluster, &counts, slots);
        packing.even_out(enough);
        let back = BACKWARDS * (1.0 - tried as f64 / tries as f64);
        if packing.fullest() <= fullest * (1.0 + back) {
            (at, fullest) = (counts.clone(), packing.fullest());
        }
        if packing.fullest() < best.1.fullest() {
            best = (counts, packing);
        }
    }
    best
}
