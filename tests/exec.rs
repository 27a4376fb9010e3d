//! Placements made by programs, through the real command: one that works, and those that hang, fail, talk nonsense or too much.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PLACE: [&str; 7] = [
    "place",
    "--loads=tests/recorded/inputs/loads-32.json",
    "--ranks=4",
    "--racks=2",
    "--slots=40",
    "--layer=0",
    "--json",
];

fn command(args: &[&str]) -> Command {
    let mut command = support::railyard(args);
    command.current_dir(ROOT).env("RAILYARD_EXEC_LIMIT_S", "1");
    command
}

#[track_caller]
fn works(args: &[&str]) -> String {
    support::works(&mut command(args))
}

/// Places by `command`, which fails with one line that has `message`.
#[track_caller]
fn refused(command: &str, message: &str) {
    let word = format!("exec:{command}");
    let error = support::fails(&mut self::command(&[&PLACE[..], &["--policy", &word]].concat()), 2);
    assert!(error.contains(message) && error.lines().count() == 1, "{command}: {error}");
}

/// An experiment of two points in `dir`, placed by a program that writes a line to `asked` each time, and answers otherwise each time.
fn experiment(dir: &Path) -> String {
    let (script, asked) = (dir.join("place.sh"), dir.join("asked"));
    let text = format!(
        "echo asked >> {asked}\nfirst=$(wc -l < {asked})\n\
         awk -v first=$first 'BEGIN {{ printf \"{{\\\"physical_to_logical_map\\\":[\"; \
         for (i = 0; i < 32; i++) printf \"%s%d\", i ? \",\" : \"\", (i + first) % 32; print \"]}}\" }}'\n",
        asked = asked.display(),
    );
    fs::write(&script, text).expect("written");
    let file = dir.join("two.toml");
    let text = format!(
        "[experiment]\nbackend = \"sim\"\nmodel = \"granite-1b\"\nracks = 2\nranks_per_rack = 2\ntokens = 4\n\
         placement = \"exec:sh {}\"\n[sweep]\nthrottle = [2, 4]\n",
        script.display()
    );
    fs::write(&file, text).expect("written");
    file.display().to_string()
}

#[test]
fn a_program_places_in_every_command() {
    let word = "exec:sh examples/dealt.sh";
    let placed: serde_json::Value =
        serde_json::from_str(&works(&[&PLACE[..], &["--policy", word]].concat())).expect("JSON");
    let map: Vec<u64> = (0..40).map(|slot| slot % 32).collect();
    assert_eq!(placed["layers"][0]["physical_to_logical_map"], serde_json::json!(map));
    assert_eq!(placed["policy"], word);
    let small =
        ["--quiet", "--json", "--backend=sim", "--model=granite-1b", "--racks=2", "--ranks-per-rack=2"];
    let compared =
        works(&[&["compare"], &small[..], &["--tokens=4", "--slots=36", "--placement", word]].concat());
    assert!(compared.contains(word));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("serve.toml");
    let serve = format!(
        "[serve]\nmodel = \"granite-1b\"\nhardware = \"h100\"\nracks = 1\nranks_per_rack = 4\nplacement = {word:?}\nslots = 36\n\
         [arrivals]\nnum_prompts = 4\nkind = \"constant\"\nrequest_rate = 10.0\ninput_len = 8\noutput_len = 4\n"
    );
    fs::write(&file, serve).expect("written");
    works(&["serve-bench", &file.display().to_string(), "--quiet", "--json"]);
}

#[test]
fn programs_that_do_not_answer_are_named_with_the_reason() {
    refused(
        "sleep 100",
        "exec:sleep 100: gave no answer within 1 s; RAILYARD_EXEC_LIMIT_S sets another limit",
    );
    refused("sleep 100 & echo '{}'", "gave no answer within 1 s");
    refused(
        "echo the hen; exit 0",
        "exec:echo the hen; exit 0: expected ident at line 1 column 2; expected {\"physical",
    );
    refused("echo too hot >&2; exit 3", "ended with exit status: 3; it said: too hot");
    refused("./no-such-program", "ended with exit status: 127");
    refused("echo '{\"physical_to_logical_map\": [0]}'", "has no slot");
    refused("head -c 100000000 /dev/zero", "printed more than 33554432 bytes: print one placement");
    refused("cat examples/dealt.sh | sh -s x", "exec:cat examples/dealt.sh | sh -s x: ");
}

