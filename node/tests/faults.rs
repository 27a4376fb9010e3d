//! Faults as values on the virtual clock: times change and results stay, or what is wrong is named with its source.

mod common;

use common::{Stepped, setup, shape, step};
use moe::plan::DispatchScheme;
use moe::stack::StepBatch;
use node::setup::Setup;
use node::sim::{SimCluster, SimError};
use node::wire::Phase;
use std::sync::Arc;
use topology::{FaultPlan, Picos, RankId};

const SCHEMES: [DispatchScheme; 3] =
    [DispatchScheme::Flat, DispatchScheme::Dedup, DispatchScheme::Hierarchical];

fn base(scheme: DispatchScheme) -> Setup {
    let mut setup = setup(&[2, 2], shape(64, 8, 4, 3), scheme, 24);
    setup.fabric.scale_up.latency = Picos(1_000_000);
    setup.fabric.scale_out.latency = Picos(3_700_000);
    setup
}

fn with(scheme: DispatchScheme, faults: &[&str]) -> Setup {
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    Setup { faults: FaultPlan { faults, ..FaultPlan::default() }, ..base(scheme) }
}

fn run(setup: Setup, number: u32) -> Result<Stepped, SimError> {
    step(&mut SimCluster::new(Arc::new(setup)).unwrap(), number, &StepBatch::default())
}

/// How long each phase took, over all ranks.
fn times(stepped: &Stepped) -> [Picos; 3] {
    let end = |at: usize| stepped.phases[at].1.iter().map(|report| report.stamped).max().unwrap();
    [0, 1, 2].map(end)
}

fn met(stepped: &Stepped) -> u32 {
    stepped.phases.iter().flat_map(|(_, reports)| reports).map(|report| report.faults).sum()
}

fn us(us: u64) -> Picos {
    Picos(us * 1_000_000)
}

#[test]
fn what_is_slow_changes_times_and_no_output() {
    for scheme in SCHEMES {
        let healthy = run(base(scheme), 0).unwrap();
        assert_eq!(met(&healthy), 0);
        let [dispatch, expert, combine] = times(&healthy);
        let slowed = |fault: &str| {
            let stepped = run(with(scheme, &[fault]), 0).unwrap();
            assert_eq!(stepped.outputs, healthy.outputs, "{fault}");
            assert!(met(&stepped) > 0, "{fault}");
            times(&stepped)
        };
        let slow = slowed("slow rank=1 factor=3");
        assert_eq!((slow[0], slow[2]), (dispatch, combine), "what travels is as fast");
        assert!(slow[1] > expert && slow[1] <= Picos(3 * expert.0), "{slow:?}");
        let degraded = slowed("degrade rack=1 factor=8 phase=dispatch");
        assert!(degraded[0] > dispatch);
        assert_eq!(degraded[1..], [expert, combine]);
        let path = slowed("degrade from=0 to=2 factor=20 phase=dispatch");
        assert!(path[0] > dispatch && path[2] == combine);
        let frozen = slowed("freeze rank=2 phase=combine at_us=1 for_us=40");
        assert_eq!(frozen[..2], [dispatch, expert]);
        assert!(frozen[2] > us(41), "{frozen:?}");
        let cut = slowed("cut from=0 to=2 both=true for_us=30 phase=dispatch");
        assert!(cut[0] >= us(30) && cut[0] < us(30) + dispatch + dispatch, "{cut:?}");
        let delayed = slowed("delay by_us=7 phase=combine");
        let hops = if scheme == DispatchScheme::Hierarchical { 2 } else { 1 };
        assert!(delayed[2] >= combine + us(7) && delayed[2] <= combine + us(7 * hops), "{delayed:?}");
        let skewed = slowed("skew rank=3 by_us=12");
        assert!(skewed.iter().zip(times(&healthy)).all(|(skewed, healthy)| *skewed > healthy));
    }
}

#[test]
fn a_frame_that_is_lost_doubled_swapped_or_damaged_is_named_with_its_source() {
    for scheme in SCHEMES {
        for (fault, says) in [
            ("drop rank=1", "from rank 1 where 0 was due: a frame was lost"),
            ("duplicate rank=1 phase=combine", "frame 0 from rank 1 where 1 was due"),
            ("reorder rank=1", "frame 1 from rank 1 where 0 was due"),
            ("corrupt rank=1", "from rank 1 fails its checksum"),
            ("drop ppm=1000000", "waits for rows of rank"),
            ("cut from=1 to=0", "rank 0 never closed its dispatch, it waits for rows of rank 1"),
        ] {
            let error = run(with(scheme, &[fault]), 0).err().unwrap().to_string();
            assert!(error.contains(says), "{scheme:?}, {fault}: {error}");
        }
    }
}

#[test]
fn who_is_killed_or_frozen_for_good_is_named_and_lives_before_and_after() {
    for (fault, killed, ranks) in [
        ("kill rank=2 step=1", true, &[2][..]),
        ("freeze rank=2 step=1 phase=expert", false, &[2]),
        ("kill rack=1 step=1 phase=combine at_us=2", true, &[2, 3]),
    ] {
        let setup = with(DispatchScheme::Hierarchical, &[fault]);
        let mut sim = SimCluster::new(Arc::new(setup.clone())).unwrap();
        let healthy = step(&mut sim, 0, &StepBatch::default()).unwrap();
        let Err(SimError::Ended { ranks: ended, killed: gone, phase }) =
            step(&mut sim, 1, &StepBatch::default())
        else {
            panic!("{fault}: nobody ended");
        };
        assert_eq!((ended, gone), (ranks.iter().copied().map(RankId).collect(), killed), "{fault}");
        assert_ne!(phase, Phase::Hop);
        // The step begun anew doesn't meet it again.
        let mut again = setup;
        again.faults.begin_anew(1);
        again.first_step = 1;
        assert_eq!(run(again, 0).unwrap().outputs, healthy.outputs);
    }
}

#[test]
fn what_strikes_by_chance_strikes_by_its_seed_and_otherwise_when_tried_again() {
    let with_seed = |seed, attempt| {
        let mut setup = with(DispatchScheme::Flat, &["delay by_us=5 ppm=200000"]);
        setup.seed = seed;
        setup.faults.attempt = attempt;
        let stepped = run(setup, 0).unwrap();
        (met(&stepped), times(&stepped))
    };
    assert_eq!(with_seed(1, 0), with_seed(1, 0));
    assert_ne!(with_seed(1, 0), with_seed(1, 1));
    let frames = met(&run(with(DispatchScheme::Flat, &["delay by_us=5 ppm=1000000"]), 0).unwrap());
    let some = with_seed(1, 0).0;
    assert!(some > 0 && some < frames, "{some} of {frames}");
}

#[test]
fn a_rank_or_rack_that_is_not_there_is_refused() {
    let error = with(DispatchScheme::Flat, &["kill rank=9"]).validate().unwrap_err().to_string();
    assert!(error.contains("no rank 9; there are ranks 0 to 3"), "{error}");
}
