//! What a step took, from what its stops took.

use moe::stack::Stack;
use node::control::PhaseReport;
use node::program::Stop;
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

#[cfg(test)]
mod tests {
    use super::*;
    use moe::Model;
    use moe::work::CommonWeights;
    use node::trace::PhaseTrace;
    use topology::{Cluster, Dtype};

    /// A stop that every rank of two leaves after `took`, the second a little earlier.
    fn stop(half: u16, layer: u16, phase: Phase, took: u64) -> (Stop, Vec<PhaseReport>) {
        let report = |took| PhaseReport {
            phase,
            measured: Picos(took),
            stamped: Picos(took),
            frames: 0,
            overtaken: 0,
            lateness_ns: Vec::new(),
            sent_bytes: Vec::new(),
            cpu_ns: 0,
            udp_bytes: 0,
            faults: 0,
            trace: PhaseTrace::default(),
        };
        (Stop { half, layer, phase }, vec![report(took), report(took - 1)])
    }

    fn stack(stages: u32) -> Stack {
        let (model, cluster) = (Model::preset("lab-moe").unwrap(), Cluster::new(&[2]).unwrap());
        Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Even, 1), stages, &cluster).unwrap()
    }

    #[test]
    fn one_half_computes_while_the_other_communicates() {
        let of_half = |half| {
            [(Phase::Local, 10), (Phase::Dispatch, 30), (Phase::Expert, 10), (Phase::Combine, 30)]
                .map(|(phase, took)| stop(half, 0, phase, took))
        };
        let whole = tick_time(&of_half(0), &stack(1));
        assert_eq!((whole.total, whole.stages[0].all_to_all, whole.hop), (Picos(80), Picos(60), Picos::ZERO));
        let both: Vec<_> = { of_half(0) }.into_iter().zip(of_half(1)).flat_map(|(a, b)| [a, b]).collect();
        // The network is what both wait for: 10, then 4 * 30.
        assert_eq!(tick_time(&both, &stack(1)).total, Picos(130));
    }

    #[test]
    fn stages_wait_for_the_slowest_before_they_hop() {
        let stops = [stop(0, 0, Phase::Local, 10), stop(0, 1, Phase::Hop, 5)];
        let times = tick_time(&stops, &stack(2));
        let stages: Vec<Picos> = times.stages.iter().map(|stage| stage.total).collect();
        assert_eq!((stages, times.hop, times.total), (vec![Picos(10), Picos(9)], Picos(5), Picos(15)));
    }
}
