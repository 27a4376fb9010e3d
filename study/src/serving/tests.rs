//! Serving runs without files: faults with their settings, and ranks that compute what they should.

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

const LAB: &str = r#"
[serve]
model = "lab-moe"
hardware = "lab"
racks = 2
ranks_per_rack = 2
routing = "gate"
scheme = "flat"
[scheduler]
max_num_seqs = 2
max_num_batched_tokens = 8
[arrivals]
kind = "trace"
file = "any"
"#;

/// What a lab run on the simulator's ranks yields.
async fn live(text: &str) -> (ServeRecord, TokenDigests) {
    let spec = read(text);
    let live = Live::new(&spec, &Presets, Host::this(true), 0).unwrap();
    live.serve(&mut SimRunner::default(), &Presets, "simulated", &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn ranks_that_compute_answer_the_same_tokens_however_they_are_spread() {
    let (one, tokens) = live(LAB).await;
    assert_eq!((one.completed, one.total_input, one.total_output), (3, 43, 10));
    // Every token of every prompt, and of every answer but the last, is computed once. (Flat: a hierarchical combine rounds a rack's
    // sum, so that its bits depend on where a sequence sits.)
    assert_eq!(tokens.len(), 43 + 10 - 3);
    assert_eq!((one.over_sim, one.problem), (Some(1.0), None));
    for spread in ["pp = 2", "pp = 2\nmicro_batches = 1", "pp = 4"] {
        let (_, others) =
            live(&LAB.replace("[scheduler]", &format!("[parallel]\n{spread}\n[scheduler]"))).await;
        assert_eq!(others, tokens, "{spread}");
    }
    let (_, fewer) = live(&LAB.replace("max_num_seqs = 2", "max_num_seqs = 1")).await;
    assert_eq!(fewer, tokens);
}

#[tokio::test]
async fn halves_and_caches_from_elsewhere_change_no_token() {
    let (_, tokens) = live(LAB).await;
    for (more, note) in [
        ("[parallel]\noverlap = \"two_batch\"\n[scheduler]", None),
        ("[parallel]\noverlap = \"two_batch\"\npp = 2\n[scheduler]", None),
        ("prefill = \"elsewhere\"\n[scheduler]", Some("40 tokens of caches from elsewhere")),
        ("prefill = \"elsewhere\"\n[parallel]\noverlap = \"two_batch\"\n[scheduler]", Some("40 tokens")),
    ] {
        let (record, others) = live(&LAB.replace("[scheduler]", more)).await;
        assert_eq!(others, tokens, "{more}");
        assert_eq!((record.over_sim, record.problem), (Some(1.0), None));
        let noted = record.notes.iter().any(|said| note.is_some_and(|note| said.starts_with(note)));
        assert_eq!(noted, note.is_some(), "{:?}", record.notes);
    }
    // Which replica serves a token depends on what its rank has in hand, which is half a batch.
    for scheme in ["dedup", "hierarchical"] {
        let placed = LAB.replace("\"gate\"", "\"zipf:1.2\"\nplacement = \"eplb\"\nslots = 32");
        let placed = placed.replace("\"flat\"", &format!("\"{scheme}\""));
        let halves = placed.replace("[scheduler]", "[parallel]\noverlap = \"two_batch\"\n[scheduler]");
        assert_eq!(live(&halves).await.0.problem, None, "{scheme}");
    }
    // What a tier hands over is right too: three askers share their prompts' beginnings.
    let shared = LAB.replace("kind = \"trace\"\nfile = \"any\"", "kind = \"closed\"\nusers = 1\nnum_prompts = 6\ninput_len = 8\noutput_len = 2\nprefixes = { num_prefixes = 2, prefix_len = 32, block_tokens = 8 }");
    let (_, computed) = live(&shared).await;
    let (record, found) = live(&shared.replace(
        "[scheduler]",
        "[cache]\nblock_tokens = 8\nhbm_share = 0.1\ntiers = [{ preset = \"hbm\" }]\n[scheduler]",
    ))
    .await;
    assert!(record.cache.is_some_and(|cache| cache.hit_tokens > 0));
    assert!(record.notes.iter().any(|note| note.contains("off the clock")), "{:?}", record.notes);
    assert_eq!(found, computed);
}

#[tokio::test]
async fn turns_of_a_session_wait_for_its_answers_on_every_clock() {
    let talks = LAB.replace("\"any\"", "\"talks\"\nblock_tokens = 8");
    let untiered = "prompts share beginnings (7 of 15 blocks were seen before), and no tier holds them: give cache.tiers";
    let tiers = "[cache]\nblock_tokens = 8\nhbm_share = 0.1\ntiers = [{ preset = \"hbm\" }]\n[scheduler]";
    for more in ["[scheduler]", "[parallel]\nlockstep = true\n[scheduler]"] {
        let text = talks.replace("\"gate\"", "\"uniform\"\ncost = \"frames\"").replace("[scheduler]", more);
        let record = serve(&read(&text), &Presets, &mut |_| ()).unwrap();
        assert_eq!((record.completed, record.total_input, record.total_output), (4, 20 + 28 + 34 + 20, 8));
        assert!(record.notes.iter().any(|note| note == untiered), "{:?}", record.notes);
        // The delay at least.
        assert!(record.duration > 0.0055, "{}", record.duration);
        assert_eq!(record, serve(&read(&text), &Presets, &mut |_| ()).unwrap());
        let tiered = serve(&read(&text.replace("[scheduler]", tiers)), &Presets, &mut |_| ()).unwrap();
        assert!(tiered.cache.is_some_and(|cache| cache.hit_tokens >= 16 + 24));
        assert!(!tiered.notes.iter().any(|note| note.contains("no tier")), "{:?}", tiered.notes);
        let none = text.replace("[scheduler]", &tiers.replace("[cache]", "[cache]\npolicy = \"none\""));
        let notes = serve(&read(&none), &Presets, &mut |_| ()).unwrap().notes;
        assert!(
            notes.iter().any(|note| note.contains("none was found: the policy uses no tier")),
            "{notes:?}"
        );
    }
    let (record, computed) = live(&talks).await;
    assert_eq!((record.completed, record.total_input, record.problem), (4, 102, None));
    let (_, found) = live(&talks.replace("[scheduler]", tiers)).await;
    assert_eq!(found, computed);
}

/// What ranks take, and what the virtual clock says of the same requests, to the 10% that docs/trust.md allows: the virtual clock adds a
/// tick up from its slowest stage and its slowest hop, ranks measure both.
#[tokio::test]
async fn the_virtual_clock_says_what_ranks_take() {
    let lab = LAB.replace("\"gate\"", "\"uniform\"\ncost = \"frames\"");
    // Prompts whose rows take longer to hop than links take to answer.
    let long = lab.replace("max_num_batched_tokens = 8", "max_num_batched_tokens = 512").replace(
        "kind = \"trace\"\nfile = \"any\"",
        "kind = \"closed\"\nusers = 6\nnum_prompts = 8\ninput_len = 384\noutput_len = 2",
    );
    let spreads = ["", "pp = 2", "pp = 4", "overlap = \"two_batch\"", "overlap = \"two_batch\"\npp = 2"];
    for (lab, more) in [&lab, &long].into_iter().flat_map(|lab| spreads.map(|more| (lab, more))) {
        let text = lab.replace("[scheduler]", &format!("[parallel]\nlockstep = true\n{more}\n[scheduler]"));
        let computed = serve(&read(&text), &Presets, &mut |_| ()).unwrap();
        let (ranks, _) = live(&text).await;
        assert_eq!(ranks.steps, computed.steps, "{more}");
        let off = ranks.duration / computed.duration - 1.0;
        assert!(off.abs() < 0.10, "{more}: {off:+.3}");
    }
}

#[tokio::test]
async fn ranks_that_compute_have_a_placement_of_each_layer() {
    let lab = LAB.replace("\"gate\"", "\"zipf:1.2\"");
    let (_, linear) = live(&lab).await;
    for (spread, slots) in [("", 20), ("[parallel]\npp = 2\n", 18)] {
        let serve = format!("placement = \"eplb\"\nslots = {slots}\n{spread}[scheduler]");
        let text = lab.replace("[scheduler]", &serve);
        let spec = read(&text);
        let request = Live::new(&spec, &Presets, Host::this(true), 0).unwrap().request().clone();
        let Program::Stack(model) = &request.setup.program else { panic!("a whole model") };
        assert!(model.placements.distinct().len() > 1, "{spread}");
        // Every token is as the reference has it, and wherever an expert is, it says the same.
        assert_eq!(live(&text).await.1, linear, "{spread}");
    }
}

#[test]
fn what_ranks_that_compute_can_not_have_is_refused() {
    for (more, said) in [
        ("prefill = \"elsewhere\"\n[parallel]\npp = 2\n[scheduler]", "serve.prefill: "),
        ("[parallel]\npp = 2\n[cache]\nhbm_share = 0.2\n[scheduler]", "cache: "),
        ("[parallel]\nhop_us = 1.0\n[scheduler]", "parallel.hop_us: "),
        ("[parallel]\noverlap = \"full\"\n[scheduler]", "parallel.overlap: "),
    ] {
        let spec = read(&LAB.replace("[scheduler]", more));
        let error = Live::new(&spec, &Presets, Host::this(true), 0).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}
