//! Experiments as a whole: files and their faults, points and shards.

mod resumed;
mod told;

use super::*;
use crate::layer::{BackendKind, CompareSpec, GateChoice, LatencyChoice};
use crate::subjects::layer::{COLUMNS, resolved};
use moe::{DispatchScheme, Model};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use topology::Hardware;

/// Keys for tests: three numbers, a word, a list, and a place in a table.
#[derive(Debug)]
struct Few;

impl Subject for Few {
    fn name(&self) -> &'static str {
        "few"
    }

    fn keys(&self) -> Vec<String> {
        ["throttle", "tokens", "top_k", "scheme", "ranks_per_rack", "links.latency"]
            .map(str::to_owned)
            .to_vec()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        match (key, value) {
            ("scheme", Value::Text(text)) => text.parse::<DispatchScheme>().map(drop),
            ("ranks_per_rack", Value::Integer(_) | Value::List(_)) => Ok(()),
            ("throttle" | "tokens" | "top_k", Value::Integer(_) | Value::Number(_)) => Ok(()),
            ("links.latency", Value::Number(_)) => Ok(()),
            _ => Err(format!("`{value}` is not what it takes")),
        }
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Analytic, BackendKind::Sim]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let settings = asked.settings;
        let model = Model::preset("granite-1b").map_err(|error| error.to_string())?;
        let hardware = Hardware::preset("gb200").map_err(|error| error.to_string())?;
        let mut spec = CompareSpec::new(model, hardware);
        spec.rack_sizes = vec![2, 2];
        spec.latencies = vec![LatencyChoice::Zero];
        spec.gates = Some(vec![GateChoice::Unlimited]);
        spec.seeds = vec![asked.seed];
        spec.backends = asked.backends.to_vec();
        spec.payload = false;
        spec.tokens = settings.get("tokens").and_then(Value::number).map_or(4, |tokens| tokens as u32);
        let scheme = settings.get("scheme").map_or_else(|| "flat".to_owned(), Value::to_string);
        spec.schemes = Some(vec![scheme.parse().map_err(|_| format!("no scheme {scheme}"))?]);
        resolved(spec, true, format!("compare {settings}"))
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }
}

fn parse(text: &str) -> Result<Experiment, String> {
    let read = parse_experiment(text, "sweep.toml", &[&Few]);
    read.map(|(_, experiment)| experiment).map_err(|error| error.to_string())
}

