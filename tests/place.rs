//! `railyard place` from outside: the published example of EPLB, tables, maps and what it refuses.

mod support;

use serde_json::{Value, json};
use std::process::Command;

/// The loads of EPLB's own README.
const LOADS: &str = r#"{"logical_count": [[90,132,40,61,104,165,39,4,73,56,183,86],[20,107,104,64,19,197,187,157,172,86,16,27]]}"#;

struct Loads(tempfile::NamedTempFile);

impl Loads {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Self(file)
    }

    fn place(&self, args: &[&str]) -> Command {
        let mut command = support::railyard(&["place", "--loads"]);
        command.arg(self.0.path()).args(args);
        // One rack, and EPLB, where a test doesn't say otherwise.
        let says = |flags: &[&str]| args.iter().any(|arg| flags.iter().any(|flag| arg.starts_with(flag)));
        if !says(&["--rack", "--ranks-per-rack"]) {
            command.arg("--racks=1");
        }
        if !says(&["--policy", "--placement", "--compare"]) {
            command.arg("--placement=eplb");
        }
        command
    }

    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        support::works(&mut self.place(args))
    }

    #[track_caller]
    fn refused(&self, args: &[&str], part: &str) {
        let error = support::fails(&mut self.place(args), 2);
        assert!(error.contains(part) && error.lines().count() == 1, "`{part}` is not in: {error}");
    }
}

#[test]
fn the_published_example_of_eplb() {
    let loads = Loads::new(LOADS);
    let args = ["--ranks=8", "--racks=2", "--slots=16", "--groups=4"];
    let maps: Value = serde_json::from_str(&loads.text(&[&args[..], &["--json"]].concat())).expect("JSON");
    let layer = &maps["layers"][0];
    assert_eq!(layer["physical_to_logical_map"], json!([5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1]));
    assert_eq!(layer["logical_replica_count"], json!([1, 2, 1, 1, 2, 2, 1, 1, 1, 1, 2, 1]));
    assert_eq!(layer["logical_to_physical_map"][0], json!([12, -1]));
    assert_eq!(layer["rank_load"], json!([121.5, 86.5, 125.0, 113.0, 147.5, 131.5, 156.0, 152.0]));
    let table = loads.text(&args);
    let first = table.lines().find(|line| line.trim_start().starts_with("0 ")).expect("layer 0");
    assert_eq!(first.split_whitespace().collect::<Vec<_>>()[..5], ["0", "1.208", "0.8277", "2", "0"]);
    assert!(loads.text(&["--ranks=8", "--policy=linear"]).contains("policy linear"));
}

