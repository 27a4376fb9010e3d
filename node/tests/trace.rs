//! What is kept for timelines: every frame at both its ports, no two at one port at a time, and nothing where it is not asked for.

mod common;

use common::{Stepped, setup, shape, step};
use moe::plan::DispatchScheme;
use moe::stack::StepBatch;
use node::setup::Setup;
use node::sim::SimCluster;
use node::trace::{FrameTrace, JobKind, PhaseTrace, Tracing, is_kept};
use node::wire::Phase;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Cluster, LinkClass, Picos, RankId};

fn ran(setup: Setup, number: u32) -> Stepped {
    let mut sim = SimCluster::new(Arc::new(setup)).unwrap();
    step(&mut sim, number, &StepBatch::default()).unwrap()
}

fn traced(setup: &Setup, every: u32) -> Stepped {
    ran(Setup { tracing: Some(Tracing { every, first_step: 0, steps: 1 }), ..setup.clone() }, 0)
}

/// Frames that pass one port, in the order of time.
fn of_port<'a>(
    cluster: &'a Cluster,
    me: RankId,
    link: LinkClass,
    frames: &'a [FrameTrace],
) -> impl Iterator<Item = &'a FrameTrace> {
    frames.iter().filter(move |frame| cluster.link_class(me, frame.peer) == link)
}

fn check_ports(cluster: &Cluster, me: RankId, trace: &PhaseTrace, end: Picos) {
    for (link, frames) in
        LinkClass::ALL.into_iter().flat_map(|link| [(link, &trace.sent), (link, &trace.received)])
    {
        let (mut free, mut busy) = (Picos::ZERO, 0);
        for frame in of_port(cluster, me, link, frames) {
            assert!(frame.ready <= frame.start && frame.start <= frame.end, "{frame:?}");
            assert!(frame.start >= free, "{me}: {frame:?} begins before the port is free at {free}");
            free = frame.end;
            busy += frame.end.0 - frame.start.0;
        }
        assert!(busy <= end.0 && free <= end, "{me}: its port is busy for longer than the phase lasts");
    }
}

fn check(setup: &Setup, every: u32) {
    let (plain, traced) = (ran(setup.clone(), 0), traced(setup, every));
    assert_eq!(plain.outputs, traced.outputs);
    for ((stop, plain), (_, traced)) in plain.phases.iter().zip(&traced.phases) {
        let end = traced.iter().map(|report| report.stamped).max().unwrap();
        let mut under_way = BTreeMap::new();
        for (me, (plain, traced)) in setup.cluster.ranks().zip(plain.iter().zip(traced)) {
            let trace = &traced.trace;
            let mut without = traced.clone();
            without.trace = PhaseTrace::default();
            assert_eq!(&without, plain, "what is kept changes nothing else");
            assert_eq!(plain.trace, PhaseTrace::default(), "nothing is kept that is not asked for");
            check_ports(&setup.cluster, me, trace, end);
            assert!(trace.sent.iter().all(|frame| is_kept(every, me, frame.peer, frame.sequence)));
            for frame in &trace.sent {
                let key = (me, frame.peer, frame.sequence);
                assert!(under_way.insert(key, frame).is_none(), "each frame is sent once");
            }
            if every == 1 {
                assert_eq!(trace.received.len() as u64, traced.frames);
                let mut sent: BTreeMap<RankId, u64> = BTreeMap::new();
                for frame in trace.sent.iter().filter(|frame| frame.bytes > 0) {
                    *sent.entry(frame.peer).or_default() += frame.bytes;
                }
                assert_eq!(sent.into_iter().collect::<Vec<_>>(), traced.sent_bytes);
            }
            assert!(stop.phase != Phase::Expert || trace.sent.is_empty());
        }
        for (me, report) in setup.cluster.ranks().zip(traced) {
            for came in &report.trace.received {
                let sent = under_way.remove(&(came.peer, me, came.sequence)).expect("it was sent");
                assert_eq!(sent.bytes, came.bytes);
                assert!(sent.start <= came.start && sent.end <= came.end, "{sent:?} {came:?}");
            }
        }
        assert!(under_way.is_empty(), "every frame comes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn frames_are_at_both_their_ports_one_after_the_other(
        sizes in prop::collection::vec(1u32..4, 1..4), tokens in 1u32..12, scheme in 0usize..3, every in 1u32..4,
    ) {
        let scheme = DispatchScheme::ALL[scheme];
        let ranks: u32 = sizes.iter().sum();
        check(&setup(&sizes, shape(64, 12 * ranks, 3, 16), scheme, tokens), every);
    }
}

#[test]
fn jobs_are_kept_with_what_they_are_charged() {
    let setup = setup(&[2, 2], shape(64, 8, 2, 16), DispatchScheme::Hierarchical, 3);
    let step = traced(&setup, 1);
    for (stop, reports) in &step.phases {
        for report in reports {
            let kinds: Vec<JobKind> = report.trace.jobs.iter().map(|job| job.kind).collect();
            match stop.phase {
                Phase::Dispatch => assert_eq!(kinds, [JobKind::Gate, JobKind::Quantise]),
                Phase::Expert => {
                    assert_eq!(kinds, [JobKind::Expert]);
                    assert_eq!(report.trace.jobs[0].end, report.stamped);
                }
                _ => assert!(kinds.len() >= 3 && kinds.iter().all(|kind| *kind == JobKind::Sum)),
            }
        }
    }
}

#[test]
fn other_steps_keep_nothing() {
    let setup = setup(&[2, 2], shape(64, 8, 2, 16), DispatchScheme::Flat, 3);
    let tracing = Some(Tracing { every: 1, first_step: 1, steps: 1 });
    for (number, kept) in [(0, false), (1, true), (2, false)] {
        let step = ran(Setup { tracing, ..setup.clone() }, number);
        assert_eq!(!step.phases[0].1[0].trace.sent.is_empty(), kept, "step {number}");
    }
    // A run that goes on for another: its first step is the other's second.
    let step = ran(Setup { tracing, first_step: 1, ..setup }, 0);
    assert!(!step.phases[0].1[0].trace.sent.is_empty());
}
