//! Serving runs without files: what they answer, what they remember, and faults with their settings.

mod live;
mod pools;

use super::*;
use crate::experiment::parse_experiment;
use crate::placing::{PlacementChoice, Programs};
use crate::scenario::{Scenario, Studied};
use crate::subjects::{Serving, serve_spec};
use coordinator::pace::Host;
use coordinator::sim::SimRunner;
use moe::placement::{LayerPlacements, PlacementFile};
use node::program::Program;
use serving::cost::{LayerCost, RankTokens};
use std::io::{self, BufRead, Cursor};
use std::sync::Arc;
use std::time::Duration;

/// Two sessions that begin alike, in blocks of 8 tokens.
const TALKS: &str = r#"{"session_id":"a","timestamp":0,"input_length":20,"output_length":2,"hash_ids":[0,1,2]}
{"session_id":"a","delay":5.5,"input_length":6,"output_length":2}
{"session_id":"b","timestamp":1,"input_length":20,"output_length":3,"hash_ids":[0,1,3]}
{"session_id":"a","delay":0,"input_length":4,"output_length":1}
"#;

/// Presets, and two traces.
#[derive(Debug, Default)]
struct Presets;

impl Sources for Presets {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        let mut words = scenario.clone();
        let name = words.placement.as_ref().map(ToString::to_string);
        let layers =
            [("by-layer", 4), ("two-layers", 2)].into_iter().find(|(word, _)| name.as_deref() == Some(word));
        words.placement = words.placement.filter(|_| layers.is_none());
        let mut studied = words.resolve(&Arc::new(Programs::new(Duration::from_secs(1))))?;
        let model = &mut studied.model;
        match model.name.as_str() {
            // Small enough for a reference, all of its layers.
            "lab-moe" => model.hidden = 64,
            // Small enough for steps of many tokens.
            "qwen3-235b-a22b" => model.order.layers = 4,
            _ => {}
        }
        if let Some((word, layers)) = layers {
            let map = |layer: u32| (0..128).map(|slot| (slot + layer) % 128).collect::<Vec<u32>>();
            let maps: Vec<Vec<u32>> = (0..layers).map(map).collect();
            let text = format!("{{\"physical_to_logical_map\": {maps:?}}}");
            studied.placement = PlacementChoice::File(PlacementFile { origin: word.to_owned(), text });
        }
        Ok(studied)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        if name == "talks" {
            return Ok(Box::new(Cursor::new(TALKS)));
        }
        let rows = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,12,3\n0.0,30,2\n\n0.6,1,5\n";
        Ok(Box::new(Cursor::new(rows)))
    }
}

const SMALL: &str = r#"
[serve]
model = "qwen3-30b-a3b"
hardware = "h100"
racks = 1
ranks_per_rack = 8
[arrivals]
kind = "constant"
request_rate = 200.0
num_prompts = 40
input_len = 64
output_len = 8
"#;

fn read(text: &str) -> ServeSpec {
    let (_, experiment) = parse_experiment(text, "test.toml", &[&Serving::<Presets>::default()]).unwrap();
    serve_spec(&experiment.fixed, None).unwrap()
}

fn run(text: &str) -> ServeRecord {
    serve(&read(text), &Presets, &mut |_| ()).unwrap()
}

#[test]
fn a_run_answers_everything_and_repeats_itself() {
    let record = run(SMALL);
    assert_eq!((record.completed, record.failed, record.total_output), (40, 0, 320));
    assert_eq!((record.cost.as_str(), record.clock.as_str()), ("memoised", "simulated"));
    assert_eq!(record.problem, None);
    assert!(record.memo.is_some_and(|memo| memo.steps > 0));
    assert_eq!(run(SMALL), record);
    let json = serde_json::to_value(&record).unwrap();
    for key in ["completed", "failed", "total_input", "request_throughput", "mean_ttft_ms", "p99_itl_ms"] {
        assert!(json[key].is_number(), "{key}");
    }
    assert_eq!(serde_json::from_value::<ServeRecord>(json).unwrap(), record);
}