#[test]
fn what_can_not_be_placed_is_refused() {
    let loads = Loads::new(LOADS);
    loads.refused(&["--ranks=8", "--slots=17"], "the ranks must divide the slots");
    loads.refused(&["--ranks=8", "--racks=3"], "racks: 3: give a divisor of the 8 ranks");
    loads.refused(
        &["--ranks=8", "--slots=16", "--policy=linear"],
        "16 slots: linear has 12, neither more nor fewer",
    );
    loads.refused(&["--ranks=0"], "rank");
    loads.refused(&["--ranks=8", "--ranks-per-rack=4,3"], "2 rack(s) add up to 7");
    loads.refused(&["--ranks=8", "--racks=2", "--ranks-per-rack=3"], "2 rack(s) add up to 6");
    loads.refused(&["--ranks=8", "--layer=2"], "layers 0 to 1");
    loads.refused(&["--ranks=8", "--model=deepseek-v3"], "it has 256 experts");
    loads.refused(&["--ranks=8", "--top-k=13"], "between 1 and the 12 experts");
    loads.refused(&["--ranks=2", "--slots=25", "--policy=rack-aware"], "at most one an expert and rank");
    loads.refused(&["--ranks=8", "--policy=file:no-such-file"], "placement: no-such-file: No such file");
    loads.refused(&["--ranks=8", "--slots=16", "--export=vllm"], "layer 0 has replicas: give --slots 12");
    loads.refused(&["--ranks=8", "--export=railyard", "--slots=16"], "give --layer");
    loads.refused(&["--ranks=7", "--export=sglang", "--policy=rack-aware"], "12 slots on 7 ranks unevenly");
    Loads::new(r#"{"logical_count": [[1, 2], [3]]}"#).refused(&["--ranks=2"], "layer 1 has 1 experts");
    Loads::new("{}").refused(&["--ranks=2"], "give counts (`logical_count`, lists, CSV)");
}

#[test]
fn balance_is_traded_for_copies() {
    let load: Vec<u32> = (0..32).map(|expert| 40 + (expert * 13 + 7) % 32 * 10 + expert / 4 * 30).collect();
    let loads = Loads::new(&json!({ "logical_count": [load] }).to_string());
    let size = ["--ranks=8", "--racks=4", "--slots=40", "--top-k=4", "--json"];
    let place = |more: &[&str]| -> Value {
        serde_json::from_str(&loads.text(&[&size[..], more].concat())).expect("JSON")
    };
    let at = |balance: &str| place(&["--placement=rack-aware", balance])["layers"][0].clone();
    let [even, uneven] = [at("--balance=1"), at("--balance=0.8")];
    let number = |value: &Value| value.as_f64().expect("a number");
    let balance = |layer: &Value| number(&layer["balancedness"]);
    let copies = |layer: &Value| number(&layer["inter_rack_copies_per_token"]["hierarchical"]);
    assert!(balance(&uneven) >= 0.8 && balance(&even) > balance(&uneven), "{even} {uneven}");
    assert!(copies(&uneven) < copies(&even), "{even} {uneven}");
    let table = place(&["--compare", "--balance=0.8"]);
    let rows: Vec<&Value> = table["policies"].as_array().expect("rows").iter().collect();
    let row = |name: &str| rows.iter().copied().find(|row| row["policy"] == name).expect(name);
    assert_eq!(number(&row("rack-aware")["mean_balancedness"]), balance(&uneven));
    let scheme = |name: &str| number(&row(name)["inter_rack_copies_per_token"]["hierarchical"]);
    assert!(scheme("fewest copies") <= scheme("eplb").min(scheme("eplb-global")) + 0.03);
    loads.refused(
        &["--ranks=8", "--balance=0.9", "--policy=eplb"],
        "--balance is for rack-aware, not for eplb",
    );
    let error = support::fails(&mut loads.place(&["--ranks=8", "--balance=2"]), 2);
    assert!(error.contains("give a number above 0 and up to 1, which is even"), "{error}");
}

#[test]
fn all_policies_side_by_side() {
    let loads = Loads::new(LOADS);
    let args = ["--ranks=8", "--racks=2", "--slots=16", "--top-k=2", "--compare"];
    let table = loads.text(&args);
    for policy in ["linear", "round-robin", "replicated", "one-rack", "eplb", "eplb-global", "rack-aware"] {
        assert!(table.lines().any(|line| line.starts_with(policy)), "{policy} is not in {table}");
    }
    let rows: Vec<&str> = table.lines().filter(|line| line.ends_with(" 0") || line.ends_with(" 1")).collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{table}");
    let all: Value = serde_json::from_str(&loads.text(&[&args[..], &["--json"]].concat())).expect("JSON");
    let of = |policy: &str| {
        let policies = all["policies"].as_array().expect("a list");
        policies.iter().find(|row| row["policy"] == policy).expect("there").clone()
    };
    let crossing = |policy: &str, scheme: &str| {
        of(policy)["inter_rack_copies_per_token"][scheme].as_f64().expect("a number")
    };
    assert_eq!(crossing("replicated", "flat"), 0.0);
    for scheme in ["flat", "dedup", "hierarchical"] {
        assert!(crossing("rack-aware", scheme) < crossing("eplb", scheme));
    }
    let even = |policy: &str| of(policy)["mean_balancedness"].as_f64().expect("a number");
    assert!(even("rack-aware") >= even("eplb-global") - 0.01);
    assert_eq!(of("rack-aware")["duplicates_on_a_rank"], 0);
    // What can't be is said below.
    let odd = loads.text(&["--ranks-per-rack=4,3", "--slots=16", "--compare"]);
    assert!(
        odd.contains(
            "eplb-global places nothing: EPLB placement of 12 experts in 1 groups, 16 slots on 7 ranks"
        ),
        "{odd}"
    );
    assert_eq!(loads.text(&args), table);
}

#[test]
fn exports_are_what_the_systems_read() {
    let loads = Loads::new(LOADS);
    let args = ["--ranks=8", "--racks=2", "--slots=16", "--groups=4"];
    let with = |more: &[&str]| loads.text(&[&args[..], more].concat());
    let first = [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1];
    let sglang: Value = serde_json::from_str(&with(&["--export=sglang"])).expect("JSON");
    assert_eq!(sglang["physical_to_logical_map"][0], json!(first));
    assert_eq!(sglang["physical_to_logical_map"].as_array().map(Vec::len), Some(2));
    let yaml = with(&["--export=trtllm"]);
    assert!(yaml.starts_with("num_slots: 16\ninitial_global_assignments:\n  0: [5, 6, 5, 7,"), "{yaml}");
    assert!(yaml.ends_with("]\nlayer_updates_per_iter: 0\n"), "{yaml}");
    let vllm: Value =
        serde_json::from_str(&loads.text(&["--ranks=4", "--policy=linear", "--layer=1", "--export=vllm"]))
            .expect("JSON");
    assert_eq!(vllm, json!({ "expert_to_ep_rank": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3] }));
    // A file that was written is a policy again.
    let file = Loads::new(&yaml);
    let policy = format!("--policy=file:{}", file.0.path().display());
    let maps: Value =
        serde_json::from_str(&loads.text(&["--ranks=8", "--racks=2", &policy, "--layer=0", "--json"]))
            .expect("JSON");
    assert_eq!(maps["layers"][0]["physical_to_logical_map"], json!(first));
}

