use super::*;
use proptest::prelude::*;

fn fault(text: &str) -> Fault {
    text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn plan(faults: &[&str]) -> FaultPlan {
    FaultPlan { faults: faults.iter().map(|text| fault(text)).collect(), ..FaultPlan::default() }
}

const DISPATCH: FaultPhase = FaultPhase::Dispatch;

fn us(us: u64) -> Picos {
    Picos(us * 1_000_000)
}

#[test]
fn faults_are_written_as_they_are_read() {
    for text in [
        "kill rank=3 step=2 phase=combine at_us=5",
        "kill rack=1",
        "freeze rank=0 at_us=1.5 for_us=20",
        "freeze rank=0 step=0",
        "slow rank=2 factor=3.5",
        "slow rack=0 factor=2 step=4 steps=2 phase=expert",
        "degrade rack=1 factor=4",
        "degrade from=0 to=5 factor=2",
        "degrade rank=1 links=scale-up factor=10",
        "cut from=0 to=5 both=true at_us=2 for_us=30",
        "drop rank=1 links=scale-out frame=2",
        "duplicate ppm=100",
        "reorder from=1 to=0 phase=combine",
        "corrupt rank=4 step=1 steps=3",
        "delay from=1 to=0 by_us=7",
        "skew rank=1 by_us=2.5",
    ] {
        assert_eq!(fault(text).to_string(), text);
    }
    assert_eq!(fault("kill  rank=1  phase=dispatch steps=1").to_string(), "kill rank=1");
}

#[test]
fn what_happens_once_is_in_the_first_step_that_counts_unless_a_step_is_said() {
    for (text, told) in [
        ("kill rank=1", "kill rank=1 step=3"),
        ("corrupt rank=1 phase=combine", "corrupt rank=1 step=3 phase=combine"),
        ("kill rank=1 step=0", "kill rank=1 step=0"),
        ("kill rank=1 ppm=5", "kill rank=1 ppm=5"),
        ("slow rank=1 factor=2", "slow rank=1 factor=2"),
    ] {
        assert_eq!(fault(text).after(3).to_string(), told);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_key_and_the_nearest_word() {
    for (text, says) in [
        ("", "what: ``: give kill"),
        ("kil rank=1", "what: `kil`, did you mean `kill`?"),
        ("kill", "whose? give `rank` or `rack`"),
        ("kill rnak=1", "rnak: unknown key, did you mean `rank`?"),
        ("kill rank=1 rank=2", "rank: given twice"),
        ("kill rank=x", "rank: `x`: give a whole number"),
        ("kill rank=1 rack=0", "give one of"),
        ("kill from=1 to=0", "from: this fault is of a rank"),
        ("kill rank=1 for_us=3", "for_us: what is killed is gone"),
        ("kill rank=1 links=scale-up", "links: this fault is of a rank"),
        ("slow rank=1", "no `factor`"),
        ("slow rank=1 factor=0.5", "factor: `0.5`: give a number from 1"),
        ("slow rank=1 factor=2 by_us=1", "by_us: this fault takes none"),
        ("delay rank=1", "no `by_us`"),
        ("cut from=1", "a pair needs `from` and `to`"),
        ("cut from=1 to=1", "to: rank 1 sends itself nothing"),
        ("drop ppm=0", "ppm: give millionths"),
        ("drop steps=0", "steps: 0 steps"),
        ("drop phase=dispath", "phase: `dispath`, did you mean `dispatch`?"),
        ("drop rank", "`rank`: give key=value"),
        (
            "slow rank=1 factor=2 phase=combine",
            "phase: this fault is of arithmetic, and can't strike in combine; give one of expert, local",
        ),
        (
            "delay by_us=2 phase=expert",
            "phase: this fault is of what travels, and can't strike in expert; give one of dispatch, combine, hop",
        ),
        ("freeze rank=1 at_us=-1", "at_us: `-1`: give microseconds"),
    ] {
        let problem = text.parse::<Fault>().unwrap_err().to_string();
        assert!(problem.contains(says), "{text}: {problem}");
    }
    let cluster = Cluster::new(&[2, 2]).unwrap();
    for (text, says) in
        [("kill rank=4", "no rank 4; there are ranks 0 to 3"), ("slow rack=2 factor=2", "no rack 2")]
    {
        let problem = plan(&[text]).check(&cluster).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
    assert!(plan(&["drop"; FAULTS_MAX + 1]).check(&cluster).is_err());
    assert!(plan(&["drop"; FAULTS_MAX]).check(&cluster).is_ok());
}

#[test]
fn a_rank_has_the_fate_of_its_plan_and_of_its_step() {
    let cluster = Cluster::new(&[2, 2]).unwrap();
    let mut plan = plan(&["kill rank=1 step=2 at_us=5", "slow rank=0 factor=2", "degrade rack=1 factor=4"]);
    let fate = |plan: &FaultPlan, rank, step| {
        plan.fate(&cluster, RankId(rank), Moment { step, phase: DISPATCH }, |_| 0)
    };
    assert_eq!((fate(&plan, 1, 2).ends, fate(&plan, 1, 2).killed), (Some(us(5)), true));
    assert_eq!(fate(&plan, 1, 1), Fate::default());
    assert_eq!(fate(&plan, 0, 7).compute.end(us(1), us(3)), us(7));
    let degraded = fate(&plan, 3, 0);
    assert!(degraded.ports[0].is_steady() && degraded.compute.is_steady());
    assert_eq!(degraded.ports[1].end(us(1), us(3)), us(13));
    plan.begin_anew(2);
    assert_eq!(fate(&plan, 1, 2), Fate::default(), "it has happened");
    assert!(!fate(&plan, 0, 2).compute.is_steady(), "it still holds");
}

#[test]
fn a_frame_meets_what_is_on_its_way() {
    let cluster = Cluster::new(&[2, 2]).unwrap();
    let at = Moment { step: 0, phase: DISPATCH };
    let frame =
        |from, to, sequence, arrive| Crossing { from: RankId(from), to: RankId(to), sequence, arrive };
    let verdict = |text, crossing| plan(&[text]).verdict(&cluster, crossing, at, |_| 500);
    assert!(verdict("drop rank=1", frame(1, 0, Some(0), us(1))).lost);
    for other in [frame(1, 0, Some(1), us(1)), frame(0, 1, Some(0), us(1)), frame(1, 0, None, us(1))] {
        assert_eq!(verdict("drop rank=1", other), Verdict::default(), "{other:?}");
    }
    assert!(verdict("cut rank=1 at_us=1", frame(0, 1, None, us(1))).lost);
    assert!(!verdict("cut rank=1 at_us=2", frame(0, 1, None, us(1))).lost);
    assert!(!verdict("cut rank=1 for_us=9", frame(0, 1, None, us(1))).lost, "it waits");
    assert!(verdict("cut rack=1", frame(0, 2, None, us(1))).lost);
    assert!(!verdict("cut rack=1", frame(2, 3, None, us(1))).lost, "inside the rack");
    assert!(verdict("duplicate ppm=501", frame(0, 1, Some(7), us(1))).doubled);
    assert!(!verdict("duplicate ppm=500", frame(0, 1, Some(7), us(1))).doubled);
    assert_eq!(verdict("delay to=1 from=0 by_us=3", frame(0, 1, Some(7), us(1))).delay, us(3));
    let path = plan(&["cut from=0 to=1 both=true at_us=2 for_us=3"]).path(&cluster, RankId(1), RankId(0), at);
    assert_eq!(
        [us(1), us(2), us(4), us(5)].map(|arrive| path.end(arrive, Picos::ZERO)),
        [us(1), us(5), us(5), us(5)]
    );
}

/// Work done by `end`, a picosecond at a time, in thousandths.
fn done(windows: &[(Picos, Picos, u32)], start: u64, end: u64) -> u64 {
    let speed = |at: u64| {
        let here = windows.iter().filter(|(from, until, _)| from.0 <= at && at < until.0);
        here.map(|window| u64::from(window.2))
            .next()
            .map_or(1_000, |permille| 1_000_000_u64.checked_div(permille).unwrap_or(0))
    };
    (start..end).map(speed).sum()
}

proptest! {
    #[test]
    fn a_pace_ends_when_the_work_is_done(
        start in 0u64..40, work in 0u64..40, from in 0u64..30, long in 1u64..30, gap in 0u64..5, second in 1u64..20,
        slow in prop::sample::select(vec![0u32, 1_000, 2_000, 4_000]),
    ) {
        let until = from + long;
        let windows = [
            (Picos(from), Picos(until), slow), (Picos(until + gap), Picos(until + gap + second), 0),
        ];
        let end = Pace::new(&windows).end(Picos(start), Picos(work)).0;
        prop_assert!(end >= start + work);
        prop_assert!(done(&windows, start, end) + 1_000 >= work * 1_000);
        prop_assert!(end == start || done(&windows, start, end - 1) <= work * 1_000);
    }
}
