//! The table of an experiment key by key.

use std::io::{self, BufRead};

use super::tests::{LENGTHS, build, no_file};
use super::*;

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(build(text).unwrap_err().to_string(), expected);
}

#[test]
fn a_trace_is_opened_by_its_name() {
    let spec: ArrivalSpec =
        toml::from_str("kind = \"trace\"\nfile = \"a.csv\"\nnum_prompts = 1\ntenants = 2").unwrap();
    let mut open = |name: &str| -> io::Result<Box<dyn BufRead>> {
        assert_eq!(name, "a.csv");
        Ok(Box::new(&b"arrived_at,num_prefill_tokens,num_decode_tokens\n1,2,3\n4,5,6\n"[..]))
    };
    let mut source = spec.build(1, &mut open).unwrap();
    assert_eq!(source.summary.unwrap().requests, 1);
    assert_eq!(source.arrivals.take_next().unwrap().unwrap().input_tokens, 2);
    assert_eq!(source.arrivals.take_next(), Ok(None));
}

#[test]
fn wrong_tables_are_refused_with_a_remedy() {
    let with = |text: &str| format!("{text}\n{LENGTHS}");
    refused(
        &with("kind = \"poisson\"\nnum_prompts = 1"),
        "request_rate = (nothing): give requests a second, above 0",
    );
    refused(
        &with("kind = \"poisson\"\nrequest_rate = 1"),
        "num_prompts = (nothing): requests would never end; give it, or duration_s",
    );
    refused(&with("kind = \"burst\""), "num_prompts = (nothing): requests would never end; give it");
    refused(
        &with("kind = \"poisson\"\nrequest_rate = -1.5\nnum_prompts = 1"),
        "request_rate = -1.5: give a number from 0.000001 to 1000000000",
    );
    refused(
        &with("kind = \"poisson\"\nrequest_rate = inf\nnum_prompts = 1"),
        "request_rate = inf: kind = \"burst\" sends all requests at once",
    );
    refused(
        &with("kind = \"poisson\"\nrequest_rate = 1\nburstiness = 2\nnum_prompts = 1"),
        "burstiness = ...: kind = \"poisson\" doesn't have this key; leave it out (it is for \"gamma\", \"trace\")",
    );
    refused(
        &with("kind = \"closed\"\nnum_prompts = 1"),
        "users = (nothing): a closed loop needs users: give 1 or more",
    );
    refused(
        &with("kind = \"closed\"\nusers = 0\nnum_prompts = 1"),
        "users = 0: give a number from 1 to 1048576",
    );
    refused(
        &with("kind = \"constant\"\nrequest_rate = 1\nduration_s = nan"),
        "duration_s = NaN: give a number from 0 to 9223372",
    );
    refused(
        &with("kind = \"burst\"\nnum_prompts = 1\ntenants = 2\ntenant_weights = [1]"),
        "tenant_weights = 1 weights: give one for each of the 2 tenants",
    );
    refused("kind = \"trace\"", "file = (nothing): give the file of the trace");
    refused("kind = \"trace\"\nfile = \"x\"", "file = x: can't be opened: no files here");
}

#[test]
fn wrong_lengths_are_refused_with_a_remedy() {
    let with = |text: &str| format!("kind = \"burst\"\nnum_prompts = 1\noutput_len = 1\n{text}");
    refused(&with(""), "input_len = (nothing): give a number of tokens, or a table with dist, min and max");
    refused(&with("input_len = 0"), "input_len = 0: give a number from 1 to 16777216");
    refused(&with("input_len = 99999999999"), "input_len = 4294967295: give a number from 1 to 16777216");
    refused(
        &with("input_len = { dist = \"uniform\", min = 5, max = 4 }"),
        "input_len = 5 to 4: give min no larger than max",
    );
    refused(
        &with("input_len = { dist = \"lognormal\", sigma = 1, max = 4 }"),
        "input_len = (nothing): a log-normal length needs its median or its mean",
    );
    refused(
        &with("input_len = 16777216\n[prefixes]\nnum_prefixes = 1\nprefix_len = 512"),
        "prefix_len = 512: with an input_len of 16777216 a prompt would pass 16777216 tokens; give less",
    );
    refused(
        &with("input_len = 10\n[prefixes]\nnum_prefixes = 1\nprefix_len = 511"),
        "prefix_len = 511: give at least a block of 512 tokens: nothing shorter is shared",
    );
    for (text, expected) in [
        ("input_len = -1", "a length below 0; give a number of tokens"),
        ("input_len = \"long\"", "expected a number of tokens, or a table with dist"),
        ("input_len = { dist = \"uniform\", min = 1, max = 2, mid = 3 }", "unknown field `mid`"),
        ("rate = 5", "unknown field `rate`"),
    ] {
        let error = toml::from_str::<ArrivalSpec>(&with(text)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_example_of_the_documentation_runs() {
    #[derive(serde::Deserialize)]
    struct Experiment {
        arrivals: ArrivalSpec,
    }
    let page = include_str!("../../../docs/traces.md");
    let (_, example) = page.split_once("```toml\n").unwrap();
    let experiment: Experiment = toml::from_str(example.split_once("```").unwrap().0).unwrap();
    let mut arrivals = experiment.arrivals.build(1, &mut no_file).unwrap().arrivals;
    assert!(arrivals.take_next().unwrap().unwrap().input_tokens > 2048);
}

#[test]
fn a_table_is_written_as_it_was_read() {
    let text = "kind = \"gamma\"\nrequest_rate = 2.0\nburstiness = 0.5\nnum_prompts = 10\ninput_len = 5\n\n\
        [output_len]\ndist = \"lognormal\"\nmedian = 100.0\nsigma = 0.5\nmax = 1000\n";
    let spec: ArrivalSpec = toml::from_str(text).unwrap();
    assert_eq!(toml::to_string(&spec).unwrap(), text);
}
