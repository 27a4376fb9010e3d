//! Reads what the version before wrote: lines of serving records, a file of which has no first line that says of what.

use super::record::{Header, PointLine, Record};
use super::value::{Ordered, Settings, Value};
use crate::layer::{BackendKind, Verification};
use crate::scenario::distinct;
use serde::Deserialize;
use std::path::Path;

/// Version of results in which layers were the only subject; its lines are today's.
pub(super) const LAYER_VERSION: u32 = 1;

/// A line of `NAME.serve.jsonl`.
#[derive(Deserialize)]
struct Served {
    #[serde(rename = "schema_version")]
    _version: u32,
    settings: Settings,
    cost: String,
    clock: String,
    problem: Option<String>,
    #[serde(flatten)]
    own: Ordered<serde_json::Value>,
}

/// The points of lines of serving records; `None` if the first is none.
///
/// # Errors
/// What is wrong with a later one.
pub(super) fn served(texts: &[&str]) -> Option<Result<Vec<(PointLine, String)>, String>> {
    texts.first().and_then(|text| line(0, text).ok())?;
    let read = |(at, text): (usize, &&str)| {
        line(at, text)
            .map(|line| (line, (*text).to_owned()))
            .map_err(|error| format!("line {}: {error}", at + 1))
    };
    Some(texts.iter().enumerate().map(read).collect())
}

fn line(point: usize, text: &str) -> serde_json::Result<PointLine> {
    let Served { _version, settings, cost, clock, problem, mut own } = serde_json::from_str(text)?;
    let backend = match (clock.as_str(), cost.as_str()) {
        ("measured", _) => BackendKind::Quic,
        (_, "analytic") => BackendKind::Analytic,
        _ => BackendKind::Sim,
    };
    let checked = backend == BackendKind::Quic;
    own.0.splice(0..0, [("cost".to_owned(), cost.into()), ("clock".to_owned(), clock.into())]);
    let record = Record {
        backend,
        verification: if checked { Verification::Outputs } else { Verification::NothingRan },
        verified: true,
        valid: problem.is_none(),
        problem,
        own,
    };
    let seed = settings.get("serve.seed").and_then(Value::seed).unwrap_or(1);
    Ok(PointLine { point, settings, seed, command: String::new(), records: vec![record] })
}

/// A first line for them.
pub(super) fn header(path: &Path, lines: &[(PointLine, String)]) -> Header {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".jsonl").unwrap_or(name);
    let keys = lines.iter().flat_map(|(line, _)| &line.settings.0).map(|(key, _)| key.clone());
    let records = || lines.iter().flat_map(|(line, _)| &line.records);
    let ran = |kind: &BackendKind| records().any(|record| record.backend == *kind);
    Header {
        schema_version: LAYER_VERSION,
        name: name.strip_suffix(".serve").unwrap_or(name).to_owned(),
        subject: "serving".to_owned(),
        experiment: "of the version before".to_owned(),
        swept: distinct(keys),
        seeds: lines.first().map(|(line, _)| line.seed).into_iter().collect(),
        backends: BackendKind::ALL.into_iter().filter(ran).collect(),
        points: lines.len(),
        shard: 1,
        shards: 1,
        ..Header::default()
    }
}
