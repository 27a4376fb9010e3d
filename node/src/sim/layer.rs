//! A step of a layer about time alone, told without seats: who sends how many bytes to whom, carried [in columns](super::columns).
//!
//! What a rank reports then follows from how many rows go from whom to whom and to which slot.

use super::Passed;
use super::columns::{Delivered, Ports, carry};
use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::program::Stop;
use crate::setup::{PreparedRun, Setup};
use crate::trace::PhaseTrace;
use crate::wire::Phase;
use moe::plan::{DispatchScheme, dispatch_rows};
use std::collections::VecDeque;
use topology::{LinkClass, Picos, RankId, TrafficMatrix};

/// Whether steps of `setup` can be told, as far as their flows have their credit: nobody forwards, rows have no values, nothing goes
/// wrong and nothing is kept for a timeline.
pub(super) fn may_tell(setup: &Setup) -> bool {
    setup.layer().is_some()
        && setup.scheme != DispatchScheme::Hierarchical
        && !setup.payload
        && setup.faults.is_empty()
        && setup.tracing.is_none()
}

/// What all ranks pass the stops of a step with; `None` where a flow has more bytes than its credit or a job has no time: that is for the
/// event clock.
pub(super) fn tell(
    run: &PreparedRun,
    runner: &JobRunner,
    step: u32,
) -> Option<VecDeque<(Stop, Vec<Passed>)>> {
    let setup = run.setup();
    let Rows { dispatch, combine, of_slot } = Rows::count(run, runner, step)?;
    let placement = &setup.layer()?.placement;
    let mut told = VecDeque::new();
    for stop in setup.program.stops() {
        let reports: Vec<PhaseReport> = match stop.phase {
            Phase::Dispatch => travel(run, stop.phase, &dispatch)?,
            Phase::Combine => travel(run, stop.phase, &combine)?,
            _ => {
                let rows = |rank| placement.slots_of(rank).iter().map(|slot| of_slot[slot.0 as usize]);
                let time = |rank| setup.compute_time(rows(rank)).ok();
                let report = |rank| Some(report(stop.phase, time(rank)?));
                setup.cluster.ranks().map(report).collect::<Option<_>>()?
            }
        };
        let finishes = setup.program.finishes_at(stop);
        let outputs = |rank| finishes.then(|| vec![Vec::new(); setup.program.tokens_of(rank) as usize]);
        told.push_back((stop, reports.into_iter().zip(setup.cluster.ranks().map(outputs)).collect()));
    }
    Some(told)
}

/// Rows of a step.
struct Rows {
    /// Bytes from rank to rank, those that stay on a rank left out.
    dispatch: TrafficMatrix,
    combine: TrafficMatrix,
    of_slot: Vec<u64>,
}

impl Rows {
    /// As the ranks plan them.
    fn count(run: &PreparedRun, runner: &JobRunner, step: u32) -> Option<Self> {
        let setup = run.setup();
        let (cluster, placement, bytes) = (&setup.cluster, &setup.layer()?.placement, setup.row_bytes());
        let ranks = cluster.num_ranks();
        let (dispatch, combine) = (TrafficMatrix::new(ranks), TrafficMatrix::new(ranks));
        let mut rows = Self { dispatch, combine, of_slot: vec![0; placement.num_slots() as usize] };
        let mut rows_to = vec![0; ranks as usize];
        for source in cluster.ranks() {
            let routing = runner.route(setup.first_step.saturating_add(step), source);
            for row in dispatch_rows(setup.scheme, cluster, placement, source, &routing) {
                rows_to[row.to.0 as usize] += 1;
                row.targets.iter().for_each(|target| rows.of_slot[target.slot.0 as usize] += 1);
            }
            rows_to[source.0 as usize] = 0;
            for (to, rows_to) in cluster.ranks().zip(&mut rows_to).filter(|(_, rows)| **rows > 0) {
                let count: u64 = std::mem::take(rows_to);
                rows.dispatch.add(source, to, count * bytes.dispatch);
                rows.combine.add(to, source, count * bytes.combine);
            }
        }
        Some(rows)
    }
}

/// Reports of a phase in which `traffic` travels; `None` where a flow has more than its credit.
fn travel(run: &PreparedRun, phase: Phase, traffic: &TrafficMatrix) -> Option<Vec<PhaseReport>> {
    let (setup, flow) = (run.setup(), run.flow(0, 0));
    let (cluster, links, bytes) = (&setup.cluster, setup.phase_links(phase), setup.row_bytes());
    let credit_bytes = setup.nic_config(phase).credit_bytes;
    if cluster.ranks().flat_map(|rank| traffic.sent(rank)).any(|(_, bytes)| bytes > credit_bytes) {
        return None;
    }
    let row_bytes = if phase == Phase::Dispatch { bytes.dispatch } else { bytes.combine };
    let chunk = u64::from(setup.chunk_rows) * row_bytes;
    let [up, out]: [Delivered; 2] = LinkClass::ALL.map(|class| {
        let (link, open_until) = (links.fabric.link(class), links.open_until(class));
        let ports = Ports { cluster, class, link, chunk, open_until };
        carry(ports, traffic, |me: RankId| run.peers(me, flow, phase).to)
    });
    let report = |rank: RankId| {
        let at = rank.0 as usize;
        let closed = up.last[at].max(out.last[at]);
        let (frames, sent_bytes) = (up.frames[at] + out.frames[at], traffic.sent(rank).collect());
        PhaseReport { frames, sent_bytes, ..report(phase, closed) }
    };
    Some(cluster.ranks().map(report).collect())
}

/// A report of a phase without frames that has closed at `closed`.
fn report(phase: Phase, closed: Picos) -> PhaseReport {
    PhaseReport {
        phase,
        measured: closed,
        stamped: closed,
        frames: 0,
        overtaken: 0,
        lateness_ns: Vec::new(),
        sent_bytes: Vec::new(),
        cpu_ns: 0,
        udp_bytes: 0,
        faults: 0,
        trace: PhaseTrace::default(),
    }
}
