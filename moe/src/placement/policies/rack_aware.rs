//! Rack-aware placement: ranks as even as EPLB's, never two replicas of an expert on one, and as little as possible that
//! crosses racks.
//!
//! Replicas go where the load a replica is largest, as in EPLB. Two starts are made: racks grown from experts that are picked
//! together or come from there, and ranks packed by load alone. Both are evened out up to a limit on the fullest rank, then
//! improved by swaps that keep to it. The one with the fewest tokens that cross wins. All of it is bounded, and decided by
//! the demand alone.

mod grow;
mod pack;
mod routes;
mod search;

use super::eplb;
use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes, shares};
use pack::Packing;
use search::Search;
use topology::Cluster;

const ORIGIN: &str = "rack-aware placement";

/// What a token that crosses costs: once for each other rack it visits (hierarchical dispatch), and once for each expert
/// there (flat dispatch).
const COSTS: [i64; 2] = [4, 1];
/// Tokens that stand for the demand.
const TOKENS: usize = 1024;
/// Tokens times racks, at most, as long as there are half as many tokens: work grows with both.
const TOKENS_AND_RACKS: usize = 5120;
/// Slots packed, over all counts of replicas that are tried where those of EPLB don't come out even.
const SLOTS_TRIED: u32 = 1 << 14;
/// Passes of swaps after which the better start is kept, and passes that it then gets.
const TRIAL_PASSES: usize = 2;
const PASSES: usize = 8;
/// How far balancedness may stay behind EPLB's, of the 0.01 allowed; less where that itself is small.
const SLACK: f64 = 0.006;
/// The same with replicas chosen; smaller, since shares are rounded.
const CHOSEN_SLACK: f64 = 0.0045;

/// The policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RackAware;

impl PlacementPolicy for RackAware {
    fn name(&self) -> &str {
        "rack-aware"
    }

    fn help(&self) -> &str {
        "as even as EPLB, no expert twice on a rank, tokens in as few racks as that allows"
    }

    /// Any number of experts, ranks and racks; slots are split evenly over the ranks, those left over evenly over the racks.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if there are fewer slots than experts, or more than one an expert and rank.
    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let (experts, ranks) = (demand.load().len() as u32, cluster.num_ranks());
        check_sizes(ORIGIN, experts, slots.into())?;
        if slots < experts || u64::from(slots) > u64::from(experts) * u64::from(ranks) {
            let problem = format!(
                "{slots} slots for {experts} experts on {ranks} ranks: give at least one an expert, and at most one an expert \
                 and rank"
            );
            return Err(PlacementError::refused(ORIGIN, problem));
        }
        let by_rack = demand.by_rack(cluster);
        let load: Vec<f64> = demand.load().iter().map(|&tokens| tokens as f64).collect();
        let mut share = replica_loads(&load, slots, ranks);
        let mut packed = Packing::by_load(cluster, &share, slots);
        let Limits { even, tight, chosen, eplb } = limits(&load, slots, ranks, packed.fullest())?;
        packed.even_out(tight.min(even));
        let limit = packed.fullest().max(tight).min(even);
        if packed.fullest() > limit {
            (share, packed) = match eplb.and_then(|map| of_eplb(cluster, &load, &map)) {
                Some(eplb) => eplb,
                None => evener(cluster, &load, share, packed, limit),
            };
        }
        let tokens = (TOKENS_AND_RACKS / cluster.num_racks() as usize).clamp(TOKENS / 2, TOKENS);
        let sample = demand.sample(cluster, tokens, 0);

        let starts = [Packing::grown(cluster, &share, slots, &sample), packed].map(|mut packing| {
            packing.even_out(limit);
            let mut search = Search::new(cluster, &by_rack, &sample, packing);
            search.improve(limit, TRIAL_PASSES);
            search
        });
        // Those within the limit by their cost, before those that are not by their fullest rank.
        let over = |search: &Search| (search.fullest() - limit).max(0.0);
        let best = starts.into_iter().reduce(|a, b| {
            let order = over(&a).total_cmp(&over(&b)).then(a.cost().cmp(&b.cost()));
            if order.is_le() { a } else { b }
        });
        let mut search = best.expect("there were starts");
        search.improve(limit, PASSES);
        let packing = search.finish();
        let (map, counts) = packing.into_map();
        Placement::indexed(map.into_iter().map(ExpertId).collect(), &counts, experts, ORIGIN)?.for_demand(
            cluster,
            &by_rack,
            chosen.min(limit),
        )
    }
}

/// An expert's replicas and the load of one.
#[derive(Clone, Copy, Debug)]
struct Replicas {
    count: u32,
    load: f64,
}

