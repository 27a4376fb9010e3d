//! Rack-aware placement: ranks as even as EPLB's or as asked for, never two replicas of an expert on one, and as little as
//! possible that crosses racks.
//!
//! Replicas go where the load a replica is largest, as in EPLB; where they don't pack well, counts and packing are searched together.
//! There are several starts: EPLB's own two placements, racks that keep the groups of the gate, racks grown from experts that are picked
//! together or come from there, and ranks packed by load alone. Each is brought under a limit on the load of racks, then of ranks, by the
//! swaps that cost least, and improved by swaps that keep to it. The one with the fewest tokens that cross wins. All of it
//! is bounded, and decided by the demand alone.

mod counts;
mod ends;
mod grow;
mod joint;
mod pack;
mod routes;
mod search;
mod starts;

use crate::ids::{ExpertId, SlotId};
use crate::placement::demand::Sample;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy, check_sizes};
use counts::{Replicas, replica_loads};
pub use ends::Aim;
use ends::{Limits, Variant};
use joint::evener;
use pack::Packing;
use search::Search;
use topology::Cluster;

const ORIGIN: &str = "rack-aware placement";

/// What a token that crosses costs: once for each other rack it visits (hierarchical dispatch), and once for each expert
/// there (flat dispatch).
const COSTS: [i64; 2] = [16, 1];
/// Tokens that stand for the demand.
const TOKENS: usize = 1024;
/// Tokens times racks, at most, as long as there are half as many tokens: work grows with both.
const TOKENS_AND_RACKS: usize = 5120;
/// Standard errors by which ours must be ahead of EPLB's variants, counted on tokens that it was not made with, else EPLB's stays as it is.
const AHEAD: f64 = 2.0;
/// Below this balancedness other counts of replicas are tried.
const EVEN_ENOUGH: f64 = 0.98;
/// By how much sums in another order may differ.
const ROUNDING: f64 = 1e-9;
/// Passes of swaps between racks, passes after which the best start is kept, and passes that it then gets.
const RACK_PASSES: usize = 3;
const TRIAL_PASSES: usize = 2;
const PASSES: usize = 8;
/// How far balancedness may stay behind EPLB's, of the 0.01 allowed; less where that itself is small.
const SLACK: f64 = 0.006;
/// The same with replicas chosen; smaller, since shares are rounded.
const CHOSEN_SLACK: f64 = 0.0045;

/// The policy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RackAware {
    /// What the placement is to be best at.
    pub aim: Aim,
}

impl PlacementPolicy for RackAware {
    fn name(&self) -> &str {
        match self.aim {
            Aim::FewestCopies => "fewest copies",
            _ => "rack-aware",
        }
    }

    fn help(&self) -> &str {
        match self.aim {
            Aim::FewestCopies => "rack-aware, as even as the EPLB that sends fewer copies",
            _ => "as even as EPLB, no expert twice on a rank, tokens in as few racks as that allows",
        }
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
        Task::new(cluster, slots, demand).placed(self.aim)
    }
}

/// What is to be placed where.
struct Task<'a> {
    cluster: &'a Cluster,
    slots: u32,
    demand: &'a Demand,
    by_rack: Vec<Vec<f64>>,
    load: Vec<f64>,
    /// Of a rank.
    mean: f64,
}

impl<'a> Task<'a> {
    fn new(cluster: &'a Cluster, slots: u32, demand: &'a Demand) -> Self {
        let load: Vec<f64> = demand.load().iter().map(|&tokens| tokens as f64).collect();
        let mean = load.iter().sum::<f64>() / f64::from(cluster.num_ranks());
        Self { cluster, slots, demand, by_rack: demand.by_rack(cluster), load, mean }
    }

    fn placed(&self, aim: Aim) -> Result<Placement, PlacementError> {
        let Self { cluster, demand, .. } = *self;
        let variants = Variant::both(cluster, self.slots, demand, &self.by_rack, &self.load)?;
        let (counts, mut packed) = self.evenest();
        let judges = (aim == Aim::FewestCopies).then(|| demand.judges(cluster));
        let fewest = judges.as_ref().and_then(|judges| {
            let copies = |variant: &&Variant| visits(cluster, &variant.placement, judges).iter().sum::<u64>();
            variants.iter().min_by_key(copies)
        });
        let Limits { even, tight, chosen } = match (aim, fewest) {
            (Aim::Balance(balance), _) => Limits::of(balance, self.mean),
            (_, Some(fewest)) => fewest.limits(),
            _ => Limits::even(variants.first(), self.mean, packed.fullest()),
        };
        packed.even_out(tight.min(even));
        let limit = packed.fullest().max(tight).min(even);

        let tokens = (TOKENS_AND_RACKS / cluster.num_racks() as usize).clamp(TOKENS / 2, TOKENS);
        let sample = demand.sample(cluster, tokens, 0);
        let eplb: Vec<Packing> = variants
            .iter()
            .filter(|variant| aim == Aim::FewestCopies || variant.in_groups == demand.is_in_groups())
            .filter_map(|variant| starts::of_map(cluster, &self.load, &variant.map))
            .collect();
        let mut starts = eplb.clone();
        if demand.is_in_groups() {
            starts.push(starts::in_groups(cluster, &counts, self.slots, demand.groups()));
        }
        if demand.has_picks() {
            starts.push(Packing::grown(cluster, &counts, self.slots, &sample));
        }
        starts.push(packed);
        let most = chosen.min(limit);
        let ours = self.finished(self.searched(&starts, limit, &sample), most)?;
        let Some(judges) = &judges else { return Ok(ours) };
        // EPLB's own, and what they become with no expert twice on a rank and with replicas chosen for few copies.
        let mut theirs = Vec::new();
        for packing in eplb.into_iter().filter(|packing| over(packing.fullest(), limit) <= 0.0) {
            theirs.push(self.finished(packing, most)?);
        }
        theirs.extend(variants.into_iter().filter(|variant| variant.may_stay(limit)).map(|of| of.placement));
        let judged = |placement: Placement| (visits(cluster, &placement, judges), placement);
        let best = theirs.into_iter().map(judged).min_by_key(|(visits, _)| visits.iter().sum::<u64>());
        let ours = judged(ours);
        Ok(match best {
            Some(best) if !is_fewer(&ours.0, &best.0) => best.1,
            _ => ours.1,
        })
    }

