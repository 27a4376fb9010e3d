//! A node's metrics from outside: what they count of a comparison, in base units, and who may not ask.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use support::process::{LIMIT, Process};
use support::{fails, railyard, works};

/// Sends these very bytes; all of the answer.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn get(address: &str, path: &str, host: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
}

#[test]
fn a_node_counts_what_it_does_and_shows_it_to_whom_it_may() {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    works(railyard(&["certs"]).arg(&certs).args(["--racks=2", "--ranks-per-rack=1"]));
    let small = ["--model=granite-1b", "--racks=2", "--ranks-per-rack=1", "--tokens=4", "--rounds=2"];
    let few = ["--latency=zero", "--scheme=flat"];
    let listen = ["coordinator", "--listen=127.0.0.1:0", "--nodes=2"];
    let mut command = railyard(&[&listen[..], &small, &few].concat());
    let mut coordinator = Process::start(command.arg("--certs").arg(&certs));
    let line = coordinator.says("listening on ");
    let at = line.split("listening on ").nth(1).expect("an address").trim().to_owned();
    let node = |name: &str| {
        let mut command = railyard(&["node", "--coordinator", &at, "--name", name, "--metrics=127.0.0.1:0"]);
        Process::start(command.arg("--certs").arg(&certs))
    };
    let (mut one, _other) = (node("rack0-0"), node("rack1-0"));
    let line = one.says("metrics: http://");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    coordinator.says("serving clients");

    let answer = get(address, "/metrics", "rack0-0:9464");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let text = answer.split_once("\r\n\r\n").expect("a head").1;
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words[2].starts_with("railyard_"), "{line}");
        assert_eq!(words[3] == "counter", words[2].ends_with("_total"), "{line}");
    }
    let value = |name: &str| -> f64 {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    assert!(value("railyard_node_registered ") == 1.0 && value("railyard_node_failures_total ") == 0.0);
    for more_than_nothing in [
        "railyard_node_frames_total ",
        "railyard_node_udp_bytes_total ",
        "railyard_node_cpu_seconds_total{clock=\"wall\"}",
        "railyard_node_lateness_seconds{clock=\"wall\"}",
        "railyard_node_phase_seconds_total{clock=\"emulated\",phase=\"dispatch\"}",
        "railyard_node_phase_seconds_total{clock=\"wall\",phase=\"expert\"}",
        "railyard_node_row_bytes_total{link=\"scale_out\",phase=\"combine\"}",
    ] {
        assert!(value(more_than_nothing) > 0.0, "{more_than_nothing}: {text}");
    }
    let phases = |phase: &str| value(&format!("railyard_node_phases_total{{phase=\"{phase}\"}}"));
    assert!(phases("dispatch") >= 2.0 && phases("dispatch") == phases("combine"), "{text}");
    assert_eq!(phases("hop"), 0.0);

    for (answer, status) in [
        (get(address, "/metrics", "evil.example"), 421),
        (get(address, "/", address), 404),
        (ask(address, "POST /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"), 405),
        (
            ask(
                address,
                "GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n",
            ),
            403,
        ),
    ] {
        assert_eq!(answer.get(9..12), Some(status.to_string().as_str()), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
    let error = fails(
        railyard(&["node", "--coordinator", &at, "--name=rack1-0"])
            .arg("--certs")
            .arg(&certs)
            .arg(format!("--metrics={address}")),
        1,
    );
    assert!(error.contains("--metrics") && error.contains("give another address or port"), "{error}");
}
