//! Wrong and disturbed backends: what is named, what is repeated, and when rounds end.

use super::*;

/// A stand-in for QUIC: simulated rounds, changed at will.
struct Fake<F> {
    sim: SimRunner,
    change: F,
    dilations: Vec<u64>,
}

impl<F: FnMut(&mut StepRecord) + Send> Runner for Fake<F> {
    async fn open(&mut self, request: &RunRequest) -> Result<(), RunError> {
        self.dilations.push(request.pacing.network_dilation);
        self.sim.open(request).await
    }

    async fn step(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let mut record = self.sim.step(batch).await?;
        (self.change)(&mut record);
        Ok(record)
    }

    fn close(&mut self) {
        self.sim.close();
    }
}

/// One configuration on the stand-in.
fn changed(change: impl FnMut(&mut StepRecord) + Send) -> (Record, Vec<u64>) {
    changed_rounds(2, change)
}

/// The same with at most so many rounds.
fn changed_rounds(rounds: u32, change: impl FnMut(&mut StepRecord) + Send) -> (Record, Vec<u64>) {
    let spec = CompareSpec {
        backends: vec![BackendKind::Quic],
        latencies: vec![LatencyChoice::Zero],
        schemes: Some(vec![DispatchScheme::Flat]),
        warmup: 1,
        rounds,
        ..small_spec()
    };
    let mut fake = Fake { sim: SimRunner::default(), change, dilations: Vec::new() };
    let report = run(&spec, Some(&mut fake)).expect("a report");
    (report.rows[1].clone(), fake.dilations)
}

#[test]
fn an_undisturbed_run_counts_and_is_paced_for_this_machine() {
    let (record, dilations) = changed(|_| {});
    assert!(record.verified && record.valid && record.retries == 0);
    assert_eq!(record.network_dilation, Some(dilations[1]));
    // 40 ms of wall time for the shorter phase at least.
    let shorter = record.dispatch_us.min(record.combine_us);
    assert!(shorter * dilations[1] as f64 >= 39_000.0, "{shorter} us at {}", dilations[1]);
}

#[test]
fn wrong_outputs_and_bytes_are_named_and_not_retried() {
    let (record, dilations) = changed(|round| round.digests[3][5] ^= 1);
    assert_eq!((record.verified, record.valid, dilations.len()), (false, false, 2));
    let problem = record.problem.expect("a problem");
    assert!(problem.starts_with("step 0: output of token 5 of rank 3 has digest"), "{problem}");
    let (record, _) = changed(|round| round.phases[2].1[1].sent_bytes[0].1 += 640);
    let problem = record.problem.expect("a problem");
    assert!(problem.starts_with("step 0: combine: rank 1 sent"), "{problem}");
    let (record, _) = changed(|round| round.digests[0].truncate(11));
    assert!(record.problem.expect("a problem").contains("rank 0 gave 11 outputs for 12 tokens"));
}

/// Makes a round look as if its deliveries had been `late_ns` late.
fn delay(round: &mut StepRecord, late_ns: u64) {
    let mut histogram: Histogram<u64> = Histogram::new(2).expect("two digits");
    histogram.record_n(late_ns, 100).expect("in range");
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&histogram, &mut bytes).expect("serialisable");
    for report in &mut round.phases[0].1 {
        report.lateness_ns.clone_from(&bytes);
    }
}

#[test]
fn a_disturbed_run_is_repeated_at_twice_the_dilation() {
    let mut rounds = 0;
    let (record, dilations) = changed(|round| {
        rounds += 1;
        // Base and row have 3 steps each; the row's first attempt is late in its last step.
        delay(round, if rounds == 6 { 200_000_000 } else { 1_000 });
    });
    assert!(record.valid && record.problem.is_none());
    assert_eq!((record.retries, dilations.len()), (1, 3));
    assert_eq!(dilations[2], 2 * dilations[1]);
    let [attempt] = &record.discarded[..] else { panic!("one attempt, {:?}", record.discarded) };
    assert_eq!((attempt.network_dilation, attempt.samples), (dilations[1], 2));
    assert!(attempt.problem.contains("lateness p99") && attempt.a2a_us > 0.0, "{attempt:?}");
    assert!(record.lateness_p99_us.is_some_and(|late| late < 2.0));
}