/// One slot an expert, then each further one to the expert with the most load a replica that still has a rank without it.
fn replica_loads(load: &[f64], slots: u32, ranks: u32) -> Vec<Replicas> {
    let mut replicas: Vec<Replicas> = load.iter().map(|&load| Replicas { count: 1, load }).collect();
    for _ in load.len() as u32..slots {
        let open = (0..load.len()).rev().filter(|&expert| replicas[expert].count < ranks);
        // The first of the hottest; without any load left, the one with the fewest.
        let hottest = open.max_by(|&a, &b| {
            let (a, b) = (replicas[a], replicas[b]);
            a.load.total_cmp(&b.load).then(b.count.cmp(&a.count))
        });
        let hottest = hottest.expect("no more slots than experts times ranks");
        replicas[hottest].count += 1;
        replicas[hottest].load = load[hottest] / f64::from(replicas[hottest].count);
    }
    replicas
}

/// EPLB's own replicas and packing, which is below the limit, if it has no expert twice on a rank.
fn of_eplb(cluster: &Cluster, load: &[f64], map: &[ExpertId]) -> Option<(Vec<Replicas>, Packing)> {
    let mut replicas: Vec<Replicas> = load.iter().map(|&load| Replicas { count: 0, load }).collect();
    map.iter().for_each(|expert| replicas[expert.0 as usize].count += 1);
    replicas.iter_mut().for_each(|replicas| replicas.load /= f64::from(replicas.count));
    let packing = Packing::of_map(cluster, &replicas, map)?;
    Some((replicas, packing))
}

/// Other counts of replicas for a packing that is above `limit`: one fewer of an expert whose replicas carry little, one more
/// of one whose replicas carry much, as long as that evens the ranks out; within [`SLOTS_TRIED`].
fn evener(
    cluster: &Cluster,
    load: &[f64],
    counts: Vec<Replicas>,
    packed: Packing,
    limit: f64,
) -> (Vec<Replicas>, Packing) {
    let slots: u32 = counts.iter().map(|replicas| replicas.count).sum();
    let (mut best, mut best_packing, mut tried) = (counts, packed, 0);
    'better: loop {
        let mut order: Vec<usize> = (0..load.len()).collect();
        order.sort_by(|&a, &b| best[b].load.total_cmp(&best[a].load).then(a.cmp(&b)));
        let receives = order.iter().filter(|&&expert| best[expert].count < cluster.num_ranks());
        for &receiver in receives {
            for &donor in order.iter().rev().filter(|&&expert| expert != receiver && best[expert].count > 1) {
                tried += slots;
                if tried > SLOTS_TRIED || best_packing.fullest() <= limit {
                    return (best, best_packing);
                }
                let mut counts = best.clone();
                for (expert, count) in [(receiver, best[receiver].count + 1), (donor, best[donor].count - 1)]
                {
                    counts[expert] = Replicas { count, load: load[expert] / f64::from(count) };
                }
                let mut packing = Packing::by_load(cluster, &counts, slots);
                packing.even_out(limit);
                if packing.fullest() < best_packing.fullest() {
                    (best, best_packing) = (counts, packing);
                    continue 'better;
                }
            }
        }
        return (best, best_packing);
    }
}

/// The most that a rank may carry: a little more than the fullest of EPLB's.
struct Limits {
    /// With each expert's load split evenly over its replicas, as EPLB reckons.
    even: f64,
    /// The same, so that replicas can be chosen as evenly as EPLB's; kept to where it can be reached.
    tight: f64,
    /// With replicas chosen so that the ranks are as even as they can be.
    chosen: f64,
    /// Its map, where it has one.
    eplb: Option<Vec<ExpertId>>,
}

/// Limits from the global EPLB, or from `packed`, the fullest rank of our own packing, where EPLB has no answer.
fn limits(load: &[f64], slots: u32, ranks: u32, packed: f64) -> Result<Limits, PlacementError> {
    let mean = load.iter().sum::<f64>() / f64::from(ranks);
    let relaxed = |fullest: f64, slack: f64| {
        if fullest <= 0.0 {
            return 0.0;
        }
        let even = mean / fullest;
        mean / (even - slack.min(even * slack))
    };
    let Some(map) = eplb::global_map(load, slots as usize, ranks as usize) else {
        let even = relaxed(packed, SLACK);
        return Ok(Limits { even, tight: even, chosen: relaxed(packed, CHOSEN_SLACK), eplb: None });
    };
    let mut count = vec![0_u32; load.len()];
    map.iter().for_each(|expert| count[expert.0 as usize] += 1);
    let by_rank = (slots / ranks) as usize;
    let share = |expert: &ExpertId| load[expert.0 as usize] / f64::from(count[expert.0 as usize]);
    let even = map.chunks(by_rank).map(|held| held.iter().map(share).sum()).fold(0.0, f64::max);
    let counts = vec![slots / ranks; ranks as usize];
    let placement = Placement::indexed(map.clone(), &counts, load.len() as u32, "EPLB placement")?;
    let least = shares::fullest_rank(&placement, load);
    Ok(Limits {
        even: relaxed(even, SLACK),
        // A choice of replicas can't empty a rank that has none: ranks must be even without.
        tight: relaxed(least, 2.0 * CHOSEN_SLACK),
        chosen: relaxed(least, CHOSEN_SLACK),
        eplb: Some(map),
    })
}