#[test]
fn a_layer_is_a_placement_file_of_compare() {
    let counts: Vec<u32> = (0..8).map(|expert| 100 + 50 * (expert % 3)).collect();
    let loads = Loads::new(&json!({ "logical_count": [counts] }).to_string());
    let args = ["--ranks=4", "--racks=2", "--slots=12", "--policy=rack-aware"];
    let exported = loads.text(&[&args[..], &["--layer=0", "--export=railyard"]].concat());
    let maps: Value = serde_json::from_str(&loads.text(&[&args[..], &["--json"]].concat())).expect("JSON");
    for text in [exported, maps["layers"][0].to_string()] {
        let file = Loads::new(&text);
        let path = file.0.path().display().to_string();
        let args = [
            "compare",
            "--model=mixtral-8x7b",
            "--racks=2",
            "--ranks-per-rack=2",
            "--backend=analytic",
            "--json",
        ];
        let mut command = support::railyard(&args);
        command.args(["--placement", &path]);
        support::works(&mut command);
    }
}

#[test]
fn a_change_says_what_it_moves_and_when_it_pays() {
    let load: Vec<u32> = (0..32).map(|expert| 400 - expert * 11).collect();
    let loads = Loads::new(&json!({ "logical_count": [load] }).to_string());
    let args = ["--ranks=8", "--racks=2", "--slots=40", "--model=granite-1b", "--json"];
    let old = loads.text(&[&args[..], &["--placement=eplb"]].concat());
    let old: Value = serde_json::from_str(&old).expect("JSON");
    let file = Loads::new(&old["layers"][0].to_string());
    let from = format!("--from={}", file.0.path().display());
    let change = |more: &[&str]| -> Value {
        let text = loads.text(&[&args[..], &[&from], more].concat());
        serde_json::from_str::<Value>(&text).expect("JSON")["change"].clone()
    };
    let same = change(&["--placement=eplb"]);
    assert_eq!(
        (&same["experts"], &same["move_us"], &same["pays_after_steps"]),
        (&json!(0), &json!(0.0), &json!(0))
    );
    let new = change(&["--placement=rack-aware", "--scheme=flat", "--tokens=64"]);
    let number = |value: &Value| value.as_f64().expect("a number");
    let sum = |ports: &Value, class: &str| -> f64 {
        ports[class].as_array().expect("ranks").iter().map(number).sum()
    };
    assert!(number(&new["experts"]) > 0.0 && number(&new["move_us"]) > 0.0, "{new}");
    for class in ["scale_up", "scale_out"] {
        assert_eq!(sum(&new["sent_bytes_per_rank"], class), number(&new["bytes"][class]));
        assert_eq!(sum(&new["received_bytes_per_rank"], class), number(&new["bytes"][class]));
    }
    // Three matrices of 1024 x 512, FP8: 1,572,864 B each.
    let all = number(&new["bytes"]["scale_up"]) + number(&new["bytes"]["scale_out"]);
    assert_eq!(all, number(&new["experts"]) * 1_572_864.0);
    let [before, after] = ["before", "after"].map(|when| number(&new["step_us"][when]));
    let steps = (number(&new["move_us"]) / (before - after)).ceil();
    assert!(before > after && number(&new["pays_after_steps"]) == steps, "{new}");
    let text = loads.text(&["--ranks=8", "--racks=2", "--slots=40", "--policy=rack-aware", &from]);
    assert!(text.contains("change from") && text.contains("a step of these layers takes"), "{text}");
    loads.refused(&["--ranks=8", "--racks=2", "--slots=48", &from], "give --slots as before");
    loads.refused(
        &["--ranks=8", "--scheme=flat"],
        "--scheme is how rows travel in the steps that --from is about",
    );
}

