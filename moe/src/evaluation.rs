//! What a placement makes of a demand: load by rank and rack, balancedness, expected copies a token under each scheme.

use crate::ids::ExpertId;
use crate::load::balancedness;
use crate::placement::demand::Sample;
use crate::placement::{Demand, Placement, PlacementError};
use crate::plan::{DispatchScheme, token_hops};
use topology::{Cluster, RankId};

/// Expected row copies a token, forwarded hops included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenCopies {
    /// Between ranks of one rack.
    pub intra: f64,
    /// Between racks.
    pub inter: f64,
}

/// The tokens on which copies of all placements for a demand are counted.
#[derive(Clone, Debug)]
pub struct Judges(Sample);

/// A placement judged by a demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Tokens that each rank computes where an expert's replicas get equal parts, as EPLB reckons, `[ranks]`.
    pub rank_load: Vec<f64>,
    /// Their sums by rack, `[racks]`.
    pub rack_load: Vec<f64>,
    /// Mean over largest of `rank_load`.
    pub balancedness: f64,
    /// Tokens that each rank computes with the placement's own choice of replicas, `[ranks]`.
    pub chosen_rank_load: Vec<f64>,
    /// Mean over largest of `chosen_rank_load`.
    pub chosen_balancedness: f64,
    /// Copies a token under flat, dedup and hierarchical dispatch, in the order of [`DispatchScheme::ALL`].
    pub copies: [TokenCopies; 3],
    /// Standard errors of the copies between racks, of the tokens that they were counted on; 0 for flat, which is exact.
    pub inter_errors: [f64; 3],
    /// Slots whose expert is on the same rank already.
    pub duplicates: u32,
}

impl Evaluation {
    /// Judges `placement` by `demand`: loads and flat copies exactly, the other copies on recorded picks
    /// where there are any, else on tokens that its gate draws, or that are drawn independently with each expert's load.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if the demand is one of another cluster.
    ///
    /// # Panics
    /// If `demand` has another number of experts than `placement`.
    pub fn new(cluster: &Cluster, placement: &Placement, demand: &Demand) -> Result<Self, PlacementError> {
        Ok(Self::by(&Judges::new(cluster, demand)?, cluster, placement, demand))
    }

    /// The same with the demand's judges, where several placements are judged.
    ///
    /// # Panics
    /// If `demand` has another number of experts than `placement`, or `judges` are those of another one.
    #[must_use]
    pub fn by(judges: &Judges, cluster: &Cluster, placement: &Placement, demand: &Demand) -> Self {
        let (copies, inter_errors) = copies(cluster, placement, demand, &judges.0);
        let chosen_rank_load = placement.expected_load(cluster, &demand.by_rack(cluster));
        let rank_load = crate::load::rank_load(cluster, placement, demand.load());
        let rack_load = cluster
            .racks()
            .map(|rack| cluster.ranks_in(rack).map(|r| rank_load[r.0 as usize]).sum())
            .collect();
        Self {
            balancedness: balancedness(&rank_load),
            chosen_balancedness: balancedness(&chosen_rank_load),
            rank_load,
            rack_load,
            chosen_rank_load,
            copies,
            inter_errors,
            duplicates: duplicates(cluster, placement),
        }
    }
}

impl Judges {
    /// Of `demand` on `cluster`.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if the demand is one of another cluster.
    pub fn new(cluster: &Cluster, demand: &Demand) -> Result<Self, PlacementError> {
        demand.check(cluster)?;
        Ok(Self(demand.judges(cluster)))
    }
}