#[test]
fn a_run_that_stays_disturbed_is_invalid() {
    let (record, dilations) = changed(|round| delay(round, 10_000_000_000));
    assert!(record.verified && !record.valid);
    // Those of the base come first, and leave their level. Only the last attempt is run to its end.
    assert_eq!((record.retries, record.discarded.len(), dilations.len()), (4, 4, 10));
    assert!(record.discarded.iter().all(|attempt| attempt.samples == 1), "{:?}", record.discarded);
    assert!(dilations[..5].windows(2).all(|pair| pair[1] == 2 * pair[0]), "{dilations:?}");
    assert!(record.problem.expect("a problem").contains("lateness p99"));
    let (record, _) = changed(|round| round.phases[0].1[0].overtaken = 100);
    assert!(record.problem.expect("a problem").contains("overtaken frames"));
    let (record, _) = changed(|round| round.phases[2].1[4].cpu_ns = 100_000_000_000);
    assert!(record.problem.expect("a problem").contains("CPU use"));
    let (record, _) = changed(|round| round.phases[2].1[4].lateness_ns = vec![1, 2, 3]);
    assert!(record.problem.expect("a problem").contains("can't be read"));
}

#[test]
fn the_next_row_begins_at_the_dilation_that_this_one_needed() {
    let (_, calm) = changed(|_| {});
    let mut rounds = 0;
    let (record, dilations) = changed(|round| {
        rounds += 1;
        // The base's first measured round; then 6 to 9% of phases, which is more than half of the limit.
        delay(round, if rounds == 2 { 200_000_000 } else { 7_000_000 });
    });
    assert_eq!(dilations, [calm[0], 2 * calm[0], 2 * calm[1]]);
    assert!(record.valid && record.retries == 0);
}

#[test]
fn a_dilation_that_was_given_is_doubled_once_and_forgotten() {
    let spec = CompareSpec {
        backends: vec![BackendKind::Quic],
        latencies: vec![LatencyChoice::Zero],
        schemes: Some(vec![DispatchScheme::Flat]),
        dilation: Dilation::Fixed(1_000),
        ..small_spec()
    };
    let change = |round: &mut StepRecord| delay(round, 10_000_000_000);
    let mut fake = Fake { sim: SimRunner::default(), change, dilations: Vec::new() };
    let report = run(&spec, Some(&mut fake)).expect("a report");
    assert_eq!(fake.dilations, [1_000, 2_000, 1_000, 2_000]);
    assert!(report.rows.iter().all(|record| !record.valid && record.retries == 1));
}

#[test]
fn warm_up_steps_are_checked_but_not_judged() {
    let (record, dilations) = changed(|round| {
        if round.step == 0 {
            delay(round, 200_000_000);
        }
    });
    assert!(record.valid && dilations.len() == 2);
    assert_eq!(record.samples, 2);
}

#[test]
fn rounds_end_when_they_say_nothing_new() {
    assert_eq!(changed_rounds(5, |_| {}).0.samples, 2, "all alike");
    assert_eq!(changed_rounds(1, |_| {}).0.samples, 1, "no more than was asked for");
    let slower_by = |percent: u64| {
        move |round: &mut StepRecord| {
            let share = if round.step == 2 { 100 + percent } else { 100 };
            for report in round.phases.iter_mut().flat_map(|(_, reports)| reports) {
                report.measured = Picos(report.measured.0 * share / 100);
            }
        }
    };
    let (record, _) = changed_rounds(5, slower_by(1));
    assert_eq!(record.samples, 5, "the second round took longer, and its share stays over 0.5%");
    assert!(record.a2a_p90_us > record.a2a_p10_us && record.valid);
}
