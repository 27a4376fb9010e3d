//! The command from outside: exit codes, what goes to stdout and stderr, one clear error for each kind of bad input.

mod support;

use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{railyard, text};

/// A small model and few tokens, simulated.
const SMALL: [&str; 7] = [
    "compare",
    "-q",
    "--backend=analytic,sim",
    "--model=granite-1b",
    "--tokens=4",
    "--racks=2",
    "--ranks-per-rack=2",
];

fn run(args: &[&str]) -> Output {
    railyard(args).output().expect("the command starts")
}

/// Runs and expects `code`, nothing on stdout, and one line on stderr that has every part of `message`.
#[track_caller]
fn fails(code: i32, args: &[&str], message: &[&str]) {
    let output = run(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
    for part in message {
        assert!(error.contains(part), "{args:?}: `{part}` is not in: {error}");
    }
    assert!(
        error.lines().count() == 1 || error.starts_with("error: "),
        "{args:?}: more than one line: {error}"
    );
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("written");
        self.path(name).display().to_string()
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["compare", "--help"],
        &["coordinator", "--help"],
        &["certs", "--help"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty());
    }
    assert!(text(&run(&["compare", "--help"]).stdout).contains("Examples:"));
}

#[test]
fn shells_and_man_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(text(&run(&["completions", shell]).stdout).contains("serve-bench"), "{shell}");
    }
    assert!(text(&run(&["man"]).stdout).starts_with(".ie"));
    let files = Files::new();
    let dir = files.path("man").display().to_string();
    assert_eq!(run(&["man", &dir]).status.code(), Some(0));
    let page = fs::read_to_string(files.path("man/railyard-compare.1")).expect("a page a command");
    assert!(page.contains("rounds"), "{page}");
    assert!(text(&run(&["--version"]).stdout).starts_with(concat!("railyard ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn presets_are_listed_and_one_is_a_file_with_all_its_figures() {
    let files = Files::new();
    for (command, name, figure) in
        [("model", "deepseek-v3", "experts"), ("hardware", "h100-sxm", "domain_ranks")]
    {
        assert!(text(&run(&[command]).stdout).contains(name), "{command}");
        let one = text(&run(&[command, name, "--toml"]).stdout);
        assert!(one.contains(figure) && one.contains("source"), "{one}");
        let json = run(&[command, name, "--json"]).stdout;
        let json: serde_json::Value = serde_json::from_slice(&json).expect("one object");
        assert_eq!((&json["schema_version"], &json["name"]), (&1.into(), &name.into()));
        let all: serde_json::Value = serde_json::from_slice(&run(&[command, "--json"]).stdout).expect("JSON");
        assert!(
            all.as_object()
                .expect("an object")
                .values()
                .any(|list| list.as_array().is_some_and(|all| all.len() > 5))
        );
        fails(2, &[command, &name[1..]], &[&format!("did you mean `{name}`?")]);
        // What is printed can be given by its path, and is the same.
        let copy = files.write("copy.toml", &one);
        let copied: serde_json::Value =
            serde_json::from_slice(&run(&[command, &copy, "--json"]).stdout).expect("one object");
        assert_eq!(copied, json, "{command}");
    }
    let start = run(&["hardware", "h20", "--toml"]).stdout;
    assert_eq!(text(&start), text(&run(&["hardware", "h20"]).stdout));
}

#[test]
fn policies_and_gates_are_listed() {
    let listed = text(&run(&["policies"]).stdout);
    let json: serde_json::Value = serde_json::from_slice(&run(&["policies", "--json"]).stdout).expect("JSON");
    for family in ["policies", "gates"] {
        for entry in json[family].as_array().expect("a list") {
            assert!(listed.contains(entry["name"].as_str().expect("a name")), "{listed}");
        }
    }
}

#[test]
fn words_that_no_option_takes_are_usage() {
    for (args, message) in [
        (&["compare", "--backend=qick"][..], "analytic, sim, quic or all"),
        (&["compare", "--scheme=flat,hier"], "unknown dispatch scheme `hier`"),
        (&["compare", "--gate=limit:0"], "limit:M"),
        (&["compare", "--latency=fast"], "a latency is zero, preset"),
        (&["compare", "--dilation=0"], "a dilation is `auto`"),
        (&["compare", "--seeds=5-1"], "`5-1`: a range goes up, such as 1-5\n"),
        (&["compare", "--routing=zipf"], "zipf:S"),
        (&["compare", "--experts=real"], "modelled or gemm"),
        (&["compare", "--seeds=3,3"], "one of the seeds stands twice"),
        (&["compare", "--memory-limit=lots"], "such as 500M or 2G"),
        (&["compare", "--base=all"], "give ranks or rack"),
        (&["compare", "--tokens=-1"], "invalid"),
        (
            &["compare", "--cluster=x:1"],
            "railyard: no --certs <DIR>; `railyard certs DIR` makes certificates",
        ),
        (&["node", "--coordinator=x:1"], "railyard: no --certs <DIR>, --name <NAME>; `railyard certs DIR`"),
        (&["comprae"], "compare"),
        (&["compare", "--scheme=hier"], "did you mean `hierarchical`?"),
        (&["compare", "--routing=zip:1.2"], "did you mean `zipf`?"),
        (&["compare", "--gate=unlimitd"], "did you mean `unlimited`?"),
        (&["compare", "--backnd=sim"], "--backend"),
        (&["roofline", "--sweep=contxt=1,2"], "did you mean `context`?"),
        (&["run", "examples/throtle.toml"], "did you mean `throttle.toml`?"),
    ] {
        fails(2, args, &[message]);
    }
}

#[test]
fn options_that_contradict_each_other_are_usage() {
    for (more, message) in [
        (&["--model=deepsek-v3"][..], "did you mean `deepseek-v3`?"),
        (&["--hardware=gb20"], "did you mean `gb200`"),
        (&["--throttle=0"], "throttle: 0: give a number"),
        (&["--throttle=1e308"], "throttle: 1e308: give a number from 0.001 to 1000000"),
        (&["--throttle", "-3"], "throttle: -3: give a number"),
        (&["--oversubscription=0.5"], "oversubscription: 0.5: give a number from 1"),
        (&["--background=1"], "background: 1: give the share that a second job takes, from 0 to 0.999"),
        (&["--placement=exec:false"], "placement: exec:false: ended with"),
        (&["--racks=0"], "at least one rack"),
        (&["--ranks-per-rack=4,4,4"], "3 numbers for 2 racks"),
        (&["--ranks-per-rack=0"], "rack"),
        (&["--racks=4000000000"], "at most 65536 ranks"),
        (&["--tokens=0"], "at least 1 token"),
        (&["--top-k=33"], "top_k"),
        (&["--top-k=0"], "top_k"),
        (&["--rounds=0"], "at least 1 round"),
        (&["--gate=limit:2"], "is no limit"),
        (&["--routing=zipf:99"], "zipf exponent = 99"),
        (&["--no-payload", "--routing=gate"], "hidden states"),
        (&["--no-payload", "--backend=quic"], "simulator alone"),
        (&["--placement=/no/such/file"], "placement: /no/such/file"),
        (&["--model=/no/such.json"], "cannot open /no/such.json"),
        (&["--routing=trace:/no/such.jsonl"], "/no/such.jsonl: cannot be read"),
    ] {
        // Lists grow where a flag is given again: leave out what is.
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        let kept = SMALL.iter().copied().filter(|flag| more.iter().all(|given| name(given) != name(flag)));
        let args: Vec<&str> = kept.chain(more.iter().copied()).collect();
        fails(2, &args, &[message]);
    }
}

#[test]
fn malformed_files_are_named_with_the_place() {
    let files = Files::new();
    let cluster = files.write("cluster.toml", "[cluster]\nracks = [2, 2]\nhardware = 'gb20'\n");
    fails(2, &["compare", "--hardware", &cluster], &["cluster.toml:3:", "gb200"]);
    fails(2, &["topology", "check", &cluster], &["cluster.toml:3:"]);
    let placement = files.write("placement.json", "{\"physical_to_logical_map\": [0, 1, 2]}");
    let small = |more: &[&str]| {
        SMALL.iter().copied().chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let check = |more: &[&str], message: &[&str]| {
        let args = small(more);
        fails(2, &args.iter().map(String::as_str).collect::<Vec<_>>(), message);
    };
    check(&["--placement", &placement], &["placement.json", "expert"]);
    let trace = files.write("trace.jsonl", "{\"routing\": [{\"layer_index\": 0, \"expert_ids\": [1, 1]}]}\n");
    check(&["--routing", &format!("trace:{trace}")], &["trace.jsonl:1:"]);
    let config = files.write("config.json", "{\"model_type\": \"deepseek_v3\"");
    fails(2, &["compare", "--model", &config], &["config.json: not a JSON object"]);
    let dense = files.write("dense.json", "{\"model_type\": \"llama\", \"hidden_size\": 8}");
    fails(2, &["compare", "--model", &dense], &["dense.json"]);
}

#[test]
fn a_trace_of_another_model_is_refused_and_without_a_model_finds_its_own() {
    let files = Files::new();
    let row = "{\"phase\":\"prefill\",\"routing\":[{\"expert_ids\":[31,1,2,3,4,5,6,7],\"layer_index\":0}]}\n";
    let trace = format!("trace:{}", files.write("trace.jsonl", row));
    let args = ["compare", "-q", "--backend=sim", "--latency=zero", "--tokens=2", "--routing", &trace];
    let with_model: Vec<&str> = args.iter().copied().chain(["--model=olmoe-1b-7b"]).collect();
    fails(2, &with_model, &["recorded with 32 experts, top-8", "granite-1b"]);
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("no --model: the trace has 32 experts, top-8, as granite-1b has"), "{shown}");
    assert!(shown.contains("n = 1 recorded rows"), "{shown}");
    assert!(shown.contains("nothing with the limited gate"), "{shown}");
}

#[test]
fn too_much_memory_is_refused_before_it_is_taken() {
    let args = ["compare", "-q", "--backend=sim", "--tokens=1000000", "--memory-limit=1G"];
    fails(1, &args, &["needs about", "the limit is 1.0 GB (--memory-limit)"]);
    // The shell's own limit counts as well, and is named.
    let limited = "ulimit -v 4000000 && exec \"$0\" compare -q --backend=sim --tokens=1000000";
    let output = Command::new("sh").args(["-c", limited, env!("CARGO_BIN_EXE_railyard")]).output();
    let output = output.expect("a shell");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("75% of the") && error.contains("`ulimit -v`"), "{error}");
}

#[test]
fn json_goes_to_stdout_alone_and_is_the_same_again() {
    let args: Vec<&str> = SMALL.iter().copied().chain(["--json", "--seeds=1-2"]).collect();
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["seeds"], serde_json::json!([1, 2]));
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 9 * 2 * 2);
    assert!(rows.iter().all(|row| row["verified"] == true && row["valid"] == true));
    assert_eq!(run(&args).stdout, output.stdout);
}

