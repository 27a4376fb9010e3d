//! Serving as a subject: places of settings, sweeps over them, faults with their lines.

/// The subject of docs/extending.md.
mod hops;

use super::Serving;
use crate::experiment::{
    Experiment, Plan, Point, Results, Shard, Subject, Value, parse_experiment, run_offline, summarise, table,
};
use crate::layer::BackendKind;
use crate::placing::Programs;
use crate::scenario::{Scenario, ScenarioError, Studied};
use crate::serving::Sources;
use std::sync::Arc;
use std::time::Duration;

/// Experts are where they are by themselves.
#[derive(Debug, Default)]
struct Presets;

impl Sources for Presets {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        scenario.resolve(&Arc::new(Programs::new(Duration::from_secs(1))))
    }
}

const SMALL: &str = r#"
[serve]
model = "qwen3-30b-a3b"
hardware = "h100"
ranks_per_rack = 8
racks = 1
[arrivals]
kind = "constant"
request_rate = 200.0
num_prompts = 40
input_len = { dist = "uniform", min = 16, max = 64 }
output_len = 8
"#;

fn read(text: &str) -> Result<Experiment, String> {
    let serving = Serving::<Presets>::default();
    let read = parse_experiment(text, "small.toml", &[&serving]);
    read.map(|(_, experiment)| experiment).map_err(|error| error.to_string())
}

/// The first fault of a file or of its points.
fn fault(text: &str) -> String {
    let serving = Serving::<Presets>::default();
    match read(text) {
        Ok(experiment) => Plan::new(&serving, experiment, &[]).expect_err("faulty").to_string(),
        Err(fault) => fault,
    }
}

#[test]
fn a_sweep_is_the_product_of_places_in_file_order() {
    let sweep = r#"
[sweep]
"parallel.pp" = [1, 2]
arrivals.request_rate = { from = 1.0, to = 100.0, steps = 3, scale = "log" }
[[sweep.points]]
"serve.racks" = 2
"scheduler.order" = "fair"
[[sweep.points]]
serve.racks = 4
"#;
    let file = read(&format!("{SMALL}{sweep}")).unwrap();
    assert_eq!(file.num_points(), 12);
    assert_eq!(file.swept(), ["parallel.pp", "arrivals.request_rate", "serve.racks", "scheduler.order"]);
    let point = file.point(3, Some("serve.seed"));
    assert_eq!(point.settings.to_string(), "parallel.pp = 1, arrivals.request_rate = 10, serve.racks = 4");
}

#[test]
fn seeds_have_two_names_and_one_meaning() {
    let seed = |text: &str, index| {
        let file = read(&format!("{SMALL}{text}")).unwrap();
        (file.num_points(), file.point(index, Some("serve.seed")).seed)
    };
    assert_eq!(seed("[sweep]\nseeds = '3-5'", 2), (3, 5));
    assert_eq!(seed("[sweep]\n'serve.seed' = [4, 9]", 1), (2, 9));
    assert_eq!(seed("[sweep]\n'parallel.pp' = [1, 2]", 1), (2, 1));
    assert!(fault(&format!("{SMALL}[sweep]\nseeds = 2\n'serve.seed' = [1]")).contains("are one thing"));
}

#[test]
fn a_backend_that_is_asked_for_is_where_times_are_from() {
    let serving = Serving::<Presets>::default();
    let text = format!("{SMALL}[sweep]\n'serve.cost' = ['analytic', 'memoised', 'frames']");
    let plan = |backends: &[BackendKind]| Plan::new(&serving, read(&text).unwrap(), backends).unwrap();
    let costs = |plan: &Plan<'_>| {
        let costs =
            plan.points(Shard::ALL).map(|point| point.settings.get("serve.cost").map(Value::to_string));
        costs.flatten().collect::<Vec<_>>().join(" ")
    };
    let own = plan(&[]);
    assert_eq!((costs(&own).as_str(), own.backends.len()), ("analytic memoised frames", 2));
    assert_eq!(costs(&plan(&[BackendKind::Analytic])), "analytic");
    assert_eq!(costs(&plan(&[BackendKind::Sim])), "memoised frames");
}

