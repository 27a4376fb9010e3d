//! Every format on small made-up files, what is refused, statistics of placed loads, and drawn loads.

/// The importer of docs/extending.md.
mod expert_log;
/// What people write by hand or by a script of their own.
mod written;

use super::*;
use crate::gate::{GateKind, GateSpec, SoftmaxAfterTopk};
use crate::placement::EplbShape;
use crate::routing::{Router, RoutingSpec, Workload};
use crate::shape::LayerShape;
use proptest::prelude::*;
use topology::{Dtype, RankId};

#[test]
fn a_record_is_read_and_a_wrong_one_named_by_its_layer() {
    let load = parse(r#"{"logical_count": [[1, 2], [3, 4]], "rank": 0}"#).unwrap();
    assert_eq!((load.num_layers(), load.num_experts()), (2, 2));
    assert_eq!(load.layers().collect::<Vec<_>>(), [[1, 2], [3, 4]]);
    let error = |text: &str| parse(text).unwrap_err().to_string();
    assert!(
        error(r#"{"logical_count": [[1, 2], [3]]}"#).contains("layer 1 has 1 experts, the first layer 2")
    );
    assert!(error(r#"{"logical_count": [[]]}"#).contains("layer 0 has 0 experts"));
    assert!(error(r#"{"logical_count": []}"#).contains("0 layers; give one record"));
    assert!(error(r#"{"logical_count": [[5, -1]]}"#).contains("layer 0, expert 1 has -1 tokens"));
}

/// Whichever format has them: an importer hands on what it read.
#[test]
fn counts_that_are_no_record_are_refused_by_name() {
    for (counts, said) in [
        (vec![], "0 layers; give one record"),
        (vec![vec![]], "layer 0 has 0 experts"),
        (vec![vec![1, 2], vec![3]], "layer 1 has 1 experts, the first layer 2"),
        (vec![vec![1; 4097]], "layer 0 has 4097 experts, possible are 1 to 4096"),
        (vec![vec![1]; 4097], "4097 layers"),
        (vec![vec![0, 0], vec![0, 0]], "a record without tokens"),
    ] {
        let error = ExpertLoad::of_counts(counts, "tally.json").unwrap_err().to_string();
        assert!(error.starts_with("tally.json: ") && error.contains(said), "{error}");
    }
    let of_steps = |steps| ExpertLoad::of_steps(steps, "tally.json").map_err(|error| error.to_string());
    assert!(of_steps(vec![]).unwrap_err().contains("0 steps"));
    assert!(of_steps(vec![vec![vec![0]], vec![vec![0]]]).unwrap_err().contains("a record without tokens"));
    // A step without tokens is one, and so is a layer.
    let load = of_steps(vec![vec![vec![0], vec![0]], vec![vec![1], vec![0]]]).unwrap();
    assert_eq!(counts(&load), [[1], [0]]);
}

#[test]
fn the_documentation_has_every_format() {
    let page = include_str!("../../../docs/loads.md");
    for format in read::FORMATS {
        let row = |line: &str| {
            line.starts_with("| ") && format.keys.iter().any(|key| line.contains(&format!("\"{key}\":")))
        };
        assert!(page.lines().any(row), "docs/loads.md should have a row that shows {}", format.words);
    }
}

/// The README example of EPLB: loads of its 8 GPUs in both layers, derived from its published maps.
#[test]
fn loads_of_the_published_placement() {
    let cluster = Cluster::new(&[4, 4]).unwrap();
    let shape = EplbShape { num_slots: 16, num_groups: 4 };
    let layers: [([u64; 12], [f64; 8], f64); 2] = [
        (
            [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
            [121.5, 86.5, 125.0, 113.0, 147.5, 131.5, 156.0, 152.0],
            1.2081,
        ),
        (
            [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
            [173.0, 179.5, 120.5, 172.0, 123.0, 152.0, 118.5, 117.5],
            1.2422,
        ),
    ];
    for (load, expected, max_over_mean) in layers {
        let weights = load.map(|count| count as f32);
        let placement = Placement::eplb(&cluster, &weights, shape).unwrap();
        let loads = rank_load(&cluster, &placement, &load);
        assert_eq!(loads, expected);
        assert!((1.0 / balancedness(&loads) - max_over_mean).abs() < 5e-5);
    }
    assert_eq!(balancedness(&[0.0, 0.0]), 1.0);
}

const SGLANG_STEPS: &str = r#"{"rank": 0,
  "logical_count": [[[1, 2], [3, 4]],
                    [[10, 0], [0, 10]]]}"#;
const MEGATRON: &str = r#"{"step":4,"stage":"post_dispatch","block":"decoder","layer":3,"rank":0,"num_tokens":1,"topk":2,"top_indices":[[5,4]]}
{"step":4,"stage":"pre_dispatch","block":"decoder","layer":3,"rank":0,"num_tokens":2,"topk":2,"top_indices":[[0,2],[1,-1]]}
{"step":4,"stage":"post_dispatch","block":"decoder","layer":3,"rank":1,"num_tokens":1,"topk":2,"top_indices":[[5,4]]}

{"step":4,"stage":"pre_dispatch","block":"decoder","layer":7,"rank":1,"num_tokens":1,"topk":2,"top_indices":[[3,2]]}
{"step":5,"stage":"pre_dispatch","block":"decoder","layer":3,"rank":1,"num_tokens":1,"topk":2,"top_indices":[[2,0]]}"#;
const MOE_BALANCE: &str = r#"{"layer": 0, "batch_id": 12, "origin_rows": [0, 3], "topk_experts": [[1, 2], [0, 2]], "topk_weights": [[0.75, 0.25], [0.5, 0.5]]}
{"layer": 1, "batch_id": 12, "origin_rows": [0, 3], "topk_experts": [[3, 2], [3, 1]], "topk_weights": [[0.75, 0.25], [0.5, 0.5]]}"#;
const VLLM: &str = r#"{"request_id": "a", "routed_experts": [[[0, 1], [2, 3]], [[1, 0], [3, 1]]]}
{"request_id": "b", "routed_experts": [[[3, 1], [0, 1]]]}"#;
const SIMLLM: &str = r#"{"provenance":{"expert_count":8,"top_k":2},"row_type":"header","schema":"simllm-preplay-trace-v1"}
{"phase":"prefill","routing":[{"expert_ids":[3,1],"gate_weights":[0.75,0.25],"layer_index":0},{"expert_ids":[0,5],"layer_index":2}]}
{"phase":"decode","routing":[{"expert_ids":[2,1],"gate_weights":[0.5,0.5],"layer_index":0},{"expert_ids":[5,0],"layer_index":2}]}"#;

fn parse(text: impl AsRef<[u8]>) -> Result<ExpertLoad, LoadError> {
    parse_loads(text.as_ref(), "made-up")
}

fn counts(load: &ExpertLoad) -> Vec<&[u64]> {
    load.layers().collect()
}

#[test]
fn sglang_steps_are_summed_and_windowed() {
    let load = parse(SGLANG_STEPS).unwrap();
    assert_eq!(counts(&load), [[11, 2], [3, 14]]);
    assert_eq!(load.steps(), [0, 1]);
    let window = load.window(1..9).unwrap();
    assert_eq!((counts(&window), window.steps()), (vec![&[10, 0][..], &[0, 10]], vec![1]));
    assert!(load.window(2..9).is_none() && load.picks(0).is_none() && load.coactivation(0).is_none());
    let one_line = parse(r#"{"logical_count": [[1, 2]]}"#).unwrap();
    assert!(one_line.steps().is_empty() && one_line.window(0..9).is_none());
}

#[test]
fn megatron_counts_what_the_gate_picked() {
    let load = parse(MEGATRON).unwrap();
    assert_eq!(counts(&load), [[2, 1, 2, 0], [0, 0, 1, 1]]);
    assert_eq!((load.layer_ids(), load.steps()), (&[3, 7][..], vec![4, 5]));
    let picks = load.picks(0).unwrap();
    assert_eq!(picks.rows().collect::<Vec<_>>(), [&[0, 2][..], &[1], &[2, 0]]);
    assert_eq!(
        (picks.rank(1), picks.rank(2), picks.step(2), picks.weights(0)),
        (Some(0), Some(1), Some(5), None)
    );
    assert_eq!(load.coactivation(0).unwrap().pairs().collect::<Vec<_>>(), [(0, 2, 2)]);
    let window = load.window(5..6).unwrap();
    assert_eq!((counts(&window), window.layer_ids()), (vec![&[1, 0, 1, 0][..], &[0; 4]], &[3, 7][..]));
    // One stage alone counts, whichever it is; layers of another block are others.
    let one = MEGATRON.lines().next().unwrap();
    assert_eq!(counts(&parse(one).unwrap()), [[0, 0, 0, 0, 1, 1]]);
    let blocks = format!("{one}\n{}", one.replace("decoder", "mtp"));
    assert_eq!(parse(blocks).unwrap().layer_ids(), [3, 3]);
}

#[test]
fn moe_balance_vllm_and_simllm_keep_layers_apart() {
    let load = parse(MOE_BALANCE).unwrap();
    assert_eq!(counts(&load), [[1, 1, 2, 0], [0, 1, 1, 2]]);
    let picks = load.picks(0).unwrap();
    assert_eq!(
        (picks.rank(1), picks.step(1), picks.weights(0)),
        (Some(3), Some(12), Some(&[0.75, 0.25][..]))
    );
    let load = parse(VLLM).unwrap();
    assert_eq!(counts(&load), [[2, 3, 0, 1], [1, 2, 1, 2]]);
    assert_eq!(load.coactivation(0).unwrap().together(1, 0), 2);
    let pretty = "{\n\"routed_experts\": [[[0, 1]],\n[[1, 2]]]}";
    assert_eq!(counts(&parse(pretty).unwrap()), [[1, 2, 1]]);
    let load = parse(SIMLLM).unwrap();
    assert_eq!(counts(&load), [[0, 2, 1, 1, 0, 0, 0, 0], [2, 0, 0, 0, 0, 2, 0, 0]]);
    assert_eq!((load.layer_ids(), load.picks(1).unwrap().weights(0)), (&[0, 2][..], Some(&[0.5, 0.5][..])));
}

fn npy(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(body);
    file
}

#[test]
fn arrays_of_every_width_are_read() {
    let values = [0_i64, 1, 2, -1, 1, 0, 2, 3];
    let narrow: Vec<u8> = values.iter().flat_map(|&value| (value as i16).to_le_bytes()).collect();
    let wide: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let load = parse(npy("<i2", "(2, 2, 2)", &narrow)).unwrap();
    assert_eq!(counts(&load), [[2, 2, 0, 0], [0, 0, 2, 1]]);
    assert_eq!(load, parse(npy("<i8", "(2, 2, 2)", &wide)).unwrap());
    for (file, said) in [
        (npy("<u2", "(2, 2, 2)", &narrow), "elements of type <u2"),
        (npy("<f4", "(2, 2, 1)", &narrow), "picks of type <f4"),
        (npy("<i2", "(8,)", &narrow), "it has 1 dimensions"),
        (npy("<i2", "(4, 2)", &narrow), "layer 1, expert 1 has -1 tokens"),
        (npy("<i2", "(2, 2, 3)", &narrow), "ends before its array"),
        (npy("<i2", "(1, 2, 2)", &narrow), "goes on after"),
        (npy("<i2", "(9223372036854775807, 2, 2)", &narrow), "is empty or of more than"),
        (npy("<i2", "(2, 2, 2)", &[1; 16]), "token 0, layer 0: expert 257 twice"),
    ] {
        let error = parse(file).unwrap_err().to_string();
        assert!(error.starts_with("made-up: ") && error.contains(said), "{error}");
    }
}

#[test]
fn wrong_lines_are_named() {
    let after = |good: &str, bad: &str| {
        let good = good.lines().next().unwrap_or_default().replace("post", "pre");
        parse(format!("\n{good}\n{bad}")).unwrap_err().to_string()
    };
    let megatron = |topk, indices: &str| {
        format!(
            r#"{{"step":4,"stage":"pre_dispatch","layer":3,"block":"decoder","rank":0,"num_tokens":1,"topk":{topk},"top_indices":{indices}}}"#
        )
    };
    for (good, bad, said) in [
        (MEGATRON, "{".to_owned(), "expected {\"step\""),
        (MEGATRON, megatron(2, "[[0,1],[1,2]]"), "2 lists of experts for num_tokens = 1"),
        (MEGATRON, megatron(3, "[[0,1]]"), "2 experts for topk = 3"),
        (MEGATRON, megatron(3, "[[0,1,2]]"), "3 experts a token, 2 before"),
        (MEGATRON, megatron(2, "[[1,1]]"), "expert 1 twice"),
        (MEGATRON, megatron(2, "[[1,-2]]"), "expert -2"),
        (MEGATRON, megatron(2, "[[1,4096]]"), "ids below 4096"),
        (
            MOE_BALANCE,
            r#"{"layer":0,"batch_id":1,"topk_experts":[[1,2]]}"#.to_owned(),
            "a row without weights",
        ),
        (
            MOE_BALANCE,
            r#"{"layer":0,"batch_id":1,"origin_rows":[1],"topk_experts":[]}"#.to_owned(),
            "1 origin_rows for 0",
        ),
        (VLLM, r#"{"routed_experts":[[[1,2],[1,2]],[[1,2]]]}"#.to_owned(), "token 1 has 1 layers"),
        (VLLM, r#"{"routed_experts":[[[],[]]]}"#.to_owned(), "0 experts a token"),
    ] {
        let error = after(good, &bad);
        assert!(error.starts_with("made-up:3: ") && error.contains(said), "{error}");
    }
    let error = after(SIMLLM, "{").to_string();
    assert!(error.starts_with("made-up:3: "), "{error}");
    let stages = MEGATRON.lines().next().unwrap();
    let error = parse(format!("{stages}\n{}", stages.replace("post", "other"))).unwrap_err().to_string();
    assert!(error.starts_with("made-up:2: stage 'other_dispatch' besides 'post_dispatch'"), "{error}");
}

#[test]
fn what_is_no_format_is_told_which_there_are() {
    for (text, said) in [
        (&b""[..], "nothing in it"),
        (b"{\"tokens\": 3}", "without the key"),
        (b"{\n\"tokens\": 3}", "one JSON document that is of no format"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("Megatron"), "{error}");
        assert!(error.lines().count() == 1 && error.len() < 200, "{error}");
    }
    for (text, said) in [
        (&b"{\n"[..], "not JSON"),
        (b"PK\x03\x04....", "torch.save; only JSON is read"),
        (
            br#"{"rank": 0, "logical_count": [[1, 2], [3, NaN]]}"#,
            "layer 1, expert 1 of `logical_count` is NaN",
        ),
        (
            b"{\n\"logical_count\": [[[1, 2]],\n[[-Infinity, 3]]]}",
            "step 1, layer 0, expert 0 of `logical_count` is -Infinity",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said) && error.lines().count() == 1 && error.len() < 120, "{error}");
    }
    let error = read_loads(std::path::Path::new("none.json")).unwrap_err().to_string();
    assert!(error.starts_with("none.json: cannot be read"), "{error}");
    let ragged = r#"{"logical_count": [[[1, 2]], [[1]]]}"#;
    assert!(
        parse(ragged).unwrap_err().to_string().contains("step 1 has 1 layers of 1 experts, the first 1 of 2")
    );
}

fn shape() -> LayerShape {
    LayerShape {
        hidden: 16,
        num_experts: 16,
        top_k: 3,
        expert_inter: 16,
        gate: GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk)),
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn counts_are_those_of_the_picks_and_windows_add_up(
        spec in prop_oneof![
            Just(RoutingSpec::Gate),
            Just(RoutingSpec::PowerLaw { alpha: 1.2 }),
            Just(RoutingSpec::Drifting { exponent: 1.0, period: 3 }),
            prop::sample::select(Workload::ALL.to_vec())
                .prop_map(|workload| RoutingSpec::Workload { workload, ranks: 4 }),
        ],
        seed: u64,
        tokens in 1_u32..12,
    ) {
        let sampling =
            Sampling { shape: &shape(), spec: &spec, seed, layers: 2, steps: 3..7, ranks: 4, tokens };
        let load = ExpertLoad::sampled(&sampling).unwrap();
        prop_assert_eq!(load.steps(), vec![3, 4, 5, 6]);
        let (early, late) = (load.window(3..5).unwrap(), load.window(5..7).unwrap());
        for (layer, counts) in load.layers().enumerate() {
            let picks = load.picks(layer).unwrap();
            prop_assert_eq!(counts.iter().sum::<u64>(), 3 * picks.len() as u64);
            for (expert, &count) in (0..).zip(counts) {
                let picked = picks.rows().filter(|experts| experts.contains(&expert)).count();
                prop_assert_eq!(count, picked as u64);
                let at = expert as usize;
                prop_assert_eq!(count, early.logical_count[layer][at] + late.logical_count[layer][at]);
            }
            // Three picks are three pairs.
            let pairs: u32 = load.coactivation(layer).unwrap().pairs().map(|(_, _, rows)| rows).sum();
            prop_assert_eq!(pairs as usize, 3 * picks.len());
            // As a run of the same seed, step and rank.
            let router = Router::new(&shape(), &spec, None, seed, layer as u32).unwrap();
            let row = picks.len() - 1;
            let (step, rank) = (picks.step(row).unwrap() as u32, picks.rank(row).unwrap());
            let of_rank = spec.tokens(4, tokens, seed, step)[rank as usize];
            let routing = router.route(step, RankId(rank), of_rank);
            prop_assert_eq!(picks.experts(row), routing.token(of_rank - 1).0);
        }
    }
}

/// The page shows the file as it is compiled here.
#[test]
fn the_importer_of_the_page_on_extending_reads_its_format() {
    let page = include_str!("../../../docs/extending.md");
    assert!(
        page.contains(include_str!("tests/expert_log.rs")),
        "docs/extending.md has another expert_log.rs"
    );
    let parse = |text: &str| read::parse_as(&[expert_log::FORMAT], text.as_bytes(), "picks.jsonl");
    let loads = parse("{\"layer\": 3, \"picked\": [0, 2]}\n{\"layer\": 3, \"picked\": [2, 1]}\n").unwrap();
    assert_eq!(loads.layers().collect::<Vec<_>>(), [[1, 1, 2]]);
    let error = parse("{\"layer\": 3, \"picked\": [0, 2]}\n{\"layer\": 3}\n").unwrap_err().to_string();
    assert!(error.starts_with("picks.jsonl:2: missing field `picked`"), "{error}");
}
