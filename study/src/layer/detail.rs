//! What is behind a record, for pictures and other programs: bytes of every pair, times and rows of every rank, every round.

use super::Configuration;
use super::frames::{FrameTimes, PortsOverTime};
use super::matrix::{MatrixBy, by_rank, place, side};
use super::stats::median;
use super::truth::Truth;
use coordinator::run::StepRecord;
use moe::{ExpertId, Placement, SlotId};
use node::control::PhaseReport;
use node::wire::Phase;
use serde::{Deserialize, Serialize};
use topology::Cluster;

/// Most rounds that [`Detail::rank_us`] is the median of, the first ones.
const RANK_ROUNDS_MAX: usize = 1_000;
/// Most rounds that [`Detail::round_us`] lists, the first ones.
const ROUNDS_MAX: usize = 10_000;

/// One value for each phase of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByPhase<T> {
    /// Rows go out.
    pub dispatch: T,
    /// Experts compute.
    pub expert: T,
    /// Results come back.
    pub combine: T,
}

/// What is behind a record of something that ran.
///
/// Bytes, rows and tokens are those of one round, the first measured one of the first seed: where routing is the same at every step, of
/// each. Bytes are what the ranks reported to have sent; rows and tokens are those of the plan, which a verified record has kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// Ranks of each rack.
    pub rack_sizes: Vec<u32>,
    /// What the rows and columns of the two matrices are.
    pub matrix_by: MatrixBy,
    /// Row bytes of a dispatch from each sender (row) to each receiver (column), `[n][n]`, hops by gateways included; empty where there
    /// are more than `MATRIX_SIDE_MAX` racks.
    pub dispatch_bytes: Vec<Vec<u64>>,
    /// The same of the combine.
    pub combine_bytes: Vec<Vec<u64>>,
    /// Emulated microseconds from the dispatch's common start until the last row of each sender (row) was with each receiver (column),
    /// `[n][n]`, 0 where none came: by the ports' arithmetic (stamps), in the round that the bytes are of. Empty where too many frames
    /// would have to be kept; of racks the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dispatch_wait_us: Vec<Vec<f64>>,
    /// The same of the combine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub combine_wait_us: Vec<Vec<f64>>,
    /// How busy ports were as each phase went on, in the same round, by stamps as well; empty where the two above are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports_over_time: Vec<PortsOverTime>,
    /// Emulated microseconds from a phase's common start until each rank had its last row, or had computed: `[num_ranks]`, the median
    /// over rounds (the first 1,000) and seeds. Simulated in `sim`, measured in `quic`.
    pub rank_us: ByPhase<Vec<f64>>,
    /// Rows (token, expert) that each rank computes: `[num_ranks]`.
    pub rows_per_rank: Vec<u64>,
    /// Rows that each rank would compute if experts were in order and had no replicas (`linear`): `[num_ranks]`; empty where they
    /// can't be.
    pub rows_per_rank_linear: Vec<u64>,
    /// Tokens of each expert, its replicas together: `[num_experts]`.
    pub tokens_per_expert: Vec<u64>,
    /// Emulated microseconds of each phase in each round, the slowest rank's, seed by seed: `[rounds]`, the first 10,000. The record's
    /// times are their medians.
    pub round_us: ByPhase<Vec<f64>>,
}

/// What the rounds yield for a detail.
#[derive(Default)]
pub(super) struct DetailSums {
    matrices: Option<[Vec<Vec<u64>>; 2]>,
    rows_per_slot: Vec<u64>,
    frames: FrameTimes,
    /// `[phases][num_ranks][rounds]`.
    ranks: [Vec<Vec<f64>>; 3],
}

impl DetailSums {
    /// Takes in a measured round, which `truth` is of; `traced` says that every frame of the first was kept.
    pub(super) fn take(&mut self, cluster: &Cluster, truth: &Truth, round: &StepRecord, traced: bool) {
        if self.matrices.is_none() {
            let matrix = |phase| matrix(cluster, round.reports(phase));
            self.matrices = Some([matrix(Phase::Dispatch), matrix(Phase::Combine)]);
            if traced {
                let phases = [Phase::Dispatch, Phase::Combine].map(|phase| (phase, round.reports(phase)));
                let whole =
                    phases.iter().flat_map(|(_, reports)| *reports).all(|rank| rank.trace.left_out == 0);
                self.frames = if whole { FrameTimes::new(cluster, phases) } else { FrameTimes::default() };
            }
            self.rows_per_slot.clone_from(&truth.traffic.rows_per_slot);
        }
        for (ranks, phase) in self.ranks.iter_mut().zip([Phase::Dispatch, Phase::Expert, Phase::Combine]) {
            ranks.resize(cluster.num_ranks() as usize, Vec::new());
            for (times, report) in ranks.iter_mut().zip(round.reports(phase)) {
                if times.len() < RANK_ROUNDS_MAX {
                    times.push(report.measured.as_micros_f64());
                }
            }
        }
    }
}

