//! Every claim against what is known of it: computed values to the digits given, verdicts, and what the board refuses.

use super::*;
use std::collections::BTreeSet;

/// A claim, its verdict with the lecture's inputs, and computed values by label; a value reads as its text at the text's digits.
type Known = (&'static str, Verdict, &'static [(&'static str, &'static str)]);

const GOLDEN: &[Known] = {
    use Verdict::{
        Assumption as ASSUME, Contradicts as WRONG, OrderOfMagnitude as ORDER, Reproduces as OK,
        WrongInput as INPUT,
    };
    &[
        ("A1", OK, &[("step, max", "2.1")]),
        (
            "A2",
            OK,
            &[
                ("c at the small share", "2400"),
                ("c(1), K = 0", "1"),
                ("c(1), K = 0.5", "1.5"),
                ("c(1), K = 1", "2"),
                ("floor", "1"),
            ],
        ),
        (
            "A3",
            OK,
            &[
                ("t_w", "1.31"),
                ("8 H100 (does not fit: 671 of 640 GB)", "25.0"),
                ("8 H200", "17.5"),
                ("72 GB200", "1.16"),
            ],
        ),
        (
            "A4",
            ORDER,
            &[
                ("ratio", "2400"),
                ("a dense model at rho 300", "300"),
                ("DeepSeek-V3 at rho 300", "5441"),
                ("S = 8, K = 2.4", "1001"),
            ],
        ),
        (
            "A5",
            OK,
            &[
                ("rho", "295"),
                ("a100-sxm bf16", "153"),
                ("h100-sxm bf16", "295"),
                ("h200-sxm bf16", "206"),
                ("hgx-b200 bf16", "292"),
                ("gb200-nvl72 fp8", "312"),
                ("gb300-nvl72 fp8", "312"),
                ("vera-rubin-nvl72 bf16", "182"),
                ("vera-rubin-nvl72 fp8", "398"),
                ("tpu-v5e bf16", "240.5"),
                ("tpu-v5p bf16", "166"),
                ("tpu-v6e bf16", "560"),
                ("tpu7x bf16", "313"),
                ("mi300x bf16", "247"),
                ("mi355x bf16", "315"),
            ],
        ),
        ("A6", OK, &[("B*", "2400")]),
        (
            "A7",
            INPUT,
            &[
                ("by parameters", "18.1"),
                ("by experts", "32"),
                ("by experts, the shared one counted", "28.6"),
                ("B* by parameters", "5441"),
                ("B* by experts", "9600"),
                ("B* with the shared one", "8567"),
            ],
        ),
        (
            "A8",
            OK,
            &[
                ("in flight over B*", "2.37"),
                ("sequences a GPU", "88"),
                ("sequences in flight", "12686"),
                ("B*", "5357"),
            ],
        ),
        ("A9", OK, &[("K = 0.25", "3200"), ("K = 0.5", "4800"), ("K = 0.75", "9600")]),
        (
            "A10",
            ORDER,
            &[
                ("a100-sxm", "39.2"),
                ("h100-sxm", "23.9"),
                ("h200-sxm", "29.4"),
                ("gb200-nvl72", "23.3"),
                ("gb300-nvl72", "36"),
                ("vera-rubin-nvl72", "13.1"),
                ("tpu-v5e", "19.5"),
                ("tpu-v5p", "36.9"),
                ("tpu-v6e", "21"),
                ("tpu7x", "27.9"),
                ("mi300x", "36"),
                ("mi355x", "36"),
            ],
        ),
        ("A11", OK, &[("drain time", "14.4"), ("at the 22 TB/s that ship", "13.1")]),
        ("A12", OK, &[("worst", "40"), ("mean", "30")]),
        ("A13", OK, &[("tokens a second", "128000"), ("every 15 ms", "133333"), ("every 20 ms", "100000")]),
        ("A14", OK, &[("share", "0.0013"), ("share of twice as many", "0.0006")]),
        ("A15", OK, &[("B* of a model ten times as large over B*", "1")]),
        ("A16", OK, &[("MFU", "0.5")]),
        (
            "A17",
            OK,
            &[
                ("price ratio at that speed", "6.00"),
                ("batches differ by", "15"),
                ("normal u", "2.5"),
                ("fast u", "0.167"),
                ("normal batch", "6000"),
                ("fast batch", "400"),
            ],
        ),
        ("A18", OK, &[("largest speed-up", "2.5"), ("at the normal batch of A17, K = 1", "2.8")]),
        (
            "A19",
            OK,
            &[
                ("u = 2.5, K = 0", "0"),
                ("u = 2.5, K = 0.5", "0"),
                ("u = 2.5, K = 1", "0.29"),
                ("u = 2.5, K = 2", "0.17"),
                ("u = 1, K = 0", "0"),
                ("u = 1, K = 0.5", "0.33"),
                ("u = 1, K = 1", "0.50"),
                ("u = 1, K = 2", "0.33"),
            ],
        ),
        ("A20", ASSUME, &[("floor of a million tokens", "0.0082"), ("100B active on H100, FP8", "0.056")]),
        ("A21", ORDER, &[("ratio", "3.51")]),
        ("A22", OK, &[("cost with twice the sparsity and batch over cost", "1")]),
        ("B1", OK, &[("experts a GPU", "4"), ("on 72", "3.56"), ("fullest of 72 over the mean", "1.125")]),
        ("B2", OK, &[("hops", "2")]),
        (
            "B3",
            ORDER,
            &[
                ("h100-sxm", "9"),
                ("h800-sxm", "4"),
                ("gb200-nvl72", "18"),
                ("gb300-nvl72", "9"),
                ("vera-rubin-nvl72", "9"),
                ("mi300x", "9"),
                ("mi355x", "10.8"),
                ("tpu-v5p", "96"),
                ("tpu-v6e", "32"),
                ("tpu7x", "48"),
            ],
        ),
        (
            "B4",
            OK,
            &[
                ("share of flat copies", "0.5"),
                ("share of tokens, k = 1", "0.5"),
                ("share of tokens, k = 2", "0.751"),
                ("share of tokens, k = 4", "0.939"),
                ("share of tokens, k = 8", "0.9965"),
                ("share of tokens, k = 32", "1.0"),
            ],
        ),
        (
            "B5",
            OK,
            &[
                ("flat, same tokens a GPU", "4.06"),
                ("flat, same global batch", "2.03"),
                ("flat, fabrics in turn", "4.56"),
                ("hierarchical", "1.05"),
                ("dedup by GPU", "4.16"),
            ],
        ),
        (
            "B6",
            OK,
            &[
                ("batch where a2a overtakes, one rack", "7490"),
                ("two racks, flat", "1843"),
                ("two racks, hierarchical", "7399"),
                ("a2a over weight load, two racks flat", "1.30"),
            ],
        ),
        ("B7", OK, &[("by dies", "4.0"), ("by packages, 144 of 72", "2.0"), ("from 8 to 72", "9")]),
        ("B8", OK, &[("a rack", "13.4"), ("8 H100", "0.64"), ("72 of 288 GB", "20.7")]),
        ("B9", OK, &[("in FP4", "2.5"), ("in FP8", "5.0")]),
        ("B10", ORDER, &[("bandwidth of a GPU", "2.39"), ("product", "21.5")]),
        ("B11", OK, &[("share", "0.03125")]),
        ("B12", ASSUME, &[("TPU v5p pod", "8960"), ("TPU7x pod", "9216")]),
        (
            "C1",
            OK,
            &[
                ("beta 8, k = 8", "2"),
                ("beta 8, k = 9", "2.25"),
                ("beta 8, k = 16", "4"),
                ("beta 8, k = 32", "8"),
                ("beta 8, k = 8, by bytes", "1.5"),
                ("beta 8, k = 9, by bytes", "1.69"),
                ("beta 8, k = 16, by bytes", "3"),
                ("beta 8, k = 32, by bytes", "6"),
                ("beta 18, k = 8", "0.89"),
            ],
        ),
        ("C2", OK, &[("idle", "0.75")]),
        ("C3", OK, &[("least micro-batches without idling", "4")]),
        (
            "C4",
            OK,
            &[
                ("cache a GPU over that of one stage", "1"),
                ("cache a GPU", "6.57"),
                ("weights a GPU", "2.62"),
            ],
        ),
        ("C5", OK, &[("1 stage", "1.009"), ("8 stages", "1.075"), ("latency", "2.212")]),
        (
            "C6",
            ASSUME,
            &[
                ("latency as stated", "30"),
                ("RoCE, 5.6 us and the transfer", "20.07"),
                ("transfer of 2400 rows, 50 GB/s", "10.8"),
            ],
        ),
        ("C7", OK, &[("size", "1"), ("rack", "13.4")]),
        (
            "C8",
            OK,
            &[
                ("idle", "0.273"),
                ("32 micro-batches", "0.086"),
                ("interleaved in two", "0.158"),
                ("interleaved in two, 32", "0.045"),
            ],
        ),
        ("D1", OK, &[]),
        (
            "D2",
            OK,
            &[("gamma", "1.11"), ("alpha, forward only", "1.11"), ("alpha, forward and backward", "3.33")],
        ),
        ("D3", OK, &[("D_rl over D_pt", "0.67")]),
        ("D4", OK, &[("tokens", "2.63e15")]),
        ("D5", ORDER, &[("tokens", "2.63e14"), ("60 days", "2.59e14")]),
        ("D6", OK, &[("optimum", "2e12")]),
        (
            "D7",
            ORDER,
            &[
                ("factor by the pre-training stated", "100"),
                ("factor by what is served", "131"),
                ("150T", "75"),
            ],
        ),
        (
            "D8",
            ORDER,
            &[
                ("D_pt", "2.92e14"),
                ("eta = 1", "8.8e13"),
                ("eta = 0.5", "1.75e14"),
                ("eta that gives 150T", "0.58"),
            ],
        ),
        ("D9", ASSUME, &[("serving's share, half over a third", "1.5")]),
        ("D10", OK, &[("falling over rising cost at the minimum", "1")]),
        ("E1", ASSUME, &[]),
        (
            "E2",
            OK,
            &[
                ("rho 300", "1667"),
                ("H100, FP8", "1693"),
                ("GB200, FP8", "1600"),
                ("TPU7x, FP8", "1599"),
                ("H100, BF16", "3386"),
                ("GB200, FP4", "800"),
            ],
        ),
        ("E3", OK, &[("kappa", "2048")]),
        (
            "E3b",
            OK,
            &[
                ("kappa", "70272"),
                ("L* on GB200, FP8", "1685"),
                ("L* on H100, FP8", "1783"),
                ("attention's arithmetic a byte of cache", "242"),
            ],
        ),
        (
            "E4",
            ASSUME,
            &[("context that it covers", "300000"), ("price at a million over that below the step", "5")],
        ),
        ("E5", OK, &[("decode MFU at 3", "0.33"), ("decode MFU at 5", "0.20")]),
        ("E5b", WRONG, &[("u that E5 needs while E1 holds", "0.25")]),
        (
            "E6",
            OK,
            &[
                ("hit over input", "0.1"),
                ("5 minutes over input", "1.25"),
                ("1 hour over input", "2.0"),
                ("fixed, a million tokens", "5.91"),
                ("an hour, a million tokens", "4.09"),
            ],
        ),
        (
            "E7",
            OK,
            &[
                ("HBM", "0.023"),
                ("LPDDR of a Grace", "0.94"),
                ("LPDDR of a Vera", "1.25"),
                ("DDR5 of a socket", "3.3"),
                ("NVMe TLC", "549"),
                ("NVMe QLC", "4389"),
                ("hard disk", "109091"),
            ],
        ),
        ("E8", OK, &[("break-even", "3633"), ("DeepSeek-V3 on H800, FP8", "42.6")]),
        ("E9", WRONG, &[("a million tokens at full utilisation", "0.033"), ("at 40%", "0.083")]),
        (
            "E10",
            OK,
            &[
                ("L_q", "3.05e6"),
                ("6 global layers", "509e3"),
                ("all 61", "50e3"),
                ("Llama-70B, 80 layers of 8192", "53e3"),
            ],
        ),
        ("E11", OK, &[("cost a token, dense", "500"), ("cost a token, sparse", "22")]),
        ("F1", OK, &[("of 64 blocks, those that don't come back", "0")]),
        (
            "F2",
            OK,
            &[
                ("arithmetic over storing all", "1.33"),
                ("memory, store all", "61"),
                ("memory, sqrt(L) checkpoints", "15.6"),
            ],
        ),
        ("F3", OK, &[("holding pays for", "3633")]),
    ]
};

