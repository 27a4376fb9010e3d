//! A coordinator that is killed and started again: jobs go on from the rows that are finished, clients get their answers.

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::process::Process;
use support::{text, works};

/// How often it is looked whether a client has ended.
const MOMENT: Duration = Duration::from_millis(100);

/// Two nodes and a coordinator that comes and goes.
struct Yard {
    dir: tempfile::TempDir,
    coordinator: Process,
    address: String,
    nodes: Vec<Process>,
}

impl Yard {
    fn start(more: &[&str]) -> Self {
        Self::of(&["rack0-0", "rack1-0"], more)
    }

    fn of(names: &[&str], more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        works(&mut railyard(dir.path(), &["certs", "certs", "--racks=2", "--ranks-per-rack=2"]));
        let (coordinator, address) = coordinator(dir.path(), "127.0.0.1:0", more);
        let node = |name: &str| {
            let args = ["node", "--coordinator", &address, "--certs=certs", "--name", name];
            Process::start(&mut railyard(dir.path(), &args))
        };
        let nodes = names.iter().map(|name| node(name)).collect();
        Self { nodes, dir, coordinator, address }
    }

    fn health_of(&self, args: &[&str]) -> Command {
        let on = ["health", "--coordinator", &self.address, "--certs=certs"];
        railyard(self.dir.path(), &[&on, args].concat())
    }

    /// SIGKILL, and another one in its place.
    fn restart(&mut self, more: &[&str]) {
        self.restart_by(Signal::KILL, more);
    }

    fn restart_by(&mut self, signal: Signal, more: &[&str]) {
        self.coordinator.signal(signal);
        self.coordinator.child.wait().expect("ended");
        self.coordinator = coordinator(self.dir.path(), &self.address, more).0;
    }

    fn client(&self, args: &[&str]) -> Process {
        let on = ["--cluster", &self.address, "--certs=certs"];
        Process::start(&mut railyard(self.dir.path(), &[&COMPARE[..], &on, args].concat()))
    }

