//! The yard over HTTP, as browsers and scripts meet it: what it shows, what it takes from whom, and what it refuses.

mod support;

use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use support::process::{LIMIT, Process};

const TOKEN: &str = "0123456789abcdef0123";
const WITH_TOKEN: &str = "authorization: Bearer 0123456789abcdef0123\r\n";

/// Four ranks in this process behind a page.
struct Yard {
    process: Process,
    address: String,
}

impl Yard {
    fn start() -> Self {
        let args = [
            "compare",
            "--model=granite-1b",
            "--racks=2",
            "--ranks-per-rack=2",
            "--tokens=4",
            "--rounds=2",
            "--latency=zero",
            "--scheme=hierarchical",
            "--in-process",
            "--ui=127.0.0.1:0",
        ];
        let mut process = Process::start(support::railyard(&args).env("RAILYARD_UI_TOKEN", TOKEN));
        let line = process.says("the yard: http://");
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        let address = address.to_owned();
        Self { process, address }
    }

    /// Sends these very bytes; the status and the rest of the answer.
    #[track_caller]
    fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        // It may answer, and close, before all of a request that is too long has arrived.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|code| code.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {answer}")), answer)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let (host, length) = (&self.address, body.len());
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "", "");
        assert_eq!(status, 200, "{answer}");
        json_of(&answer)
    }

    /// Follows events until `enough` says so.
    fn follow(&self, mut enough: impl FnMut(&str, &Value) -> bool) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        write!(stream, "GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).expect("sent");
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut bytes).expect("events in time");
            assert!(read > 0, "the stream ended");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            while let Some((line, rest)) = text.split_once("\n\n") {
                let event = line.split_once("event: ").and_then(|(_, event)| event.split_once("\ndata: "));
                // The chunks' lengths stand between the lines of events.
                let heard = event.and_then(|(name, data)| Some((name, serde_json::from_str(data).ok()?)));
                if heard.is_some_and(|(name, data)| enough(name, &data)) {
                    return;
                }
                text = rest.to_owned();
            }
        }
    }

    fn wait_until_done(&self) {
        self.follow(|name, runs| {
            let states = runs.as_array().into_iter().flatten().map(|run| run["state"].as_str());
            name == "runs"
                && states.clone().count() > 0
                && states.into_iter().all(|state| state == Some("done"))
        });
    }
}