#[track_caller]
fn check_error(text: &str, message: &str) {
    let error = parse(text).expect_err("faulty");
    assert!(error.starts_with(message), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

const WHOLE: &str = r#"name = "all-of-it"

[experiment]
top_k = 4
ranks_per_rack = [8, 6]
backend = ["sim", "analytic"]

[sweep]
throttle = [1, 2.5]
tokens = { from = 32, to = 128, steps = 3, scale = "log" }
seeds = "1-2,9"

[[sweep.points]]
scheme = "flat"

[[sweep.points]]
scheme = "hierarchical"
"#;

#[test]
fn a_whole_file() {
    let experiment = parse(WHOLE).expect("sound");
    assert_eq!((experiment.name.as_str(), experiment.num_points()), ("all-of-it", 2 * 3 * 2 * 3));
    assert_eq!(experiment.fixed.to_string(), "top_k = 4, ranks_per_rack = 8,6");
    assert_eq!(experiment.backends, Some(vec![BackendKind::Analytic, BackendKind::Sim]));
    let shown: Vec<String> =
        [0, 1, 2, 3, 6, 35].into_iter().map(|index| experiment.point(index, None).to_string()).collect();
    assert_eq!(
        shown,
        [
            "throttle = 1, tokens = 32, scheme = flat, seed 1",
            "throttle = 1, tokens = 32, scheme = flat, seed 2",
            "throttle = 1, tokens = 32, scheme = flat, seed 9",
            "throttle = 1, tokens = 32, scheme = hierarchical, seed 1",
            "throttle = 1, tokens = 64, scheme = flat, seed 1",
            "throttle = 2.5, tokens = 128, scheme = hierarchical, seed 9",
        ]
    );
    assert_eq!(
        experiment.settings(&experiment.point(0, None)).to_string(),
        "top_k = 4, ranks_per_rack = 8,6, throttle = 1, tokens = 32, scheme = flat"
    );
}

#[test]
fn a_file_without_a_sweep_is_one_point_called_by_the_file() {
    let experiment = parse("[experiment]\ntokens = 8").expect("sound");
    assert_eq!((experiment.name.as_str(), experiment.num_points(), experiment.seeds), ("sweep", 1, vec![1]));
}

#[test]
fn faults_name_file_line_and_remedy() {
    check_error("[experiment\n", "sweep.toml:1: ");
    check_error("nam = 'x'", "sweep.toml:1: unknown key `nam`, did you mean `name`?");
    check_error("name = 'a/b'", "sweep.toml:1: name = \"a/b\": give up to 64 letters");
    check_error("name = 3", "sweep.toml:1: name: give a text");
    check_error("sweep = 3", "sweep.toml:1: sweep: give a table, [sweep]");
    check_error("[experiment]\n\ntoken = 3", "sweep.toml:3: unknown key `token`, did you mean `tokens`?");
    check_error("[sweep]\ntop-k = [3]", "sweep.toml:2: unknown key `top-k`, did you mean `top_k`?");
    check_error("[sweep]\nseed = [3]", "sweep.toml:2: unknown key `seed`, did you mean `seeds`?");
    check_error("[sweep]\nqqq = [3]", "sweep.toml:2: unknown key `qqq`; known are throttle, tokens,");
    check_error("[experiment]\ntokens = 3\ntokens = 4", "sweep.toml:3: duplicate key");
    check_error("[experiment]\ntokens = 'x'", "sweep.toml:2: tokens: `x` is not what it takes");
    check_error("[experiment]\ntokens = 2020-01-01", "sweep.toml:2: tokens: a date");
    check_error("[experiment]\nthrottle = inf", "sweep.toml:2: throttle: not a finite number");
    check_error(
        "[experiment]\ntokens = {from = 1, to = 2, step = 1}",
        "sweep.toml:2: tokens: a range varies; put it under [sweep]",
    );
    check_error("[sweep]\ntokens = 3", "sweep.toml:2: tokens: give a list of values or a range");
    check_error("[sweep]\ntokens = []", "sweep.toml:2: tokens: an empty list");
    check_error("[sweep]\ntokens = [1, 2, 1]", "sweep.toml:2: tokens: 1 stands twice");
    check_error("[sweep]\ntokens = [\n1,\n'x']", "sweep.toml:4: tokens: `x` is not");
    check_error("[link]\nlatency = 3.0", "sweep.toml:1: unknown key `link`, did you mean `links`?");
    check_error(
        "[links]\nlatncy = 3.0",
        "sweep.toml:2: unknown key `links.latncy`, did you mean `links.latency`?",
    );
    check_error("[sweep]\nlinks.latency = [\n'x']", "sweep.toml:3: links.latency: `x` is not");
    check_error(
        "[sweep]\nlatency = [1.0]",
        "sweep.toml:2: unknown key `latency`, did you mean `links.latency`?",
    );
    check_error("subject = 'fews'", "sweep.toml:1: no subject `fews`, did you mean `few`?");
    check_error("[[plot]]\nfile = 'a'\nz = 'x'", "sweep.toml:3: unknown key `z`; known are title,");
    check_error("[[plot]]\nfile = 'a'\nx = 'tokens'", "sweep.toml:1: plot: missing field `y`");
    check_error(
        "[[plot]]\nfile = 'a'\nx = 'tokens'\ny = ['a2a_us']\nseries = ['scheme']",
        "sweep.toml:5: plot: series: `scheme` is not swept",
    );
    // Wherever the table stands, what it is about may come behind it.
    let plot =
        |x: &str, y: &str| format!("[[plot]]\nfile = 'a'\nx = '{x}'\ny = {y}\n[sweep]\ntokens = [1, 2]\n");
    check_error(
        &plot("tokns", "['a2a_us']"),
        "sweep.toml:3: plot: x: `tokns` is neither swept nor a column, did you mean `tokens`?",
    );
    check_error(
        &plot("tokens", "['a2a_s']"),
        "sweep.toml:4: plot: y: no column `a2a_s`, did you mean `a2a_us`?",
    );
    check_error(&plot("tokens", "[]"), "sweep.toml:4: plot: y: give a column at least");
    check_error(
        &plot("tokens", "['a2a_us', 'a2a_slowdown']"),
        "sweep.toml:4: plot: y: a2a_us has the unit \"us\"",
    );
    check_error(&plot("tokens", "['a2a_us']").replace("'a'", "'a/b'"), "sweep.toml:2: plot: file = \"a/b\"");
    check_error(
        "[sweep]\ntokens = [4]\n[[sweep.points]]\ntokens = 5",
        "sweep.toml:3: `tokens` is swept twice",
    );
    check_error("[[sweep.points]]\ntokens = 5\n[[sweep.points]]", "sweep.toml:3: points: an empty entry");
    check_error(
        "[[sweep.points]]\ntokens = 5\n[[sweep.points]]\ntokens = 5",
        "sweep.toml:3: points: this entry stands twice",
    );
    check_error("[sweep]\npoints = 3", "sweep.toml:2: points: give entries");
    check_error("[sweep]\ntokens = {from = 1, to = 2}", "sweep.toml:2: tokens: a range is {");
    check_error(
        "[sweep]\ntokens = {from = 1, stepps = 2}",
        "sweep.toml:2: unknown key `stepps`, did you mean `steps`?",
    );
    check_error(
        "[sweep]\ntokens = {from = 2, to = 1, step = 1}",
        "sweep.toml:2: tokens: the range goes from 2 down to 1",
    );
    check_error("[sweep]\nseeds = 'x'", "sweep.toml:2: seeds: `x`: give whole numbers and ranges");
    check_error("[sweep]\nseeds = [1, 1]", "sweep.toml:2: seeds: `1,1`: one of the seeds stands twice");
    check_error("[experiment]\nseeds = 1\n[sweep]\nseeds = 2", "sweep.toml:4: `seeds` is given twice");
    check_error("[experiment]\nbackend = 'gpu'", "sweep.toml:2: backend: `gpu`: give analytic, sim or quic");
    let many =
        "[sweep]\ntokens = {from = 1, to = 5000, step = 1}\nthrottle = {from = 1, to = 1000, step = 1}";
    check_error(many, "sweep.toml:2: 5000 x 1000 x 1 seeds are more than 100000 points");
    check_error(&"#".repeat((1 << 20) + 1), "sweep.toml:1: the file has 1048577 bytes");
}

proptest! {
    #[test]
    fn points_are_the_product_in_order_and_shards_part_them(
        sizes in prop::collection::vec(1_usize..5, 0..4),
        seeds in 1_u64..4,
        shards in 1_usize..9,
    ) {
        let axes: Vec<Axis> = sizes.iter().enumerate().map(|(at, &size)| Axis {
            rows: (0..size as i64).map(|value| Ordered(vec![(format!("k{at}"), Value::Integer(value))])).collect(),
        }).collect();
        let experiment = Experiment {
            axes,
            seeds: (1..=seeds).collect(),
            ..Experiment::default()
        };
        let count = experiment.num_points();
        prop_assert_eq!(count, sizes.iter().product::<usize>() * seeds as usize);
        let order: Vec<Vec<u64>> = (0..count)
            .map(|index| {
                let point = experiment.point(index, None);
                let values = point.settings.0.iter().map(|(_, value)| value.number().unwrap_or(-1.0) as u64);
                values.chain([point.seed]).collect()
            })
            .collect();
        prop_assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", order);
        for index in 0..count {
            let owners = (1..=shards).filter(|&index_| Shard { index: index_, count: shards }.has(index));
            prop_assert_eq!(owners.count(), 1);
        }
    }
}

const SMALL: &str =
    "name = 'small'\n[sweep]\ntokens = [1, 3, 8]\nscheme = ['flat', 'hierarchical']\nseeds = '1-3'";

fn plan(text: &str) -> Plan<'static> {
    let experiment = parse(text).expect("sound");
    Plan::new(&Few, experiment, &[]).expect("can be run")
}

fn merge(from: &[PathBuf]) -> Result<Merged, ExperimentError> {
    collect(from).map(|mut found| found.experiments.remove(0))
}

#[test]
fn what_is_swept_or_set_takes_the_place_of_what_is_fixed() {
    let text = "[experiment]\ntokens = 3\n[links]\nlatency = 1.5\n[sweep]\ntokens = [4, 5]\n\
                [[sweep.points]]\nscheme = 'flat'\ntop_k = 2\n[[sweep.points]]\ntop_k = 3";
    let mut experiment = parse(text).expect("sound");
    assert_eq!(
        (experiment.num_points(), experiment.swept().join(" ")),
        (4, "tokens scheme top_k".to_owned())
    );
    let settings = |experiment: &Experiment, index| experiment.settings(&experiment.point(index, None));
    assert_eq!(settings(&experiment, 1).get("tokens"), Some(&Value::Integer(4)));
    assert_eq!((settings(&experiment, 0).0.len(), settings(&experiment, 1).get("scheme")), (5, None));
    // A swept key is put to one value; rows that differed in nothing else are one.
    for (set, points) in [("tokens=7", 2), ("top_k=9", 2), ("scheme=dedup", 1), ("links.latency=2.5", 1)] {
        experiment.set_as(set, &Few).expect(set);
        assert_eq!(experiment.num_points(), points, "{set}");
    }
    assert_eq!(settings(&experiment, 0).get("links.latency"), Some(&Value::Number(2.5)));
    for (set, said) in
        [("tokens", "give place=value"), ("tokns=3", "did you mean `tokens`?"), ("tokens=x", "`x` is not")]
    {
        let error = experiment.set_as(set, &Few).expect_err(set);
        assert!(error.starts_with(&format!("--set {set}: ")) && error.contains(said), "{error}");
    }
}