    /// Results that are saved, in order.
    fn saved(&self) -> Vec<String> {
        let path = |number: usize| self.path(&format!("out/compare-{number}.json"));
        (1..).map_while(|number| std::fs::read_to_string(path(number)).ok()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn health(&self) -> String {
        works(&mut self.health_of(&[]))
    }
}

/// Nine configurations at two latencies.
const COMPARE: [&str; 7] = [
    "compare",
    "--model=granite-1b",
    "--racks=2",
    "--ranks-per-rack=1",
    "--tokens=4",
    "--rounds=2",
    "--warmup=0",
];
const ROWS: usize = 18;

fn railyard(dir: &Path, args: &[&str]) -> Command {
    let mut command = support::railyard(args);
    command.current_dir(dir);
    command
}

fn coordinator(dir: &Path, listen: &str, more: &[&str]) -> (Process, String) {
    let args = ["coordinator", "--listen", listen, "--certs=certs", "--nodes=2"];
    let mut command = railyard(dir, &[&args[..], more].concat());
    // Every step is told.
    command.env("RUST_LOG", "info,coordinator=debug,study=debug");
    let mut process = Process::start(&mut command);
    let line = process.says("listening on ");
    let address = line.strip_prefix("listening on ").expect("an address").to_owned();
    (process, address)
}

/// The row that a line `[3/18] ...` announces.
fn announced(line: &str) -> Option<usize> {
    line.strip_prefix('[')?.split('/').next()?.parse().ok()
}

fn measured(report: &Value) -> Vec<&Value> {
    let rows = report["rows"].as_array().expect("rows").iter();
    rows.filter(|row| row["backend"] == "quic").collect()
}

/// Whether it was printed in whole; a machine that is too busy may leave a row invalid.
#[track_caller]
fn whole(client: Process) -> (String, Vec<String>) {
    let (code, printed, said) = client.end();
    let kept_up = code == Some(0) || said.iter().any(|line| line.contains("the host could not keep up"));
    assert!(kept_up, "{code:?}: {said:#?}");
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(report.get("complete").is_none());
    assert_eq!(measured(&report).len(), ROWS);
    assert!(report["rows"].as_array().expect("rows").iter().all(|row| row["verified"] == true), "{report}");
    // No row is measured again that was finished: at most the one under way.
    let begun: Vec<usize> = said.iter().filter_map(|line| announced(line)).collect();
    assert!(begun.windows(2).all(|pair| pair[1] >= pair[0]), "{begun:?}");
    (printed, said)
}

#[test]
fn a_client_of_a_coordinator_that_is_killed_or_stopped_gets_its_whole_answer() {
    let more = ["--no-first-run", "--out=out"];
    let mut yard = Yard::start(&more);
    let mut client = yard.client(&["--json"]);
    for (victim, signal) in [("[2/", Signal::KILL), ("[9/", Signal::TERM)] {
        client.says(victim);
        yard.restart_by(signal, &more);
        yard.coordinator.says("jobs in out/jobs.redb: 1 to go on with");
        let gone = client.says("trying again for 120 s");
        assert!(gone.contains(&format!("the coordinator at {}", yard.address)), "{gone}");
        client.says("the coordinator is there again");
        yard.coordinator.says("rows were finished before");
    }
    let (printed, _) = whole(client);
    // What is saved is what the client got, once.
    assert_eq!(yard.saved(), [printed]);
    assert!(yard.health().starts_with("ok: 2 nodes, 0 comparisons"), "{}", yard.health());
}

/// `RAILYARD_KILLS` says how often the coordinator is killed.
#[test]
fn a_coordinator_that_is_killed_anywhere_loses_nothing_and_does_nothing_twice() {
    let kills = std::env::var("RAILYARD_KILLS").map_or(2, |kills| kills.parse().expect("a number"));
    let more = ["--no-first-run", "--out=out"];
    let mut yard = Yard::start(&more);
    let mut client = yard.client(&["--json"]);
    let (mut answers, mut state): (Vec<String>, u64) = (Vec::new(), 20_261_129);
    for _ in 0..kills {
        // Where to strike next: a step of a linear congruential generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut to_come = (state >> 33) % 60;
        while to_come > 0 {
            if client.child.try_wait().expect("asked").is_some() {
                let ended = std::mem::replace(&mut client, yard.client(&["--json"]));
                answers.push(whole(ended).0);
            }
            // It says nothing where the client has its answer.
            to_come -= u64::from(yard.coordinator.lines.recv_timeout(MOMENT).is_ok());
        }
        yard.restart(&more);
    }
    answers.push(whole(client).0);
    assert_eq!(yard.saved(), answers);
}

#[test]
fn the_first_comparison_goes_on_and_is_not_run_twice() {
    let more = ["--out=out", "--model=granite-1b", "--tokens=4", "--rounds=2", "--latency=zero"];
    let mut yard = Yard::start(&more);
    yard.coordinator.says("[2/");
    yard.restart(&more);
    yard.coordinator.says("rows were finished before");
    yard.coordinator.says("serving clients");
    let first = yard.saved();
    yard.restart(&more);
    yard.coordinator.says("the first comparison was finished before");
    yard.coordinator.says("serving clients");
    assert_eq!(first.len(), 1);
    assert_eq!(yard.saved(), first);
}

#[test]
fn ctrl_c_prints_what_is_finished_and_frees_the_cluster() {
    let yard = Yard::start(&["--no-first-run"]);
    let here = [&COMPARE[..], &["--json", "--in-process"]].concat();
    for mut client in [yard.client(&["--json"]), Process::start(&mut railyard(yard.dir.path(), &here))] {
        client.says("[3/");
        client.signal(Signal::INT);
        let (code, printed, said) = client.end();
        assert_eq!(code, Some(130), "{said:#?}");
        let report: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(report["complete"], false);
        assert_eq!(report["rows_asked"], 3 * ROWS);
        assert!(measured(&report).len() >= 2, "{report}");
        assert!(yard.health().starts_with("ok: 2 nodes, 0 comparisons"), "{}", yard.health());
    }
}

#[test]
fn a_second_coordinator_on_one_directory_is_refused() {
    let yard = Yard::start(&["--no-first-run", "--state=state"]);
    let args = ["coordinator", "--listen=127.0.0.1:0", "--certs=certs", "--no-first-run", "--state=state"];
    let output = railyard(yard.dir.path(), &args).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("another coordinator has state/jobs.redb open"), "{error}");
}

#[test]
fn an_experiment_is_run_on_the_cluster_and_goes_on_where_it_was() {
    let mut yard = Yard::start(&["--no-first-run", "--state=state"]);
    let experiment = "[experiment]\nmodel = \"granite-1b\"\nracks = 2\nranks_per_rack = 1\n\
                      tokens = 4\nrounds = 2\nbase = \"ranks\"\n[sweep]\nthrottle = [1, 8]\n";
    std::fs::write(yard.path("here.toml"), experiment).expect("written");
    let run = |yard: &Yard| {
        let args = ["run", "here.toml", "--cluster", &yard.address, "--certs=certs", "--json"];
        Process::start(&mut railyard(yard.dir.path(), &args))
    };
    let mut client = run(&yard);
    client.says("[1/2]");
    yard.restart(&["--no-first-run", "--state=state"]);
    let report = |client: Process| {
        let (code, printed, said) = client.end();
        let kept_up = code == Some(0) || said.iter().any(|line| line.contains("could not keep up"));
        assert!(kept_up, "{code:?}: {said:#?}");
        serde_json::from_str::<Value>(&printed).expect("JSON")
    };
    let first = report(client);
    let rows = first["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "a point's own row, not its base's: {first}");
    assert!(rows.iter().all(|row| row["backend"] == "quic"), "{first}");
    // What is finished is not asked for again.
    yard.coordinator.signal(Signal::KILL);
    assert_eq!(report(run(&yard)), first);
}

#[test]
fn health_waits_until_the_nodes_are_there() {
    let mut yard = Yard::start(&["--no-first-run"]);
    let asked = works(&mut yard.health_of(&["--nodes=2", "--wait=60"]));
    assert!(asked.starts_with("ok: 2 nodes"), "{asked}");
    // A coordinator that is not there yet is waited for, too.
    yard.coordinator.signal(Signal::KILL);
    yard.coordinator.child.wait().expect("ended");
    let asking = Process::start(&mut yard.health_of(&["--nodes=2", "--wait=60"]));
    yard.coordinator = coordinator(yard.dir.path(), &yard.address, &["--no-first-run"]).0;
    let (code, printed, said) = asking.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(printed.starts_with("ok: 2 nodes"), "{printed}");
    assert!(support::fails(&mut yard.health_of(&["--nodes=3"]), 1).contains("2 of 3 nodes are there"));
}

#[test]
fn a_comparison_goes_on_with_who_is_left_where_that_is_asked_for() {
    let mut yard =
        Yard::of(&["rack0-0", "rack0-1", "rack1-0", "rack1-1"], &["--no-first-run", "--return-limit=1"]);
    let on = ["--cluster", &yard.address, "--certs=certs", "--shrink", "--json"];
    let what = [
        "compare",
        "--model=granite-1b",
        "--ranks-per-rack=2",
        "--tokens=4",
        "--rounds=2",
        "--warmup=0",
        "--latency=zero",
    ];
    let mut client = Process::start(&mut railyard(yard.dir.path(), &[&what[..], &on].concat()));
    client.says("[3/");
    drop(yard.nodes.remove(1));
    client.says("begun again on the ranks that were left, racks of 1, 2: ");
    let (code, printed, said) = client.end();
    let kept_up = code == Some(0) || said.iter().any(|line| line.contains("the host could not keep up"));
    assert!(kept_up, "{code:?}: {said:#?}");
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(report.get("complete").is_none());
    for row in report["rows"].as_array().expect("rows") {
        assert_eq!(row["verified"], true, "{row}");
    }
    let ranks: Vec<_> = measured(&report).iter().map(|row| row["ranks"].as_u64()).collect();
    assert!(ranks.len() == 9 && ranks.iter().all(|&ranks| ranks == Some(3)), "{ranks:?}");
}

#[test]
fn a_bench_runs_on_the_nodes_of_a_cluster() {
    let yard = Yard::start(&["--no-first-run"]);
    works(&mut yard.health_of(&["--nodes=2", "--wait=60"]));
    let bench = ["bench", "link", "--raw", "-b8K", "-e8K", "-n2", "--quiet", "--certs=certs", "--cluster"];
    let table = works(&mut railyard(yard.dir.path(), &[&bench[..], &[&yard.address]].concat()));
    let data: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let words: Vec<&str> = data[0].split_whitespace().collect();
    assert_eq!((data.len(), &words[..2], words[8]), (1, &["8192", "4096"][..], "0"), "{table}");
    // Ranks of a running cluster are told 10 ms and half a ms a rank before they begin, from where time counts.
    assert!(words[5].parse::<f64>().is_ok_and(|us| us >= 11_000.0), "{table}");
}