#[test]
fn the_last_of_equal_flags_counts() {
    let args: Vec<&str> = SMALL.iter().copied().chain(["--latency=zero", "--tokens=5"]).collect();
    assert!(text(&run(&args).stdout).contains("tokens    = 5 a rank"));
}

#[test]
fn progress_goes_to_stderr() {
    let args: Vec<&str> =
        SMALL.iter().copied().filter(|&flag| flag != "-q").chain(["--latency=zero"]).collect();
    let output = run(&args);
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert!(shown.starts_with("granite-1b on 2 racks of 2 talk-gb200"), "{shown}");
    assert!(shown.contains("\nseeds     = 1\n") && !shown.contains("NOT YET VERIFIED"), "{shown}");
    assert!(told.contains("2 racks: hierarchical, zero latency, sim"), "{told}");
    assert!(!told.contains("slow-"), "nothing is to be measured, so there is one answer: {told}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child =
        railyard(&SMALL).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("read");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{error}");
    assert!(error.is_empty(), "{error}");
}

#[test]
fn cluster_files_are_shown_and_used() {
    let files = Files::new();
    let text_of_file = "[cluster]\nname = 'yard'\nracks = [3, 2]\nhardware = 'gb200'\nthrottle = 4\n[latency]\nscale_out_us = 2\n";
    let cluster = files.write("cluster.toml", text_of_file);
    let shown = run(&["topology", "show", &cluster]);
    assert!(text(&shown.stdout).contains("racks     = [3, 2], 5 ranks"));
    let json = run(&["topology", "show", "--json", &cluster]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!((&json["throttle"], &json["ranks"]), (&serde_json::json!(4.0), &serde_json::json!(5)));
    assert_eq!(run(&["topology", "check", &cluster]).status.code(), Some(0));
    let args = [
        "compare",
        "-q",
        "--backend=sim",
        "--model=granite-1b",
        "--tokens=3",
        "--json",
        "--hardware",
        &cluster,
    ];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["config"]["rack_sizes"], serde_json::json!([3, 2]));
    assert_eq!(report["config"]["throttle"], 4.0);
}

#[test]
fn certificates_are_made_once() {
    let files = Files::new();
    let dir = files.path("certs").display().to_string();
    let made = run(&["certs", &dir, "--racks=1", "--ranks-per-rack=2"]);
    assert!(text(&made.stdout).ends_with("4 certificates made, 0 kept\n"), "{}", text(&made.stderr));
    let again = run(&["certs", &dir, "--racks=1", "--ranks-per-rack=3", "--client=alice"]);
    assert!(text(&again.stdout).ends_with("2 certificates made, 4 kept\n"));
    fails(2, &["certs", &dir, "--racks=1", "--ranks-per-rack=1", "--node=alice"], &["`alice` is a client"]);
    fails(2, &["certs", &dir, "--node=Not_A_Name"], &["cannot name a process"]);
    let alone = files.path("alone").display().to_string();
    let made = run(&["certs", &alone, "--racks=0", "--node=spine-s0-n1-0"]);
    assert!(text(&made.stdout).ends_with("3 certificates made, 0 kept\n"), "{}", text(&made.stderr));
}

#[test]
fn a_cluster_that_is_not_there_is_told_at_once() {
    let files = Files::new();
    let dir = files.path("certs").display().to_string();
    assert_eq!(run(&["certs", &dir, "--racks=1", "--ranks-per-rack=1"]).status.code(), Some(0));
    let busy = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("an address").to_string();
    fails(2, &["node", "--coordinator", &address, "--certs", &dir, "--name", "rack9-9"], &["rack9-9.pem"]);
    let connect =
        ["node", "--coordinator", &address, "--certs", &dir, "--name", "rack0-0", "--connect-limit=1"];
    let begun = Instant::now();
    fails(1, &connect, &["no coordinator at", "within 1 s"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "a handshake may take 10 s");
    for address in ["x", "x:", ":7000", "x:70000", "x:0", "fd00::7:7000"] {
        let told = ["give a host and a port, as in coordinator:7000"];
        fails(2, &["node", "--coordinator", address, "--certs", &dir, "--name", "rack0-0"], &told);
        fails(2, &["health", "--coordinator", address, "--certs", &dir], &told);
        fails(2, &["compare", "--cluster", address, "--certs", &dir], &told);
    }
    fails(1, &["coordinator", "--listen", &address, "--certs", &dir, "--nodes=1"], &[&address]);
    let unresolved = ["compare", "-q", "--cluster=no-such-host.invalid:7000", "--certs", &dir];
    fails(1, &unresolved, &["cannot find no-such-host.invalid:7000"]);
}

#[test]
fn a_node_that_never_registers_ends_the_coordinator() {
    let files = Files::new();
    let dir = files.path("certs").display().to_string();
    assert_eq!(run(&["certs", &dir, "--racks=1", "--ranks-per-rack=1"]).status.code(), Some(0));
    let output =
        run(&["coordinator", "--listen=127.0.0.1:0", "--certs", &dir, "--nodes=2", "--forming-limit=1"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("0 of 2 nodes have registered"), "{error}");
}
