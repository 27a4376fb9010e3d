//! simllm's trace, one forwarded token a line: read as by [`super::trace`], but with its layers apart.

use super::format::Format;
use super::lines::Lines;
use super::picks::{Gathered, PickedRow};
use super::trace::parse_with_layers;
use super::{ExpertLoad, LoadError};

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "simllm's `routing`",
    keys: &["routing", "provenance", "row_type"],
    document: None,
    lines: Some(parse),
};

/// Reads a trace; a weight that is not there is an equal share, as in [`super::trace`].
fn parse(lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let origin = lines.origin;
    let (trace, layers) = parse_with_layers(lines)?;
    let k = trace.rows.top_k as usize;
    let mut gathered = Gathered::default();
    for ((layer, idx), weights) in
        layers.into_iter().zip(trace.rows.idx.chunks_exact(k)).zip(trace.rows.weights.chunks_exact(k))
    {
        let experts: Vec<i64> = idx.iter().map(|&expert| expert.into()).collect();
        let row = PickedRow { experts: &experts, weights: Some(weights), ..PickedRow::default() };
        gathered
            .push((0, layer), &row)
            .map_err(|problem| LoadError::Size { origin: origin.to_owned(), problem })?;
    }
    gathered.finish(Some(trace.info.num_experts), origin)
}
