//! Certificates of a cluster that runs: renewed and removed under processes that go on.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A process of the cluster and the lines that it says.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child =
            railyard(dir, args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process");
        let (said, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, lines }
    }

    /// Waits until it says a line with `words` in it.
    fn says(&self, words: &str) -> String {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => said.push(line),
                Err(_) => panic!("no `{words}` in\n{}", said.join("\n")),
            }
        }
    }

    /// Exit code, once it has ended of itself, and what else it said.
    fn ends(mut self) -> (Option<i32>, String) {
        let said: Vec<_> = self.lines.iter().collect();
        (self.child.wait().expect("an end").code(), said.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn railyard(dir: &Path, args: &[&str]) -> Command {
    let mut command = support::railyard(args);
    command.current_dir(dir).env("RUST_LOG", "info").stdin(Stdio::null());
    command
}

/// Exit code and all that a command said.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = railyard(dir, args).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

fn certs(dir: &Path, more: &[&str]) -> String {
    let (code, said) = run(dir, &[&["certs", "authority", "--each", "certs"], more].concat());
    assert_eq!(code, Some(0), "{said}");
    said
}

fn health(dir: &Path, address: &str, more: &[&str]) -> (Option<i32>, String) {
    run(dir, &[&["health", "--coordinator", address, "--certs=certs/cli"], more].concat())
}

fn node(dir: &Path, address: &str, name: &str) -> Process {
    let home = format!("certs/{name}");
    Process::start(dir, &["node", "--coordinator", address, "--certs", &home, "--name", name])
}

/// A coordinator and two nodes, each with a directory of its own, and the coordinator's address.
fn cluster(dir: &Path) -> (Process, [Process; 2], String) {
    let args = ["coordinator", "--listen=127.0.0.1:0", "--certs=certs/coordinator", "--no-first-run"];
    let coordinator = Process::start(dir, &args);
    let line = coordinator.says("listening on ");
    let address = line.strip_prefix("listening on ").expect("an address").to_owned();
    let nodes = ["rack0-0", "rack1-0"].map(|name| node(dir, &address, name));
    for _ in &nodes {
        coordinator.says("NodeJoined");
    }
    (coordinator, nodes, address)
}

#[test]
fn certificates_are_renewed_under_a_cluster_that_runs() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path();
    // So short that each process warns of it.
    certs(dir, &["--racks=2", "--ranks-per-rack=1", "--days=20"]);
    let (coordinator, nodes, address) = cluster(dir);
    nodes[0].says("the certificate of rack0-0 ends in 1");
    let said = certs(dir, &["--renew"]);
    assert!(said.ends_with("0 certificates made, 4 renewed, 0 kept\n"), "{said}");
    for process in nodes.iter().chain([&coordinator]) {
        process.says("is taken up");
    }
    let (code, said) = health(dir, &address, &["--nodes=2"]);
    assert_eq!((code, said.starts_with("ok: 2 nodes")), (Some(0), true), "{said}");
    // Nobody has left, and nobody came a second time.
    let news: Vec<_> = coordinator.lines.try_iter().filter(|line| line.contains("Node")).collect();
    assert!(news.is_empty(), "{news:?}");
    let said = certs(dir, &["--racks=2", "--ranks-per-rack=1"]);
    assert!(said.ends_with("0 certificates made, 4 kept\n"), "{said}");
}

#[test]
fn a_removed_name_is_out_at_once_and_comes_back_with_a_new_certificate() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path();
    certs(dir, &["--racks=2", "--ranks-per-rack=1"]);
    let (coordinator, [stays, goes], address) = cluster(dir);
    let old = std::fs::read(dir.join("certs/rack1-0/rack1-0.pem")).expect("a certificate");
    certs(dir, &["--remove=rack1-0", "--remove=cli"]);
    // The node is closed by its coordinator, looks for it again, and is refused on both sides.
    let (code, said) = goes.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("our certificate's name was removed from the cluster"), "{said}");
    coordinator.says("node rack1-0 was removed from the cluster and is not let in");
    coordinator.says("shows the certificate of a name that was removed");
    let (code, said) = node(dir, &address, "rack1-0").ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`rack1-0` was removed from the cluster"), "{said}");
    assert!(said.contains("`railyard certs AUTHORITY --each certs --node rack1-0`"), "{said}");
    // The coordinator refuses whoever doesn't know it himself.
    std::fs::remove_file(dir.join("certs/cli/ca-removed.pem")).expect("the list");
    let (code, said) = health(dir, &address, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not let us in: our certificate's name was removed"), "{said}");

    let said = certs(dir, &["--racks=2", "--ranks-per-rack=1"]);
    assert!(said.ends_with("2 kept, none for removed rack1-0, cli\n"), "{said}");
    certs(dir, &["--racks=2", "--ranks-per-rack=1", "--node=rack1-0", "--client=cli"]);
    assert_ne!(old, std::fs::read(dir.join("certs/rack1-0/rack1-0.pem")).expect("a certificate"));
    let _back = node(dir, &address, "rack1-0");
    coordinator.says("NodeJoined");
    let (code, said) = health(dir, &address, &["--nodes=2"]);
    assert_eq!(code, Some(0), "{said}");
    drop(stays);
}