impl Detail {
    /// That of the rounds of `row`, in which phases took `times` microseconds each, `[phases][rounds]`.
    pub(super) fn new(row: &Configuration, sums: &DetailSums, times: &[Vec<f64>; 3]) -> Option<Self> {
        let [dispatch_bytes, combine_bytes] = sums.matrices.clone()?;
        let [dispatch_wait_us, combine_wait_us] = sums.frames.waits.clone();
        let rows_of_slot = |slot: SlotId| sums.rows_per_slot.get(slot.0 as usize).copied().unwrap_or(0);
        let tokens_per_expert: Vec<u64> = (0..row.placement.num_experts())
            .map(|expert| row.placement.replicas_of(ExpertId(expert)))
            .map(|slots| slots.iter().map(|&slot| rows_of_slot(slot)).sum())
            .collect();
        let loads = |placement: &Placement, of_slot: &dyn Fn(SlotId) -> u64| {
            let of_rank = |rank| placement.slots_of(rank).iter().map(|&slot| of_slot(slot)).sum();
            row.cluster.ranks().map(of_rank).collect::<Vec<u64>>()
        };
        let linear = Placement::linear(&row.cluster, row.placement.num_experts()).ok();
        let in_order =
            |linear: Placement| loads(&linear, &|slot| tokens_per_expert[linear.expert_of(slot).0 as usize]);
        let medians = |ranks: &Vec<Vec<f64>>| ranks.iter().map(|times| median(times)).collect();
        let first = |times: &Vec<f64>| times[..times.len().min(ROUNDS_MAX)].to_vec();
        Some(Self {
            rack_sizes: row.cluster.rack_sizes().to_vec(),
            matrix_by: if by_rank(&row.cluster) { MatrixBy::Rank } else { MatrixBy::Rack },
            dispatch_bytes,
            combine_bytes,
            dispatch_wait_us,
            combine_wait_us,
            ports_over_time: sums.frames.ports.clone(),
            rank_us: by_phase(&sums.ranks, medians),
            rows_per_rank: loads(&row.placement, &rows_of_slot),
            rows_per_rank_linear: linear.map_or_else(Vec::new, in_order),
            tokens_per_expert,
            round_us: by_phase(times, first),
        })
    }
}

impl Detail {
    /// Puts the ranks of each rack together in all matrices: bytes are summed, of waits the longest is kept.
    pub fn sum_by_rack(&mut self) {
        if self.matrix_by == MatrixBy::Rack {
            return;
        }
        let racks = (0..).zip(&self.rack_sizes);
        let rack_of: Vec<usize> = racks.flat_map(|(rack, size)| vec![rack; *size as usize]).collect();
        let side = self.rack_sizes.len();
        for matrix in [&mut self.dispatch_bytes, &mut self.combine_bytes] {
            let mut sums = vec![vec![0u64; side]; side];
            for (from, row) in rack_of.iter().zip(&*matrix) {
                for (to, bytes) in rack_of.iter().zip(row) {
                    sums[*from][*to] = sums[*from][*to].saturating_add(*bytes);
                }
            }
            *matrix = sums;
        }
        for matrix in [&mut self.dispatch_wait_us, &mut self.combine_wait_us] {
            let mut longest = vec![vec![0.0_f64; side]; if matrix.is_empty() { 0 } else { side }];
            for (from, row) in rack_of.iter().zip(&*matrix) {
                for (to, wait) in rack_of.iter().zip(row) {
                    longest[*from][*to] = longest[*from][*to].max(*wait);
                }
            }
            *matrix = longest;
        }
        self.matrix_by = MatrixBy::Rack;
    }
}

fn by_phase<A, B>([dispatch, expert, combine]: &[A; 3], of: impl Fn(&A) -> B) -> ByPhase<B> {
    ByPhase { dispatch: of(dispatch), expert: of(expert), combine: of(combine) }
}

/// What each rank, or rack, said it had sent to each.
fn matrix(cluster: &Cluster, reports: &[PhaseReport]) -> Vec<Vec<u64>> {
    let Some(side) = side(cluster) else { return Vec::new() };
    let mut matrix = vec![vec![0; side]; side];
    for (from, report) in cluster.ranks().zip(reports) {
        // A rank that the cluster doesn't have is found where reports are checked.
        for &(to, bytes) in report.sent_bytes.iter().filter(|(to, _)| to.0 < cluster.num_ranks()) {
            let cell: &mut u64 = &mut matrix[place(cluster, from)][place(cluster, to)];
            *cell = cell.saturating_add(bytes);
        }
    }
    matrix
}