fn json_of(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn a_comparison_is_watched_asked_for_and_cancelled() {
    let yard = Yard::start();
    yard.wait_until_done();
    // The first one was asked for by the command itself.
    let runs = yard.get("/v1/runs")["runs"].clone();
    assert_eq!(runs.as_array().expect("a list").len(), 1);
    assert_eq!(
        runs[0]["title"],
        "granite-1b on 2 racks of 2 talk-gb200 ranks, 4 tokens a rank, uniform routing, throttle 8"
    );
    let cluster = yard.get("/v1/cluster");
    assert_eq!(cluster["nodes"].as_array().expect("nodes").len(), 4);
    assert_eq!(cluster["nodes"][3], json!({ "name": "rack1-1", "silent": false }));
    // Another one, simulated at once, then measured.
    let asked = r#"{"model":"granite-1b","ranks_per_rack":2,"tokens":8,"latency":["zero"],"scheme":["dedup"],"rounds":2}"#;
    let (status, answer) = yard.ask("POST", "/v1/experiments", WITH_TOKEN, asked);
    assert_eq!(status, 200, "{answer}");
    let simulated = json_of(&answer);
    let (status, answer) = yard.ask("POST", "/v1/runs", WITH_TOKEN, asked);
    assert_eq!(status, 202, "{answer}");
    let id = json_of(&answer)["id"].as_str().expect("an id").to_owned();
    // A third waits behind it, or is begun, and is taken back.
    let (_, answer) = yard.ask("POST", "/v1/runs", WITH_TOKEN, asked);
    let third = json_of(&answer)["id"].as_str().expect("an id").to_owned();
    assert_eq!(yard.ask("DELETE", &format!("/v1/runs/{third}"), WITH_TOKEN, "").0, 204);
    yard.wait_until_done();
    let report = yard.get(&format!("/v1/runs/{id}/report"));
    let times = |report: &Value| -> Vec<Value> {
        let rows = report["rows"].as_array().expect("rows").iter();
        rows.filter(|row| row["backend"] == "sim").map(|row| row["a2a_us"].clone()).collect()
    };
    assert_eq!(times(&report), times(&simulated), "a simulation says the same wherever it runs");
    assert!(report["rows"].as_array().expect("rows").iter().any(|row| row["backend"] == "quic"));
    let (status, page) = yard.ask("GET", &format!("/v1/runs/{id}/page"), "", "");
    assert!(status == 200 && page.contains("2 racks: dedup"), "{page}");
    assert_eq!(yard.ask("DELETE", &format!("/v1/runs/{id}"), WITH_TOKEN, "").0, 409);
    assert_eq!(yard.ask("GET", &format!("/v1/runs/{third}"), "", "").0, 404);
    // A step was seen, with the bytes that its row counts.
    yard.follow(|name, step| {
        name == "step"
            && step["rack_sizes"].as_array().is_some_and(|sizes| sizes.len() == 2 || sizes.len() == 1)
    });
    yard.process.signal(Signal::INT);
    let (code, printed, said) = yard.process.end();
    assert!(matches!(code, Some(0 | 1)), "{said:#?}");
    assert!(printed.contains("2 racks: hierarchical"), "{printed}");
}

#[test]
fn who_may_not_ask_is_told_so_and_changes_nothing() {
    let yard = Yard::start();
    let asked = r#"{"backend":"sim","model":"granite-1b"}"#;
    let wrong = "authorization: Bearer 0123456789abcdef0124\r\n";
    for (method, path, headers, body, expected) in [
        ("POST", "/v1/runs", "", asked, 401),
        ("POST", "/v1/runs", wrong, asked, 401),
        ("POST", "/v1/experiments", "", asked, 401),
        ("DELETE", "/v1/runs/00000000000000000000000000000000", "", "", 401),
        ("DELETE", "/v1/runs/00000000000000000000000000000000", WITH_TOKEN, "", 404),
        ("GET", "/v1/runs/..%2f..%2fetc", "", "", 404),
        ("GET", "/v1/nothing", "", "", 404),
        ("PUT", "/v1/runs", WITH_TOKEN, asked, 405),
        ("GET", "/v1/runs", "origin: http://evil.example\r\n", "", 403),
        ("GET", "/v1/runs", "origin: null\r\n", "", 403),
        ("POST", "/v1/runs", "authorization: Basic 0123456789abcdef0123\r\n", asked, 401),
    ] {
        let (status, answer) = yard.ask(method, path, headers, body);
        assert_eq!(status, expected, "{method} {path} {headers}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
        assert!(json_of(&answer)["problem"].is_string());
    }
    let (status, answer) =
        yard.raw("GET /v1/runs HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(status, 421, "{answer}");
    let (status, _) = yard
        .raw("GET /v1/runs HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(status, 400);
    // Guessing is stopped.
    let statuses: Vec<u16> = (0..30).map(|_| yard.ask("POST", "/v1/runs", wrong, asked).0).collect();
    assert!(statuses.contains(&429) && !statuses.contains(&202), "{statuses:?}");
    assert_eq!(yard.get("/v1/runs")["runs"].as_array().expect("a list").len(), 1);
}

#[test]
fn what_is_asked_for_is_refused_by_name() {
    let yard = Yard::start();
    let long = format!("{{\"model\":\"{}\"}}", "x".repeat(80_000));
    for (body, expected, said) in [
        (r#"{"model":"/etc/passwd"}"#, 400, "files are for the command line"),
        (r#"{"hardware":"cluster.toml"}"#, 400, "files are for the command line"),
        (r#"{"routing":"trace:/etc/passwd"}"#, 400, "files are for the command line"),
        (r#"{"routing":["loads:/etc/passwd"]}"#, 400, "files are for the command line"),
        (r#"{"placement":"exec:touch /tmp/x"}"#, 400, "files are for the command line"),
        (r#"{"tokns":3}"#, 400, "`tokns`: no such word"),
        (r#"{"memory_limit":"1T"}"#, 400, "no such word"),
        (r#"{"tokens":{"a":1}}"#, 400, "give a text or a number"),
        (r#"{"tokens":-1}"#, 400, "tokens"),
        (r#"{"tokens":[1,2]}"#, 400, "`tokens`: 2 values, and it takes one"),
        (r#"{"racks":100000}"#, 400, "`ranks`: 800000 in all"),
        (r#"{"seeds":"1-100"}"#, 400, "`seeds`: 100 in all"),
        (r#"{"model":"granite-1b","racks":3,"ranks_per_rack":2}"#, 409, "6 ranks, and 4 nodes are there"),
        ("[1]", 400, "an object with words"),
        ("{", 400, "an object with words"),
        (&long, 413, "bytes at most"),
    ] {
        let (status, answer) = yard.ask("POST", "/v1/runs", WITH_TOKEN, body);
        assert_eq!(status, expected, "{answer}");
        assert!(answer.contains(said), "{said}: {answer}");
    }
}

#[test]
fn connections_are_bounded_and_metrics_have_units() {
    let yard = Yard::start();
    let idle: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(&yard.address).expect("the system takes it")).collect();
    // Those beyond the limit are closed; the others may still ask.
    let closed = idle.iter().filter(|stream| {
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a socket");
        matches!((&mut &**stream).read(&mut [0; 1]), Ok(0))
    });
    assert!(closed.count() >= 130);
    drop(idle);
    yard.wait_until_done();
    let (status, answer) = yard.ask("GET", "/metrics", "", "");
    assert_eq!(status, 200, "{answer}");
    let text = answer.split_once("\r\n\r\n").expect("a head").1;
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words[2].starts_with("railyard_"), "{line}");
        assert_eq!(words[3] == "counter", words[2].ends_with("_total"), "{line}");
    }
    for known in [
        "railyard_nodes{state=\"heard\"} 4",
        "railyard_steps_total",
        "railyard_row_bytes_total{link=\"scale_out\",phase=\"dispatch\"}",
    ] {
        assert!(text.contains(known), "{known}: {text}");
    }
}
