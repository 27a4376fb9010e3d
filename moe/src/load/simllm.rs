//! simllm's trace, one forwarded token a line: read as by [`crate::trace`], but with its layers apart.

use std::io::BufRead;

use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError};
use crate::trace::parse_with_layers;

/// Reads a trace; a weight that is not there is an equal share, as in [`crate::trace`].
pub(super) fn parse(reader: impl BufRead, origin: &str) -> Result<ExpertLoad, LoadError> {
    let (trace, layers) = parse_with_layers(reader, origin)?;
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