#[test]
fn an_answer_is_kept_beside_the_results_and_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, out) = (experiment(dir.path()), dir.path().join("out").display().to_string());
    let run = |more: &[&str]| works(&[&["run", &file, "--out", &out, "--quiet"], more].concat());
    let asked = || fs::read_to_string(dir.path().join("asked")).expect("asked").lines().count();
    let results = || fs::read_to_string(dir.path().join("out/two.jsonl")).expect("results");
    run(&[]);
    let first = (asked(), results());
    assert_eq!(first.0, 1, "both points have one demand");
    fs::remove_file(dir.path().join("out/two.jsonl")).expect("removed");
    run(&[]);
    run(&["--shard", "1/2"]);
    assert_eq!((asked(), results()), first, "kept");
    let mut kept = fs::read_dir(dir.path().join("out/placements")).expect("kept");
    let kept = kept.next().expect("an answer").expect("an entry").path();
    fs::write(&kept, "{").expect("written");
    fs::remove_file(dir.path().join("out/two.jsonl")).expect("removed");
    let output = command(&["run", &file, "--out", &out, "--quiet"]).output().expect("the command starts");
    let error = support::text(&output.stderr);
    assert!(!output.status.success() && error.contains(&kept.display().to_string()), "{error}");
}

/// A coordinator and its two nodes in processes of their own, gone when this is dropped.
struct Yard {
    processes: Vec<Child>,
    address: String,
    certs: String,
}

impl Yard {
    fn start(dir: &Path) -> Self {
        let certs = dir.join("certs").display().to_string();
        works(&["certs", &certs, "--racks=2", "--ranks-per-rack=1"]);
        let start = |args: &[&str]| {
            let mut command = support::railyard(args);
            // Nothing that the command names is found from here, and what runs here says so.
            command.current_dir(dir).env("WHERE", "on the cluster");
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
        };
        let listen =
            ["coordinator", "--listen=127.0.0.1:0", "--certs", &certs, "--nodes=2", "--no-first-run"];
        let mut processes = vec![start(&listen)];
        let mut lines = BufReader::new(processes[0].stderr.take().expect("piped")).lines();
        let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("listening on ")?.to_owned()));
        let address = address.expect("it says where it listens");
        // Whatever else is said is read, so that nobody waits for a full pipe.
        std::thread::spawn(move || lines.count());
        for name in ["rack0-0", "rack1-0"] {
            processes.push(start(&["node", "--coordinator", &address, "--certs", &certs, "--name", name]));
        }
        Self { processes, address, certs }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn a_program_runs_where_the_command_is_typed_and_never_on_the_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = dir.path().join("asked");
    let yard = Yard::start(dir.path());
    let word = format!("exec:echo ${{WHERE:-here}} >> {}; sh examples/dealt.sh", asked.display());
    let on = ["--cluster", &yard.address, "--certs", &yard.certs, "--quiet", "--json"];
    let asked = || fs::read_to_string(&asked).expect("asked");
    let compare = [
        "compare",
        "--model=granite-1b",
        "--racks=2",
        "--ranks-per-rack=1",
        "--tokens=4",
        "--slots=36",
        "--scheme=dedup",
        "--latency=zero",
        "--rounds=2",
        "--placement",
        &word,
    ];
    let compared: serde_json::Value =
        serde_json::from_str(&works(&[&compare[..], &on].concat())).expect("JSON");
    let records = compared["rows"].as_array().expect("rows");
    let placed =
        records.iter().filter(|record| record["backend"] == "quic" && record["placement"] == word.as_str());
    assert!(placed.count() > 0, "{compared}");
    let first = asked();
    assert!(!first.is_empty() && first.lines().all(|line| line == "here"), "{first}");

    // A gate's placement is asked for as the cluster will need it.
    let file = dir.path().join("serve.toml");
    let serve = format!(
        "[serve]\nmodel = \"granite-1b\"\nhardware = \"h100\"\nracks = 2\nranks_per_rack = 1\nplacement = {word:?}\n\
         slots = 36\nrouting = \"gate\"\n[arrivals]\nnum_prompts = 2\nkind = \"constant\"\nrequest_rate = 10.0\n\
         input_len = 4\noutput_len = 2\n"
    );
    fs::write(&file, serve).expect("written");
    works(&[&["serve-bench", &file.display().to_string()], &on[..]].concat());
    let both = asked();
    assert!(both.len() > first.len() && both.lines().all(|line| line == "here"), "{both}");
}
