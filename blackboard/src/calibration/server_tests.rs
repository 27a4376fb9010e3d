//! The fit of server runs finds what made them, says how sure it is, and the reader refuses what no server does.

use super::*;
use crate::deployment::Mode;
use proptest::prelude::*;
use topology::Provenance;

const HEAD: &str = "model,gpu,phase,ep,sequences_per_gpu,context,tokens_per_s_per_gpu\n";
const RUNS: &str =
    "deepseek-v3,H800,decode,128,128,4096,2324\ndeepseek-v3,H800,prefill,32,16384 tokens,4096,7839\n";

fn read(lines: &str) -> Vec<Served> {
    parse_served(&format!("{HEAD}{lines}"), "s.csv").expect("sound")
}

fn of_one(lines: &str) -> ServerFit {
    fit_served(&read(lines)).expect("fits").into_values().next().expect("one accelerator")
}

#[test]
fn no_other_efficiency_has_smaller_errors() {
    let (runs, fit) = (read(RUNS), of_one(RUNS));
    let loss = |share: f64| {
        let other = ServerFit { efficiency: Fitted { value: share, ..fit.efficiency }, ..fit.clone() };
        let hardware = other.hardware(provenance()).expect("rates");
        evaluate_served(&runs, &hardware).expect("predicted").iter().map(|error| error * error).sum::<f64>()
    };
    let shares = (1..=1_000).map(|share| f64::from(share) * 1e-3);
    let best = shares.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).expect("some");
    assert!((fit.efficiency.value - best).abs() < 1e-3, "{best}: {fit:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_made_the_runs_is_found_again(share in 0.2..0.95_f64, sequences in 16..200_u32, context in 500..5000_u32) {
        let mut runs = read(&format!(
            "deepseek-v3,H800,decode,128,{sequences},{context},1000\ndeepseek-v3,H800,decode,64,{sequences},{context},1000\n\
             deepseek-v3,H800,prefill,32,16384 tokens,{context},1000\n"
        ));
        let mut truth = of_one(RUNS);
        truth.efficiency.value = share;
        let truth = truth.hardware(provenance()).expect("rates");
        for run in &mut runs {
            run.tokens_per_s = run.said(&truth, Mode::Serial).expect("said");
        }
        let fit = fit_served(&runs).expect("fits").into_values().next().expect("one");
        prop_assert!((fit.efficiency.value - share).abs() < 1e-4, "{fit:?}");
        prop_assert!(fit.efficiency.is_determined() && !fit.at_bound);
        let hardware = fit.hardware(provenance()).expect("rates");
        for error in evaluate_served(&runs, &hardware).expect("predicted") {
            // Four digits.
            prop_assert!(error.abs() < 5e-4, "{error}");
        }
    }
}

fn provenance() -> Provenance {
    let serving = Hardware::preset("h800-serving").expect("a preset").serving.expect("a server's");
    serving.provenance
}

#[test]
fn how_sure_an_efficiency_is_is_told() {
    let two = of_one(RUNS);
    assert!(two.efficiency.is_determined() && two.efficiency.deviation < 0.02, "{two:?}");
    assert_eq!(two.undetermined().len(), 2, "which part of a step, what overlap loses");
    let one = of_one("deepseek-v3,H800,decode,128,128,4096,2324\n");
    assert!(!one.efficiency.is_determined());
    assert!(one.undetermined()[2].contains("nothing says how sure it is"), "{:?}", one.undetermined());
    let apart = of_one(&format!("{RUNS}deepseek-v3,H800,decode,128,~128,4096,800\n"));
    assert!(!apart.efficiency.is_determined(), "{apart:?}");
    assert!(apart.undetermined()[3].contains("1 of 3 runs, which was assumed"), "{:?}", apart.undetermined());
    let fast = of_one("deepseek-v3,H800,decode,128,128,4096,4000\n");
    assert!(fast.at_bound && fast.efficiency.value == 1.0, "{fast:?}");
}

