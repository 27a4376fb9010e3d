//! What a step took, from what its stops took.

use moe::stack::Stack;
use node::control::PhaseReport;
use node::stack::Stop;
use node::wire::Phase;
use serving::TickTime;
use serving::cost::{StageTime, Timeline};
use topology::Picos;

/// Each stage takes its stops one after the other, each as long as the slowest of its ranks; those of two halves beside each other where
/// one computes and the other communicates. All wait for each other at the hop.
pub(super) fn tick_time(stops: &[(Stop, Vec<PhaseReport>)], stack: &Stack) -> TickTime {
    let mut stages = vec![(Timeline::default(), StageTime::default()); stack.num_stages() as usize];
    for (stop, reports) in stops.iter().filter(|(stop, _)| stop.phase != Phase::Hop) {
        for ((timeline, time), stage) in stages.iter_mut().zip(stack.stages()) {
            let took = PhaseReport::slowest(&reports[stage.ranks.start as usize..stage.ranks.end as usize]);
            timeline.add(stop.half.into(), stop.computes(), took);
            let part = match stop.phase {
                Phase::Local => &mut time.local,
                Phase::Expert => &mut time.experts,
                Phase::Dispatch | Phase::Combine | Phase::Hop => &mut time.all_to_all,
            };
            *part += took;
            time.total = timeline.end();
        }
    }
    let (mut timelines, stages): (Vec<Timeline>, Vec<StageTime>) = stages.into_iter().unzip();
    for (stop, reports) in stops.iter().filter(|(stop, _)| stop.phase == Phase::Hop) {
        let half = usize::from(stop.half);
        let start = timelines.iter().map(|timeline| timeline.start(half, false)).max();
        let end = start.unwrap_or(Picos::ZERO) + PhaseReport::slowest(reports);
        timelines.iter_mut().for_each(|timeline| timeline.add_until(half, false, end));
    }
    let total = timelines.iter().map(Timeline::end).max().unwrap_or(Picos::ZERO);
    let slowest = stages.iter().map(|stage| stage.total).max().unwrap_or(Picos::ZERO);
    TickTime { total, stages, hop: total.saturating_sub(slowest) }
}