#[test]
fn remembered_steps_are_near_those_that_are_simulated_in_full() {
    let cost = |cost: &str| run(&SMALL.replace("[arrivals]", &format!("cost = \"{cost}\"\n[arrivals]")));
    let (frames, memoised, analytic) = (cost("frames"), cost("memoised"), cost("analytic"));
    let ratio = |record: &ServeRecord| record.mean_step_ms / frames.mean_step_ms;
    assert!((ratio(&memoised) - 1.0).abs() < MEMO_ERROR_MAX, "{}", ratio(&memoised));
    // Closed forms know no stragglers.
    assert!((0.5..1.0).contains(&ratio(&analytic)), "{}", ratio(&analytic));
}

#[test]
fn faults_name_the_setting() {
    for (change, said) in [
        (
            ("[arrivals]", "placement = \"two-layers\"\n[arrivals]"),
            "serve.placement: two-layers: layer 0: the file has 2 layers, the model 48, of which 48 have experts",
        ),
        (
            ("[arrivals]", "placement = \"linear\"\nslots = 136\n[arrivals]"),
            "serve.placement: 136 slots: linear has 128",
        ),
        (
            ("[arrivals]", "routing = \"drifting:1.2,10\"\n[arrivals]"),
            "serve.routing: drifting:1.2,10: it changes from step to step",
        ),
        (
            ("[arrivals]", "routing = \"zipf:1.2\"\ncost = \"analytic\"\n[arrivals]"),
            "serve.routing: zipf:1.2: closed forms know",
        ),
        (("[arrivals]", "throttle = 0.0\n[arrivals]"), "serve.throttle: 0: give a number"),
        (("[arrivals]", "[parallel]\npp = 0\n[arrivals]"), "parallel.pp: "),
        (("qwen3-30b-a3b", "gpt-9"), "serve.model: "),
        (("request_rate = 200.0", "request_rate = -1.0"), "arrivals: request_rate = -1"),
        (("ranks_per_rack = 8", "ranks_per_rack = 0"), "serve.racks: "),
        (("[arrivals]", "dtype = \"fp4\"\n[arrivals]"), "serve.dtype: "),
        (
            ("[arrivals]", "[scheduler]\nmax_num_seqs = 0\n[arrivals]"),
            "scheduler: max_num_seqs = 0: give 1 to 65536",
        ),
        (("[arrivals]", "[parallel]\noverlap = \"full\"\n[arrivals]"), "parallel.overlap: full: "),
    ] {
        let text = SMALL.replacen(change.0, change.1, 1);
        let error = serve(&read(&text), &Presets, &mut |_| ()).unwrap_err().to_string();
        assert!(error.starts_with(said) && !error.contains('\n'), "{said}: {error}");
    }
}

#[test]
fn popular_experts_stay_popular_from_step_to_step() {
    let mut spec = read(SMALL);
    let tokens = RankTokens::new(vec![64; 8]);
    let mut times = |routing: &str, steps: [u32; 2]| {
        spec.scenario.routing = routing.parse().unwrap();
        spec.serve.cost = CostChoice::Frames;
        let deployment = Deployment::new(&spec, &Presets).unwrap();
        let mut frames = deployment.frames();
        steps.map(|step| frames.layer(5, step, &tokens).unwrap())
    };
    // The experts' time is the popular rank's: another order of popularity would have another.
    let [first, second] = times("zipf:1.2", [0, 9]);
    assert_eq!(first, second);
    let [first, second] = times("drifting:1.2,10", [0, 90]);
    assert_ne!(first, second);
    let [first, second] = times("uniform", [0, 9]);
    assert_ne!(first, second);
}