/// Whether `value` rounds to `text` at its last digit.
fn reads(value: f64, text: &str) -> bool {
    let stated: f64 = text.parse().expect("a number");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
    let half = 0.5 * 10f64.powi(exponent.parse::<i32>().expect("an exponent") - decimals);
    (value - stated).abs() <= half * (1.0 + 1e-9) + 1e-12
}

#[track_caller]
fn check(value: f64, text: &str) {
    assert!(reads(value, text), "{value}, known is {text}");
}

#[test]
fn every_claim_computes_what_is_known_of_it() {
    let claims = Board::new(Preset::Talk).claims();
    assert_eq!(claims.len(), table::EQUATIONS.concat().len(), "an equation without a claim");
    let ids = |of: &[&'static str]| of.join(" ");
    assert_eq!(
        ids(&claims.iter().map(|claim| claim.id).collect::<Vec<_>>()),
        ids(&GOLDEN.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
    );
    let mut wrong = Vec::new();
    for (claim, (id, verdict, values)) in claims.iter().zip(GOLDEN) {
        if claim.verdict != *verdict {
            wrong.push(format!("{id}: {} for {}, known is {verdict}", claim.verdict, claim.computed().value));
        }
        for (label, text) in *values {
            match claim.values.iter().find(|value| value.label == *label) {
                Some(found) if reads(found.value, text) => {}
                Some(found) => wrong.push(format!("{id}: {label} is {}, known is {text}", found.value)),
                None => wrong.push(format!("{id} has no value `{label}`")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_real_model_is_another_preset() {
    let claim = |id: &str| Board::new(Preset::Dsv3).select(id).expect("there is one").remove(0);
    check(claim("A6").computed().value, "5667");
    assert_eq!(claim("A6").verdict, Verdict::OrderOfMagnitude);
    check(claim("C1").computed().value, "0.89");
    assert_eq!(claim("C1").verdict, Verdict::Contradicts);
    check(claim("B5").values[4].value, "2.36");
    check(claim("E1").computed().value, "1685");
}

#[test]
fn an_input_is_varied_in_every_claim_that_has_it() {
    let board = Board::varied(Preset::Talk, ["rho=150", "throttle=1"]).expect("known inputs");
    let computed = |id: &str| board.select(id).expect("there is one").remove(0);
    assert_eq!(computed("A6").computed().value, 1200.0);
    assert_eq!(computed("A6").verdict, Verdict::OrderOfMagnitude);
    check(computed("B5").computed().value, "0.507");
    assert_eq!(computed("B5").verdict, Verdict::Contradicts);
    assert!(board.is_varied() && !Board::default().is_varied());
}

#[test]
fn what_can_not_be_is_refused_with_the_nearest() {
    let error = |assignments: &[&str]| {
        Board::varied(Preset::Talk, assignments.iter().copied()).expect_err("refused").to_string()
    };
    assert!(
        error(&["rhoo=3"])
            .starts_with("no claim has an input `rhoo`, did you mean `rho`?; inputs: active_params")
    );
    assert!(error(&["rho"]).starts_with("`rho`: give NAME=VALUE"));
    assert!(error(&["rho=x"]).starts_with("`rho=x`: give NAME=VALUE"));
    assert!(error(&["rho=inf"]).starts_with("`rho=inf`: give NAME=VALUE"));
    assert_eq!(error(&["rho=-1"]), "rho = -1 is not possible; give a number above 0");
    assert_eq!(error(&["racks=1.5"]), "racks = 1.5 is not possible; give a whole number from 1 to 65536");
    assert_eq!(
        error(&["top_k=300"]),
        "top_k = 300 is not possible; give at most as many as there are experts"
    );
    assert!(Board::varied(Preset::Talk, ["top_k=300", "experts=512"]).is_ok(), "in any order");
    let error = Board::default().select("rooflin").expect_err("no chapter").to_string();
    assert!(error.starts_with("no chapter or claim `rooflin`, did you mean `roofline`?"), "{error}");
    let error = "v3".parse::<Preset>().expect_err("none");
    assert!(error.starts_with("no preset `v3`") && error.ends_with("give talk or dsv3"), "{error}");
}

#[test]
fn chapters_are_chosen_by_name_or_letter() {
    let count = |wanted: &str| Board::default().select(wanted).expect(wanted).len();
    assert_eq!(
        [
            count("roofline"),
            count("a"),
            count("B"),
            count("pipeline"),
            count("D"),
            count("prices"),
            count("F")
        ],
        [22, 22, 12, 8, 10, 13, 3]
    );
    assert_eq!(count("e3B"), 1);
}

#[test]
fn every_input_is_one_of_a_claim_and_can_be_varied_widely_without_a_panic() {
    let claims = Board::default().claims();
    let used: BTreeSet<_> = claims.iter().flat_map(|claim| &claim.inputs).map(|(name, ..)| *name).collect();
    assert!(used.into_iter().eq(input_names()));
    for name in input_names() {
        for text in ["1", "2", "3", "16", "1000"] {
            if let Ok(board) = Board::varied(Preset::Dsv3, [format!("{name}={text}").as_str()]) {
                assert_eq!(board.claims().len(), GOLDEN.len());
            }
        }
    }
}

#[test]
fn a_claim_is_an_object_with_ranges_as_lists() {
    let claims = Board::default().claims();
    let json = serde_json::to_value(&claims).expect("numbers and text");
    let a6 = &json[5];
    assert_eq!(a6["id"], "A6");
    assert_eq!(a6["inputs"]["rho"], 300.0);
    assert_eq!(a6["computed"], 2400.0);
    assert_eq!(a6["stated"], serde_json::json!([2000.0, 3000.0]));
    assert_eq!(a6["verdict"], "reproduces");
}
