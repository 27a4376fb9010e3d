//! Shares from demand: the fullest rank as empty as it can be, then as many tokens as possible in their own rack.
//!
//! Both are flows. The least possible load of the fullest rank is found by Newton's method on minimum cuts: where a set of
//! experts doesn't fit on the ranks that hold it, no choice does with less than their mean. Then a flow of least cost, 0
//! for a replica in the source's rack and 1 for another, fills the ranks up to that load.

use super::flow::Network;
use super::{Shares, check_size};
use crate::ids::{ExpertId, SlotId};
use crate::placement::{Placement, PlacementError};
use topology::{Cluster, RackId};

/// Steps of Newton's method; it takes a handful.
const MAX_STEPS: usize = 64;

/// Shares for `demand` (`[racks][experts]`, in any unit), with ranks no fuller than the least that is possible, or than
/// `at_most` where that is more.
pub(in crate::placement) fn solve(
    cluster: &Cluster,
    placement: &Placement,
    demand: &[Vec<f64>],
    at_most: f64,
    origin: &str,
) -> Result<Shares, PlacementError> {
    let replicated = &placement.replicated;
    if replicated.is_empty() {
        return Ok(Shares::default());
    }
    check_size(origin, cluster.num_racks(), replicated.len() as u32)?;
    let units = Units::new(demand);
    let (wanted, base) = integers(placement, demand, &units);
    let least = least_load(placement, &wanted, &base);
    // A little more than the least, so that rounding doesn't send tokens across.
    let capacity = (least + (least >> 12) + 1).max(units.floor(at_most));
    Ok(local_first(cluster, placement, &wanted, &base, capacity))
}

/// The least that the fullest rank can carry of `load`, tokens by expert, in its unit.
pub(in crate::placement) fn fullest_rank(placement: &Placement, load: &[f64]) -> f64 {
    let demand = [load.to_vec()];
    let units = Units::new(&demand);
    let (wanted, base) = integers(placement, &demand, &units);
    least_load(placement, &wanted, &base) as f64 / units.0.max(f64::MIN_POSITIVE)
}

/// What each row of `demand` wants of each expert with replicas, and what each rank gets for those without.
fn integers(placement: &Placement, demand: &[Vec<f64>], units: &Units) -> (Vec<Vec<u64>>, Vec<u64>) {
    let mut base = vec![0_u64; placement.num_ranks() as usize];
    for expert in (0..placement.num_experts()).map(ExpertId) {
        if let &[only] = placement.replicas_of(expert) {
            let sent: u64 = demand.iter().map(|rack| units.of(rack[expert.0 as usize])).sum();
            base[placement.rank_of(only).0 as usize] += sent;
        }
    }
    let row = |rack: &Vec<f64>| {
        placement.replicated.iter().map(|expert| units.of(rack[expert.0 as usize])).collect::<Vec<u64>>()
    };
    (demand.iter().map(row).collect(), base)
}

/// Demand in integers: at least 1, so that an expert without load has shares too, and 2^36 in all.
struct Units(f64);

impl Units {
    fn new(demand: &[Vec<f64>]) -> Self {
        let total: f64 = demand.iter().flatten().sum();
        Self(if total > 0.0 { (1_u64 << 36) as f64 / total } else { 0.0 })
    }

    fn of(&self, amount: f64) -> u64 {
        (amount * self.0).round() as u64 + 1
    }

    fn floor(&self, amount: f64) -> u64 {
        (amount * self.0) as u64
    }
}

