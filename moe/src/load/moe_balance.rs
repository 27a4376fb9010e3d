//! moe-balance's trace: JSON lines, one for each layer and batch.

use serde::Deserialize;

use super::format::Format;
use super::lines::Lines;
use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError};

const EXPECTED: &str = r#"{"layer", "batch_id", "origin_rows": [row of devices of each token], "topk_experts": [[expert, ...], ...]}"#;

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "moe-balance's `topk_experts`",
    keys: &["topk_experts"],
    document: None,
    lines: Some(parse),
};

#[derive(Deserialize)]
struct Line {
    layer: u32,
    batch_id: u64,
    /// Traces for analysis have none.
    origin_rows: Option<Vec<u32>>,
    topk_experts: Vec<Vec<i64>>,
    topk_weights: Option<Vec<Vec<f32>>>,
}

/// Reads a trace; a batch is a step, a row of devices a rank.
fn parse(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let mut gathered = Gathered::default();
    while let Some(line) = lines.next::<Line>(EXPECTED)? {
        let tokens = line.topk_experts.len();
        let origins = line.origin_rows.as_ref().map(Vec::len);
        let weights = line.topk_weights.as_ref().map(Vec::len);
        for (what, found) in [("origin_rows", origins), ("topk_weights", weights)] {
            if let Some(found) = found.filter(|&found| found != tokens) {
                return Err(lines.wrong(format!("{found} {what} for {tokens} tokens; give one a token")));
            }
        }
        for (at, experts) in line.topk_experts.iter().enumerate() {
            let row = PickedRow {
                experts,
                weights: line.topk_weights.as_ref().map(|weights| weights[at].as_slice()),
                rank: line.origin_rows.as_ref().map(|origins| origins[at]),
                step: Some(line.batch_id),
            };
            gathered.push((0, line.layer), &row).map_err(|problem| lines.wrong(problem))?;
        }
    }
    gathered.finish(None, lines.origin)
}