impl Placement {
    /// Tokens that each rank computes, `[ranks]`, if the racks send `demand`, `[racks][experts]`.
    ///
    /// # Panics
    /// If `demand` or `cluster` is of another shape than the placement.
    #[must_use]
    pub fn expected_load(&self, cluster: &Cluster, demand: &[Vec<f64>]) -> Vec<f64> {
        let mut loads = vec![0.0; cluster.num_ranks() as usize];
        for (rack, row) in cluster.racks().zip(demand) {
            assert_eq!(row.len(), self.num_experts() as usize, "the demand of another model");
            for (expert, tokens) in (0..).map(ExpertId).zip(row) {
                for (slot, share) in self.choices(rack, expert) {
                    loads[self.rank_of(slot).0 as usize] += share * tokens;
                }
            }
        }
        loads
    }
}

/// Under flat dispatch, exactly: one copy for each expert that is not on the source's rank, tokens of a rack spread over its ranks.
fn flat(cluster: &Cluster, placement: &Placement, demand: &Demand) -> TokenCopies {
    let (mut sum, mut total) = (TokenCopies::default(), 0.0);
    for (rack, row) in cluster.racks().zip(demand.by_rack(cluster)) {
        for (expert, picks) in (0..).map(ExpertId).zip(row) {
            total += picks;
            for (slot, share) in placement.choices(rack, expert) {
                if cluster.rack_of(placement.rank_of(slot)) == rack {
                    sum.intra += picks * share * (1.0 - 1.0 / f64::from(cluster.rack_size(rack)));
                } else {
                    sum.inter += picks * share;
                }
            }
        }
    }
    let tokens = total / f64::from(demand.top_k());
    if tokens == 0.0 { sum } else { TokenCopies { intra: sum.intra / tokens, inter: sum.inter / tokens } }
}

/// Means over `sample`, whose tokens of a rack are spread over its ranks; standard errors of those between racks.
fn copies(
    cluster: &Cluster,
    placement: &Placement,
    demand: &Demand,
    sample: &Sample,
) -> ([TokenCopies; 3], [f64; 3]) {
    let (mut sums, mut squares) = ([TokenCopies::default(); 3], [0.0; 3]);
    let mut sent = vec![0_u32; cluster.num_racks() as usize];
    let (mut hosts, mut hops): (Vec<RankId>, Vec<_>) = (Vec::new(), Vec::new());
    for (picks, &rack) in sample.experts.chunks(sample.top_k).zip(&sample.racks) {
        let turn = &mut sent[rack.0 as usize];
        let size = cluster.rack_size(rack);
        let (source, token) = (cluster.rank_at(rack, *turn % size), *turn / size);
        *turn += 1;
        hosts.clear();
        hosts.extend(
            picks.iter().map(|&expert| {
                placement.rank_of(placement.slot_for(cluster, source, token, ExpertId(expert)))
            }),
        );
        let sums = sums.iter_mut().zip(&mut squares);
        for (scheme, (sum, square)) in DispatchScheme::ALL.into_iter().zip(sums).skip(1) {
            token_hops(scheme, cluster, source, hosts.iter().copied(), &mut hops);
            let inter = hops.iter().filter(|(from, to)| !cluster.same_rack(*from, *to)).count() as f64;
            sum.intra += hops.len() as f64 - inter;
            sum.inter += inter;
            *square += inter * inter;
        }
    }
    let count = sample.racks.len() as f64;
    let mean = |sum: TokenCopies| TokenCopies { intra: sum.intra / count, inter: sum.inter / count };
    let copies = [flat(cluster, placement, demand), mean(sums[1]), mean(sums[2])];
    let error = |at: usize| ((squares[at] / count - copies[at].inter.powi(2)).max(0.0) / count).sqrt();
    (copies, [0.0, error(1), error(2)])
}

fn duplicates(cluster: &Cluster, placement: &Placement) -> u32 {
    let mut count = 0;
    for rank in cluster.ranks() {
        let mut held: Vec<ExpertId> =
            placement.slots_of(rank).iter().map(|&slot| placement.expert_of(slot)).collect();
        held.sort_unstable();
        count += held.windows(2).filter(|pair| pair[0] == pair[1]).count() as u32;
    }
    count
}