#[test]
fn columns_of_any_order_and_separator_say_the_same() {
    let named = "name;nodes;weights;tokens_per_s_per_gpu;context;sequences_per_gpu;ep;phase;gpu;model\n\
                 own;16;fp8;2324;4096;128;128;decode;h800;deepseek-v3\n";
    let bare = |run: &Served| Served { at: String::new(), name: String::new(), ..run.clone() };
    let other = parse_served(&format!("\u{feff}# own\n{named}"), "s.csv").expect("sound");
    assert_eq!(bare(&other[0]), bare(&read(RUNS)[0]));
    assert_eq!(other[0].name, "own");
    assert!(
        is_server_runs(named) && is_server_runs(HEAD) && !is_server_runs("tokens,nodes,dispatch_us\n1,1,9\n")
    );
    let prompts = read("deepseek-v3,H800,prefill,32,4,4096,7839\n");
    assert_eq!(prompts[0].load, 16384.0, "prompts, so many a rank");
}

#[test]
fn a_fault_is_told_with_its_line() {
    let check = |line: &str, part: &str| {
        let error = parse_served(&format!("{HEAD}{line}\n"), "s.csv").expect_err("refused").to_string();
        assert!(error.starts_with(part), "{error}");
    };
    check("deepseek-v3,H100,decode,8", "s.csv:2: 4 cells; the header has 7");
    check("deepseek-v3,H100,train,8,1,1,1", "s.csv:2: phase `train`");
    check("deepseek-v3,H100,decode,8,-1,1,1", "s.csv:2: sequences_per_gpu `-1`");
    check(
        "deepseek-v3,H100,decode,8,64 tokens,1,1",
        "s.csv:2: sequences_per_gpu `64 tokens`: a step that decodes",
    );
    check("deepseek-v3,H100,decode,0,1,1,1", "s.csv:2: ep `0`");
    check("deepseek-v3,H100,decode,8,1,-,1", "s.csv:2: context is missing");
    check("deepseek-v9,H100,decode,8,1,1,1", "s.csv:2: ");
    check("deepseek-v3,H100x,decode,8,1,1,1", "s.csv:2: no hardware preset `h100x`");
    check("deepseek-v3,h100-serving,decode,8,1,1,1", "s.csv:2: gpu `h100-serving` is a profile");
    let head = |head: &str, part: &str| {
        let error = parse_served(&format!("{head}\n"), "s.csv").expect_err("refused").to_string();
        assert!(error.starts_with(part), "{error}");
    };
    head("", "s.csv: no measurements");
    head("model,gpu,tokens_per_s_per_gpu", "s.csv:1: no column `phase`");
    head("model,gpu,gpu,tokens_per_s_per_gpu", "s.csv:1: column `gpu` is there twice");
    head("model,chip,tokens_per_s_per_gpu", "s.csv:1: column `chip`: of server runs known are");
}

#[test]
fn what_no_server_makes_is_refused() {
    let check = |line: &str, part: &str| {
        let error = check_served(&read(&format!("{line}\n"))).expect_err("refused").to_string();
        assert!(error.starts_with("s.csv:2: ") && error.contains(part), "{error}");
    };
    assert_eq!(check_served(&read(RUNS)), Ok(()));
    check("deepseek-v3,H800,decode,128,128,4096,297472", "are they of one GPU");
    check("deepseek-v3,H800,decode,128,128,4096,18", "less than a hundredth");
    check("deepseek-v3,H800,decode,128,2048,4096,2324", "are ep, nodes, sequences_per_gpu and context");
    let other = evaluate_served(
        &read("deepseek-v3,H100,decode,72,256,2000,2785\n"),
        &Hardware::preset("h800-serving").expect("one"),
    );
    assert!(other.expect_err("another accelerator").to_string().contains("it ran on h100"));
    let nominal = evaluate_served(&read(RUNS), &Hardware::preset("h800").expect("one"));
    assert!(nominal.expect_err("no profile").to_string().contains("no measured server"));
}

#[test]
fn what_is_given_twice_is_refused_with_both_places() {
    let twice = |lines: &str| served_once(&read(lines)).expect_err("refused").to_string();
    assert_eq!(served_once(&read(RUNS)), Ok(()));
    let told = "s.csv:4: the same measurement as s.csv:2; give each once, of repeats their mean";
    assert_eq!(twice(&format!("{RUNS}deepseek-v3,h800,decode,128,128.0,4096,2324\n")), told);
}
