//! What is behind a record agrees with the record and with the plan.

use super::testing::small_spec;
use super::*;
use coordinator::pace::{Figures, Host};
use coordinator::sim::SimRunner;
use moe::{DispatchScheme, RoutingSpec};
use proptest::prelude::*;

fn sum(matrix: &[Vec<u64>]) -> u64 {
    matrix.iter().flatten().sum()
}

fn slowest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// Each record with its configuration.
fn detailed(spec: &CompareSpec) -> Vec<(Record, Configuration)> {
    let rows = configurations(spec, &mut Vec::new()).expect("valid");
    let report = compare_offline(spec, &rows).expect("a comparison");
    report.rows.iter().map(|record| (record.clone(), rows[record.configuration].clone())).collect()
}

fn simulated(spec: CompareSpec) -> CompareSpec {
    CompareSpec { backends: vec![BackendKind::Sim], payload: false, detail: true, ..spec }
}

/// Everything that a simulated record of equal rounds and its detail say twice.
fn agree(spec: &CompareSpec) {
    let rows = configurations(spec, &mut Vec::new()).expect("valid");
    let truths = truth::truths(spec, &rows, spec.seeds[0]).expect("routing");
    for (record, row) in detailed(spec) {
        assert!(record.verified, "{:?}", record.problem);
        let detail = record.detail.as_ref().expect("asked for");
        let traffic = &truths[record.configuration][0].traffic;
        assert_eq!(detail.rack_sizes, row.cluster.rack_sizes());
        for (matrix, planned) in
            [(&detail.dispatch_bytes, &traffic.dispatch), (&detail.combine_bytes, &traffic.combine)]
        {
            assert_eq!(sum(matrix), planned.total(), "{}", record.title);
            if detail.matrix_by == MatrixBy::Rank {
                for from in row.cluster.ranks() {
                    let told = &matrix[from.0 as usize];
                    assert!(row.cluster.ranks().all(|to| told[to.0 as usize] == planned.get(from, to)));
                }
            }
        }
        for (slowest, of_record) in [
            (slowest(&detail.rank_us.dispatch), record.dispatch_us),
            (slowest(&detail.rank_us.expert), record.compute_us),
            (slowest(&detail.rank_us.combine), record.combine_us),
        ] {
            assert_eq!(slowest, of_record, "{}", record.title);
        }
        frames_agree(&record, detail, &row);
        assert_eq!(detail.round_us.dispatch, [record.dispatch_us]);
        assert_eq!(detail.round_us.expert, [record.compute_us]);
        assert_eq!(detail.round_us.combine, [record.combine_us]);
        let rows_of = |loads: &[u64]| loads.iter().sum::<u64>();
        assert_eq!(rows_of(&detail.rows_per_rank), rows_of(&traffic.rows_per_slot));
        assert_eq!(rows_of(&detail.tokens_per_expert), rows_of(&traffic.rows_per_slot));
        assert_eq!(rows_of(&detail.rows_per_rank_linear), rows_of(&traffic.rows_per_slot));
        assert_eq!(detail.rows_per_rank.len(), record.ranks as usize);
        assert_eq!(detail.tokens_per_expert.len(), spec.shape.num_experts as usize);
        if record.placement == "linear" {
            assert_eq!(detail.rows_per_rank, detail.rows_per_rank_linear);
        }
    }
}