/// The least that the fullest rank can carry, rounded up.
fn least_load(placement: &Placement, wanted: &[Vec<u64>], base: &[u64]) -> u64 {
    let experts = placement.replicated.len();
    let sent: Vec<u64> = (0..experts).map(|at| wanted.iter().map(|rack| rack[at]).sum()).collect();
    let total = sent.iter().sum::<u64>();
    let (source, sink, ranks) = (0, 1, base.len());
    let mean = (total + base.iter().sum::<u64>()).div_ceil(ranks as u64);
    let mut load = mean.max(base.iter().copied().max().unwrap_or(0));
    for _ in 0..MAX_STEPS {
        let mut network = Network::new(2 + experts + ranks);
        for (rank, &base) in base.iter().enumerate() {
            network.arc(2 + experts + rank, sink, load - base, 0);
        }
        for (at, &sent) in sent.iter().enumerate() {
            network.arc(source, 2 + at, sent, 0);
            for &slot in placement.replicas_of(placement.replicated[at]) {
                network.arc(2 + at, 2 + experts + placement.rank_of(slot).0 as usize, sent, 0);
            }
        }
        if network.maximise(source, sink) == total {
            break;
        }
        // These experts are held by these ranks alone, and are more than fits.
        let reached = network.reachable(source);
        let crowd: u64 = (0..experts).filter(|at| reached[2 + at]).map(|at| sent[at]).sum();
        let holders = (0..ranks).filter(|rank| reached[2 + experts + rank]);
        let (count, held) = holders.fold((0, 0), |(count, held), rank| (count + 1, held + base[rank]));
        load = (crowd + held).div_ceil(count);
    }
    load
}

/// Fills ranks up to `capacity`, own racks first. What an expert can't keep in its racks goes through a pool of its replicas.
fn local_first(
    cluster: &Cluster,
    placement: &Placement,
    wanted: &[Vec<u64>],
    base: &[u64],
    capacity: u64,
) -> Shares {
    let (experts, racks) = (placement.replicated.len(), wanted.len());
    let (source, sink, pools, ranks) = (0, 1, 2 + racks * experts, 2 + (racks + 1) * experts);
    let mut network = Network::new(ranks + base.len());
    for (rank, base) in base.iter().enumerate() {
        network.arc(ranks + rank, sink, capacity.saturating_sub(*base), 0);
    }
    let in_rack = |slot: SlotId, rack: RackId| cluster.rack_of(placement.rank_of(slot)) == rack;
    let arc_to = |network: &mut Network, from, slot: SlotId| {
        (slot, network.arc(from, ranks + placement.rank_of(slot).0 as usize, u64::MAX >> 8, 0))
    };
    // Arcs of (rack, expert) to its own slots and to the pool; of each pool to all slots.
    let mut own: Vec<Vec<(SlotId, usize)>> = Vec::with_capacity(racks * experts);
    let mut away = Vec::with_capacity(racks * experts);
    for (rack, wanted) in cluster.racks().zip(wanted) {
        for (at, &amount) in wanted.iter().enumerate() {
            let node = 2 + rack.0 as usize * experts + at;
            network.arc(source, node, amount, 0);
            let slots = placement.replicas_of(placement.replicated[at]).iter().copied();
            own.push(
                slots
                    .filter(|&slot| in_rack(slot, rack))
                    .map(|slot| arc_to(&mut network, node, slot))
                    .collect(),
            );
            away.push(network.arc(node, pools + at, amount, 1));
        }
    }
    let pooled: Vec<Vec<(SlotId, usize)>> = (0..experts)
        .map(|at| {
            let slots = placement.replicas_of(placement.replicated[at]).iter();
            slots.map(|&slot| arc_to(&mut network, pools + at, slot)).collect()
        })
        .collect();
    network.maximise(source, sink);

    let mut pooled: Vec<Vec<(SlotId, u64)>> = pooled
        .into_iter()
        .map(|arcs| arcs.into_iter().map(|(slot, arc)| (slot, network.flow(arc))).collect())
        .collect();
    let lists = (0..racks * experts).map(|row| {
        let at = row % experts;
        let flows = own[row].iter().map(|&(slot, arc)| (slot, network.flow(arc)));
        let mut list: Vec<(SlotId, u64)> = flows.filter(|&(_, amount)| amount > 0).collect();
        // The pool serves racks in order, slots in order: few pairs of a rack and a slot, and low racks go to low slots.
        let mut rest = network.flow(away[row]);
        for (slot, left) in &mut pooled[at] {
            let taken = rest.min(*left);
            if taken > 0 {
                list.push((*slot, taken));
                (rest, *left) = (rest - taken, *left - taken);
            }
        }
        if list.is_empty() {
            list.push((placement.replicas_of(placement.replicated[at])[0], 1));
        }
        list
    });
    Shares::from_amounts(lists)
}