#[test]
fn every_setting_is_a_place_and_every_fault_has_a_line() {
    let keys = Serving::<Presets>::default().keys();
    for key in [
        "serve.throttle",
        "parallel.overlap",
        "arrivals.prefixes.zipf",
        "arrivals.input_len.dist",
        "cache.tiers",
    ] {
        assert!(keys.iter().any(|known| known == key), "{key}");
    }
    for (change, said) in [
        (("model =", "modle ="), ":3: unknown key `serve.modle`, did you mean `serve.model`?"),
        (
            ("kind = \"constant\"", "kind = \"constnt\""),
            ":8: arrivals.kind: unknown word `constnt`, did you mean `constant`?",
        ),
        (("[arrivals]", "[arivals]"), ":7: unknown key `arivals`, did you mean `arrivals`?"),
        (
            ("min = 16", "mn = 16"),
            ":11: unknown key `arrivals.input_len.mn`, did you mean `arrivals.input_len.min`?",
        ),
        (("min = 16", "sigma = 16"), ":11: point 0 (seed 1): arrivals.input_len: unknown key `sigma`"),
        (
            ("[serve]", "[sweep]\nusers = [1]\n[serve]"),
            ":3: unknown key `users`, did you mean `arrivals.users`?",
        ),
        (("[serve]", "[sweep]\n\"serve.seed\" = []\n[serve]"), ":3: serve.seed: an empty list"),
        (
            ("[serve]", "[sweep]\n\"serve.seed\" = [1, \"x\"]\n[serve]"),
            ":3: serve.seed: `x`: give whole numbers",
        ),
        (
            ("[serve]", "[sweep]\n\"parallel.pp\" = [1, 3]\n[serve]"),
            ":3: point 1 (parallel.pp = 3, seed 1): parallel.pp: ",
        ),
        (
            ("[serve]", "[cache]\ntiers = [{ presett = \"hbm\" }]\n[serve]"),
            ":3: cache.tiers: unknown key `presett`, did you mean `preset`?",
        ),
        (("[serve]", "[cache]\n[serve]"), ":2: [cache] has no keys; give one, or leave it out"),
        // A table that turns nothing on may be empty.
        (
            ("[serve]\nmodel = \"qwen3-30b-a3b\"", "[parallel]\n[slo]\n[serve]\nmodel = \"gpt-9\""),
            ":5: point 0 (seed 1): serve.model: ",
        ),
        (("qwen3-30b-a3b", "gpt-9"), ":3: point 0 (seed 1): serve.model: "),
        (("[serve]", "[experiment]\ntokens = 3\n[serve]"), ":3: unknown key `tokens`"),
    ] {
        let error = fault(&SMALL.replacen(change.0, change.1, 1));
        assert!(error.starts_with(&format!("small.toml{said}")) && !error.contains('\n'), "{said}\n{error}");
    }
}

#[test]
fn a_subject_is_a_file_and_a_line() {
    let page = include_str!("../../../docs/extending.md");
    assert!(page.contains(include_str!("tests/hops.rs")), "docs/extending.md shows another hops.rs");
    let text = "subject = 'hops'\n[experiment]\nbytes = 9000\n[sweep]\nlink.gb_per_s = [50, 900]";
    let serving = Serving::<Presets>::default();
    let (subject, experiment) = parse_experiment(text, "hops.toml", &[&serving, &hops::Hops]).expect("sound");
    let plan = Plan::new(subject, experiment, &[]).expect("can be run");
    let points: Vec<Point> = plan.points(Shard::ALL).collect();
    let mut results = Results::in_memory(plan.header(Shard::ALL));
    run_offline(&plan, &points, 2, &mut results, &|_| (), &mut |_| ()).expect("runs");
    let merged = results.finish().expect("read");
    let rows = summarise(&merged);
    let shown = table(&merged, &rows, subject, None);
    assert!(shown.contains("gb_per_s  backend    hop us  seeds  verified"), "{shown}");
    assert_eq!(rows[1].estimate("hop_us").map(|estimate| estimate.mean), Some(0.01));
}