/// What frames say is what bytes and times say.
fn frames_agree(record: &Record, detail: &Detail, row: &Configuration) {
    if detail.dispatch_wait_us.is_empty() {
        assert!(detail.combine_wait_us.is_empty() && detail.ports_over_time.is_empty());
        return;
    }
    for (waits, bytes, us) in [
        (&detail.dispatch_wait_us, &detail.dispatch_bytes, record.dispatch_us),
        (&detail.combine_wait_us, &detail.combine_bytes, record.combine_us),
    ] {
        for (wait, bytes) in waits.iter().flatten().zip(bytes.iter().flatten()) {
            assert_eq!(*wait > 0.0, *bytes > 0, "{}", record.title);
            assert!(*wait <= us + 0.001, "{wait} of {us} us");
        }
    }
    for ports in &detail.ports_over_time {
        let rows = ports.least.iter().zip(&ports.mean).zip(ports.most.iter().zip(&ports.fullest));
        assert_eq!(rows.clone().count(), BINS);
        for ((least, mean), (most, fullest)) in rows {
            assert!(0.0 <= *least && *least <= mean + 1e-4 && *mean <= most + 1e-4, "{ports:?}");
            assert!(least <= fullest && fullest <= most && *most <= 1.0, "{ports:?}");
        }
        let (bytes, us) = match ports.phase.as_str() {
            "dispatch" => (&detail.dispatch_bytes, record.dispatch_us),
            _ => (&detail.combine_bytes, record.combine_us),
        };
        assert!((ports.bin_us * BINS as f64 - us).abs() < 1e-6 * us.max(1.0), "{} of {us}", ports.bin_us);
        // What ports are busy with is what was sent.
        let crosses = ports.link == "scale_out";
        let of_link = row.cluster.ranks().flat_map(|from| row.cluster.ranks().map(move |to| (from, to)));
        let of_link = of_link.filter(|&(from, to)| crosses != row.cluster.same_rack(from, to));
        let sent: u64 = of_link.map(|(from, to)| bytes[from.0 as usize][to.0 as usize]).sum();
        let fabric = small_spec().fabric;
        let link = if crosses { fabric.scale_out } else { fabric.scale_up };
        let rate = link.rate.bytes_per_s() as f64;
        let busy_us = ports.mean.iter().sum::<f64>() * ports.bin_us * f64::from(record.ranks);
        let due_us = sent as f64 / rate * 1e6;
        let rounding = 1e-4 * us * f64::from(record.ranks);
        assert!((busy_us - due_us).abs() <= rounding + 0.01 * due_us, "{busy_us} us, due {due_us}");
    }
}

#[test]
fn frames_say_who_waits_for_whom_and_how_ports_fill() {
    let told = detailed(&simulated(small_spec()));
    let (record, row) = told.iter().find(|(record, _)| record.racks == 2).expect("a row");
    let detail = record.detail.as_ref().expect("asked for");
    frames_agree(record, detail, row);
    let kinds: Vec<_> = detail
        .ports_over_time
        .iter()
        .map(|ports| (ports.phase.as_str(), ports.link.as_str(), ports.way))
        .collect();
    assert_eq!(kinds.len(), 8, "two phases, two links, two ways: {kinds:?}");
    let longest = detail.dispatch_wait_us.iter().flatten().copied().fold(0.0, f64::max);
    assert!((longest - record.dispatch_us).abs() <= 0.001, "the last row ends the phase");
    let page = Page { width: None, early: false };
    let report = Report::new(&simulated(small_spec()), vec![record.clone()]);
    assert!(report.pairs(page).contains("# waits, dispatch, 2 racks: flat, "), "{}", report.pairs(page));
}

#[test]
fn a_detail_is_there_only_where_it_is_asked_for() {
    let spec = CompareSpec { backends: vec![BackendKind::Analytic, BackendKind::Sim], ..small_spec() };
    assert!(detailed(&spec).iter().all(|(record, _)| record.detail.is_none()));
    let told = detailed(&CompareSpec { detail: true, ..spec });
    for (record, _) in &told {
        assert_eq!(record.detail.is_some(), record.backend == BackendKind::Sim, "{}", record.title);
        let json = serde_json::to_string(record).expect("JSON");
        assert_eq!(json.contains("\"detail\""), record.detail.is_some());
        assert_eq!(*record, serde_json::from_str::<Record>(&json).expect("its own"));
    }
    let replicated =
        told.iter().find(|(record, _)| record.detail.is_some() && record.placement == "replicated");
    let (record, _) = replicated.expect("a row");
    let detail = record.detail.as_ref().expect("asked for");
    assert_ne!(detail.rows_per_rank, detail.rows_per_rank_linear, "replicas share their experts' tokens");
}