/// Prompts of 1024 tokens, two on each rank, on four layers: experts have more to compute than to read.
const FULL: &str = r#"
[serve]
model = "qwen3-235b-a22b"
hardware = "h100"
racks = 1
ranks_per_rack = 8
routing = "zipf:1.2"
[arrivals]
kind = "burst"
num_prompts = 16
input_len = 1024
output_len = 2
"#;

#[test]
fn each_layer_is_placed_for_its_own_popular_experts() {
    let mut spec = read(FULL);
    let tokens = RankTokens::new(vec![2048; 8]);
    let mut placed = |routing: &str, placement: &str| {
        spec.scenario.routing = routing.parse().unwrap();
        spec.scenario.placement = Some(placement.parse().unwrap());
        let deployment = Deployment::new(&spec, &Presets).unwrap();
        let frames = deployment.frames();
        (deployment.placements.distinct().len(), deployment.alike_layers().len(), frames)
    };
    let (distinct, kinds, mut linear) = placed("zipf:1.2", "linear");
    assert_eq!((distinct, kinds), (1, 4), "popular experts are a layer's own");
    let (distinct, kinds, mut eplb) = placed("zipf:1.2", "eplb");
    assert_eq!((distinct, kinds), (4, 4));
    // A placement that is made for a layer is worse for another.
    let (_, _, mut mixed) = placed("zipf:1.2", "eplb");
    let next = |layer: u32| Arc::clone(eplb.placements.of((layer + 1) % 4));
    mixed.placements = LayerPlacements::new(0, (0..4).map(next));
    for layer in 0..4 {
        let [linear, own, other] = [&mut linear, &mut eplb, &mut mixed]
            .map(|frames| frames.layer(layer, 0, &tokens).unwrap().experts);
        assert!(own < linear && own < other, "layer {layer}: {own:?} of {linear:?} and {other:?}");
    }
    // Nothing tells layers apart, or only their maps do.
    assert_eq!((placed("uniform", "eplb").0, placed("uniform", "eplb").1), (1, 1));
    assert_eq!((placed("uniform", "by-layer").0, placed("uniform", "by-layer").1), (4, 4));
}

#[test]
fn runs_with_the_same_placement_share_it() {
    let shared = SharedPlacements::default();
    let spec = read(FULL);
    let mut made = 0;
    let mut of = |spec: &ServeSpec| {
        let made_now = || {
            made += 1;
            Err(format!("the {made}th"))
        };
        shared.of(&Presets.resolve(&spec.scenario).unwrap(), made_now).unwrap_err()
    };
    let first = of(&spec);
    let (mut batch, mut other, mut seed) = (spec.clone(), spec.clone(), spec.clone());
    batch.scheduler.max_num_seqs = 7;
    other.scenario.placement = Some("eplb".parse().unwrap());
    seed.scenario.seeds = crate::scenario::Seeds(vec![9]);
    assert_eq!([&batch, &other, &seed].map(of), [first, "the 2th".to_owned(), "the 3th".to_owned()]);
}

#[test]
fn balanced_layers_shorten_steps_with_popular_experts() {
    let step = |placement: &str, cost: &str| {
        let serve = format!("placement = \"{placement}\"\ncost = \"{cost}\"\n[arrivals]");
        run(&FULL.replace("[arrivals]", &serve)).mean_step_ms
    };
    let (linear, eplb) = (step("linear", "memoised"), step("eplb", "memoised"));
    assert!(eplb < 0.9 * linear, "{eplb} of {linear} ms");
    // Layers that are remembered apart add up to steps in full.
    let full = step("eplb", "frames");
    assert!((eplb / full - 1.0).abs() < MEMO_ERROR_MAX, "{eplb} for {full} ms");
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_remedy() {
    let text = SMALL.replace("qwen3-30b-a3b", "deepseek-v3");
    let error = serve(&read(&text), &Presets, &mut |_| ()).unwrap_err().to_string();
    assert!(
        error.starts_with("stage 0: weights (") && error.contains("give more ranks or stages"),
        "{error}"
    );
}