#[test]
fn ragged_racks_and_weights() {
    let loads = Loads::new(&json!({ "logical_count": [vec![7; 256]] }).to_string());
    let text =
        loads.text(&["--ranks-per-rack=5,3", "--policy=rack-aware", "--slots=270", "--model=deepseek-v3"]);
    assert!(text.contains("on 8 ranks in 2 racks, 270 slots, policy rack-aware"), "{text}");
    // 34 slots of 44.04 MB.
    assert!(text.contains("expert weights of deepseek-v3 on the fullest rank: 1.50 GB"), "{text}");
}

#[test]
fn tokens_are_the_models_gates_unless_none_is_wanted() {
    let load: Vec<u32> = (0..256).map(|expert| 40_000 / (20 + expert * 37 % 256)).collect();
    let (dense, args) = (vec![0; 256], ["--ranks=32", "--racks=4", "--slots=288", "--compare", "--json"]);
    let of = |layers: &[&Vec<u32>], more: &[&str]| -> Value {
        let loads = Loads::new(&json!({ "logical_count": layers }).to_string());
        serde_json::from_str(&loads.text(&[&args[..], more].concat())).expect("JSON")
    };
    let (own, uniform) = (of(&[&dense, &load], &[]), of(&[&load], &["--routing=uniform"]));
    assert_eq!((&own["picks"], &own["groups"]), (&json!("gate"), &json!(8)));
    assert_eq!((&uniform["picks"], &uniform["groups"]), (&json!("independent"), &json!(4)));
    let eplb = |all: &Value, key: &str| {
        let policies = all["policies"].as_array().expect("a list");
        policies.iter().find(|row| row["policy"] == "eplb").expect("there")[key].clone()
    };
    let crossing =
        |all: &Value| eplb(all, "inter_rack_copies_per_token")["hierarchical"].as_f64().expect("a number");
    // Two groups in each of four racks, of which a token's gate takes four: fewer racks than experts drawn one by one are in.
    assert!(crossing(&own) < crossing(&uniform) - 0.1, "{} {}", crossing(&own), crossing(&uniform));
    assert!(eplb(&own, "inter_rack_copies_error").as_f64().expect("a number") < 0.01);
    // The layer without tokens is in no mean.
    let alone = of(&[&load], &[]);
    assert_eq!(eplb(&own, "mean_balancedness"), eplb(&alone, "mean_balancedness"));
    let refused = Loads::new(&json!({ "logical_count": [load] }).to_string());
    refused.refused(
        &["--ranks=32", "--routing=zipf:1"],
        "--routing zipf:1: the loads are recorded; give model, or uniform",
    );
    let hot: Vec<u32> = (0..256).map(|expert| if expert == 7 { 100 } else { 1 }).collect();
    let hot = Loads::new(&json!({ "logical_count": [hot] }).to_string());
    hot.refused(
        &["--ranks=32"],
        "expert 7 has 28.17% of the picks; with 8 experts a token none has more than 12.50%",
    );
    hot.text(&["--ranks=32", "--routing=uniform"]);
}