#[test]
fn what_is_measured_has_the_bytes_of_what_is_simulated_and_every_round() {
    let spec = CompareSpec {
        backends: vec![BackendKind::Sim, BackendKind::Quic],
        schemes: Some(vec![DispatchScheme::Hierarchical]),
        latencies: vec![LatencyChoice::Preset],
        detail: true,
        seeds: vec![1, 7],
        ..small_spec()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };
    let (mut nodes, mut finished) = (SimRunner::default(), Finished::default());
    let mut quiet = |_| {};
    let report = compare(&spec, Some(&mut nodes), host, &mut finished, &mut quiet);
    let report = runtime.block_on(Box::pin(report)).expect("a comparison");
    for pair in report.rows.chunks(2) {
        let [sim, quic] = [&pair[0], &pair[1]].map(|record| record.detail.as_ref().expect("asked for"));
        assert_eq!((&sim.dispatch_bytes, &sim.combine_bytes), (&quic.dispatch_bytes, &quic.combine_bytes));
        assert_eq!(
            (&sim.rows_per_rank, &sim.tokens_per_expert),
            (&quic.rows_per_rank, &quic.tokens_per_expert)
        );
        // The simulator has a round a seed; the nodes, which are as exact, the least that there may be.
        assert_eq!((sim.round_us.combine.len(), quic.round_us.combine.len()), (2, 4));
        assert_eq!(sim.rank_us, quic.rank_us);
    }
}

#[test]
fn many_ranks_are_told_by_rack() {
    let mut spec = simulated(small_spec());
    spec.rack_sizes = vec![520, 510];
    (spec.shape.num_experts, spec.tokens) = (1_030, 1);
    spec.schemes = Some(vec![DispatchScheme::Dedup]);
    spec.gates = Some(vec![GateChoice::Unlimited]);
    spec.latencies = vec![LatencyChoice::Zero];
    let (record, _) = detailed(&spec).into_iter().find(|(record, _)| record.racks == 2).expect("a row");
    let detail = record.detail.as_ref().expect("asked for");
    assert_eq!((detail.matrix_by, detail.dispatch_bytes.len()), (MatrixBy::Rack, 2));
    assert_eq!(detail.rank_us.dispatch.len(), 1_030);
    agree(&spec);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn details_agree_with_records_and_plans(
        rack_sizes in prop::collection::vec(1_u32..5, 1..4),
        tokens in 1_u32..9,
        top_k in 1_u32..5,
        exponent in prop::option::of(0.0_f64..2.0),
        seed in 0_u64..1_000,
    ) {
        prop_assume!(rack_sizes.iter().sum::<u32>() > 1);
        let mut spec = simulated(small_spec());
        (spec.rack_sizes, spec.tokens, spec.seeds) = (rack_sizes, tokens, vec![seed]);
        (spec.shape.num_experts, spec.shape.top_k) = (24, top_k);
        if let Some(exponent) = exponent {
            spec.routing = RoutingSpec::Zipf { exponent };
        }
        prop_assume!(configurations(&spec, &mut Vec::new()).is_ok());
        agree(&spec);
    }
}

#[test]
fn ranks_of_a_rack_are_put_together() {
    let mut detail = detailed(&simulated(small_spec()))
        .into_iter()
        .find_map(|(record, _)| (record.racks == 2).then_some(record.detail).flatten());
    let detail = detail.as_mut().expect("asked for");
    let all = sum(&detail.dispatch_bytes);
    let crossing: u64 = detail.dispatch_bytes[..4].iter().flat_map(|row| &row[4..]).sum();
    detail.sum_by_rack();
    assert_eq!(detail.matrix_by, MatrixBy::Rack);
    assert_eq!(detail.dispatch_bytes.len(), 2);
    assert_eq!(detail.dispatch_bytes[0][1], crossing);
    assert_eq!(sum(&detail.dispatch_bytes), all);
    let once = detail.clone();
    detail.sum_by_rack();
    assert_eq!(*detail, once);
}
