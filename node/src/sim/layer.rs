//! A step of a layer about time alone, told without seats: who sends how many bytes to whom, carried [in columns](super::columns).
//!
//! What a rank reports then follows from how many rows go from whom to whom and to which slot.

use super::Passed;
use super::columns::{Ports, carry, cores_for};
use super::cores::on_threads;
use crate::control::PhaseReport;
use crate::job::JobRunner;
use crate::program::Stop;
use crate::setup::{PreparedRun, Setup};
use crate::trace::PhaseTrace;
use crate::wire::Phase;
use moe::plan::{DispatchScheme, dispatch_rows};
use std::collections::VecDeque;
use topology::{LinkClass, Picos, RankId, TrafficMatrix};

/// Whether steps of `setup` can be told, as far as no flow waits for credit: nobody forwards, rows have no values, nothing goes
/// wrong and nothing is kept for a timeline.
pub(super) fn may_tell(setup: &Setup) -> bool {
    setup.layer().is_some()
        && setup.scheme != DispatchScheme::Hierarchical
        && !setup.payload
        && setup.faults.is_empty()
        && setup.tracing.is_none()
}

/// What all ranks pass the stops of a step with; `None` where a flow would wait for credit or a job has no time: that is for the event
/// clock.
pub(super) fn tell(
    run: &PreparedRun,
    runner: &JobRunner,
    step: u32,
) -> Option<VecDeque<(Stop, Vec<Passed>)>> {
    let setup = run.setup();
    let Rows { dispatch, combine, of_slot } = Rows::count(run, runner, step)?;
    let placement = &setup.layer()?.placement;
    let (mut dispatch, mut combine) = travel_both(run, &dispatch, &combine)?;
    let mut told = VecDeque::new();
    for stop in setup.program.stops() {
        let reports: Vec<PhaseReport> = match stop.phase {
            Phase::Dispatch => std::mem::take(&mut dispatch),
            Phase::Combine => std::mem::take(&mut combine),
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

/// From so many ranks on a second thread costs less than it saves.
const RANKS_FOR_TWO: u32 = 128;

/// Reports of both phases. The rows of one don't wait for those of the other, but for its end: each can be told by itself.
fn travel_both(
    run: &PreparedRun,
    dispatch: &TrafficMatrix,
    combine: &TrafficMatrix,
) -> Option<(Vec<PhaseReport>, Vec<PhaseReport>)> {
    let phases = [(Phase::Dispatch, dispatch), (Phase::Combine, combine)];
    let tell = |(phase, traffic)| travel(run, phase, traffic);
    let many = dispatch.num_ranks() >= RANKS_FOR_TWO;
    let reports = if many { on_threads(phases, tell) } else { phases.map(tell).into() };
    let [there, back] = <[_; 2]>::try_from(reports).ok()?;
    Some((there?, back?))
}

/// Reports of a phase in which `traffic` travels; `None` where a flow would wait for credit.
fn travel(run: &PreparedRun, phase: Phase, traffic: &TrafficMatrix) -> Option<Vec<PhaseReport>> {
    let (setup, flow) = (run.setup(), run.flow(0, 0));
    let (cluster, links, bytes) = (&setup.cluster, setup.phase_links(phase), setup.row_bytes());
    let row_bytes = if phase == Phase::Dispatch { bytes.dispatch } else { bytes.combine };
    let chunk = u32::try_from(u64::from(setup.chunk_rows) * row_bytes).ok()?;
    let (config, cores) = (&setup.nic_config(phase), cores_for(traffic, chunk));
    let carry_on = |class| {
        let ports = Ports { cluster, class, config, chunk, open_until: links.open_until(class), cores };
        carry(ports, traffic, |me: RankId| run.peers(me, flow, phase).to)
    };
    let (up, out) = (carry_on(LinkClass::ScaleUp)?, carry_on(LinkClass::ScaleOut)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{LayerProgram, Program};
    use moe::model::Model;
    use moe::placement::Placement;
    use std::sync::Arc;
    use topology::{Cluster, Hardware};

    #[test]
    fn layers_without_values_are_told_if_nobody_forwards() {
        let (cluster, hardware) = (Cluster::uniform(2, 8).unwrap(), Hardware::preset("gb200").unwrap());
        let shape = Model::preset("deepseek-v3").unwrap().layer();
        let placement = Placement::linear(&cluster, shape.num_experts).unwrap();
        for scheme in [DispatchScheme::Flat, DispatchScheme::Dedup, DispatchScheme::Hierarchical] {
            let layer = Program::Layer(LayerProgram::new(shape, placement.clone(), vec![32; 16]));
            let setup = Setup::new(cluster.clone(), hardware.clone(), layer);
            assert!(!may_tell(&Setup { scheme, ..setup.clone() }), "with values");
            let setup = Arc::new(Setup { scheme, payload: false, ..setup });
            assert_eq!(may_tell(&setup), scheme != DispatchScheme::Hierarchical);
            if may_tell(&setup) {
                let run = PreparedRun::new(Arc::clone(&setup), 0).unwrap();
                let told = tell(&run, &JobRunner::new(Arc::clone(&setup), 0).unwrap(), 0).unwrap();
                assert_eq!(told.iter().map(|(stop, _)| *stop).collect::<Vec<_>>(), setup.program.stops());
            }
        }
    }
}