    /// Counts of replicas and a packing of them, with ranks as even as is found.
    fn evenest(&self) -> (Vec<Replicas>, Packing) {
        let Self { cluster, slots, ref load, mean, .. } = *self;
        let counts = replica_loads(load, slots, cluster.num_ranks());
        let mut packed = Packing::by_load(cluster, &counts, slots);
        let enough =
            (mean / EVEN_ENOUGH).max(counts::least_full(load, slots, cluster.num_ranks()) * (1.0 + ROUNDING));
        packed.even_out(enough);
        if packed.fullest() <= enough || slots as usize == load.len() {
            return (counts, packed);
        }
        evener(cluster, load, counts, packed, enough)
    }

    /// The best that comes of `starts`: of those within `limit` the one with the least cost, else the least full.
    fn searched(&self, starts: &[Packing], limit: f64, sample: &Sample) -> Packing {
        // Swaps between racks without regard to ranks go further, but where picks are known they may lose a good beginning.
        let ways: &[usize] = if self.demand.has_picks() { &[RACK_PASSES, 0] } else { &[RACK_PASSES] };
        let searches = starts.iter().flat_map(|packing| ways.iter().map(move |&passes| (packing, passes)));
        let searches = searches.map(|(packing, passes)| {
            let mut search = Search::new(self.cluster, &self.by_rack, self.demand, sample, packing.clone());
            if passes > 0 {
                search.improve_racks(limit, passes);
            }
            search.even_out(limit);
            search.improve(limit, TRIAL_PASSES);
            search
        });
        let best = searches.reduce(|mut a, mut b| {
            let order = over(a.fullest(), limit).total_cmp(&over(b.fullest(), limit));
            if order.then(a.cost().cmp(&b.cost())).is_le() { a } else { b }
        });
        let mut search = best.expect("there were starts");
        search.improve(limit, PASSES);
        search.finish()
    }

    /// With replicas chosen for the demand, no rank above `most` where that can be.
    fn finished(&self, packing: Packing, most: f64) -> Result<Placement, PlacementError> {
        let (map, counts) = packing.into_map();
        let map = map.into_iter().map(ExpertId).collect();
        let placement = Placement::indexed(map, &counts, self.load.len() as u32, ORIGIN)?;
        placement.for_demand(self.cluster, &self.by_rack, most)
    }
}

/// How far above `limit`, but for rounding.
fn over(fullest: f64, limit: f64) -> f64 {
    (fullest - limit * (1.0 + ROUNDING)).max(0.0)
}

/// Whether the sum of `ours` is below that of `theirs`, values of the same tokens, and by more than chance has it.
fn is_fewer(ours: &[u64], theirs: &[u64]) -> bool {
    let gains = || theirs.iter().zip(ours).map(|(&theirs, &ours)| theirs as f64 - ours as f64);
    let (sum, squares) = gains().fold((0.0, 0.0), |(sum, squares), gain| (sum + gain, squares + gain * gain));
    sum > AHEAD * f64::sqrt(squares)
}

/// Racks other than its own that each token of `sample` visits.
fn visits(cluster: &Cluster, placement: &Placement, sample: &Sample) -> Vec<u64> {
    let mut sent = vec![0_u32; cluster.num_racks() as usize];
    let mut racks = Vec::new();
    let visited = |(picks, &rack): (&[u32], &topology::RackId)| {
        let turn = sent[rack.0 as usize];
        sent[rack.0 as usize] += 1;
        let size = cluster.rack_size(rack);
        let source = cluster.rank_at(rack, turn % size);
        let slot =
            |&expert: &u32| -> SlotId { placement.slot_for(cluster, source, turn / size, ExpertId(expert)) };
        racks.clear();
        racks.extend(picks.iter().map(|expert| cluster.rack_of(placement.rank_of(slot(expert)))));
        racks.retain(|&other| other != rack);
        racks.sort_unstable();
        racks.dedup();
        racks.len() as u64
    };
    sample.experts.chunks(sample.top_k).zip(&sample.racks).map(visited).collect()
}
