//! Recorded routing from simllm traces (`simllm-preplay-trace-v1` and `-v2`): JSON Lines, one forwarded token a line.
//!
//! A line with a `routing` list has one entry per MoE layer, `{layer_index, expert_ids, gate_weights?}`; the entries
//! of all lines and layers are pooled into rows. The header line is optional and tells the number of experts and
//! top-k; other lines (requests, the footer) are passed over. Everything read is bounded.

use super::LoadError;
use super::lines::Lines;
use crate::routing::{MAX_RECORDED_ROWS, RecordedRows, first_repeated};
use crate::shape::{MAX_EXPERTS, MAX_TOP_K};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The schemas that are read.
const SCHEMAS: [&str; 2] = ["simllm-preplay-trace-v1", "simllm-preplay-trace-v2"];

/// A trace: its rows in file order, and what is known of the model it was recorded from.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The rows, pooled over tokens and layers.
    pub rows: RecordedRows,
    /// What the trace says of itself.
    pub info: TraceInfo,
}

/// What a trace says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceInfo {
    /// Rows: tokens times layers.
    pub num_rows: usize,
    /// Distinct layers.
    pub num_layers: u32,
    /// Experts of a layer: the header's `expert_count`, else the largest expert id plus one.
    pub num_experts: u32,
    /// Experts per row.
    pub top_k: u32,
}

/// Reads the trace in a file.
///
/// # Errors
/// [`LoadError`] names the file, the line and the remedy.
pub fn read_trace(path: &Path) -> Result<Trace, LoadError> {
    let origin = path.display().to_string();
    match File::open(path) {
        Ok(file) => parse_with_layers(Lines::new(BufReader::new(file), &origin)).map(|(trace, _)| trace),
        Err(error) => Err(LoadError::Io { origin, error }),
    }
}

/// A trace with the layer of each row.
pub(super) fn parse_with_layers(mut lines: Lines<'_>) -> Result<(Trace, Vec<u32>), LoadError> {
    let mut parser = Parser::default();
    while let Some(line) = lines.next::<Line>("a line of simllm's trace, its numbers finite")? {
        parser.read_line(line).map_err(|problem| lines.wrong(problem))?;
    }
    parser.finish().ok_or_else(|| LoadError::Unknown {
        origin: lines.origin.to_owned(),
        found: "no line has a non-empty 'routing' list".to_owned(),
        known: "a trace that was captured with routing".to_owned(),
    })
}

/// One line, as far as routing is concerned.
#[derive(Deserialize)]
struct Line {
    schema: Option<String>,
    provenance: Option<Provenance>,
    routing: Option<Vec<LayerRouting>>,
}

#[derive(Deserialize)]
struct Provenance {
    expert_count: Option<u32>,
    top_k: Option<u32>,
}

#[derive(Deserialize)]
struct LayerRouting {
    layer_index: u32,
    expert_ids: Vec<u32>,
    gate_weights: Option<Vec<f32>>,
}

#[derive(Default)]
struct Parser {
    /// Experts of a layer, where the header says so.
    num_experts: Option<u32>,
    /// From the header, else from the first row.
    top_k: Option<u32>,
    /// Layer that each row was recorded in, `[rows]`.
    layers: Vec<u32>,
    idx: Vec<u32>,
    weights: Vec<f32>,
}

/// What is wrong with a line is told with the remedy.
impl Parser {
    fn read_line(&mut self, line: Line) -> Result<(), String> {
        if let Some(schema) = line.schema.filter(|schema| !SCHEMAS.contains(&schema.as_str())) {
            return Err(format!("schema '{schema}'; give a trace of {}", SCHEMAS.join(" or ")));
        }
        if let Some(header) = line.provenance {
            self.read_header(&header)?;
        }
        line.routing.into_iter().flatten().try_for_each(|row| self.read_row(&row))
    }

    fn read_header(&mut self, header: &Provenance) -> Result<(), String> {
        if !self.idx.is_empty() {
            return Err("a header after rows; give one trace a file, its header first".to_owned());
        }
        for (field, value, max) in
            [("expert_count", header.expert_count, MAX_EXPERTS), ("top_k", header.top_k, MAX_TOP_K)]
        {
            if value.is_some_and(|value| value == 0 || value > max) {
                let value = value.unwrap_or(0);
                return Err(format!("{field} = {value}; give a number between 1 and {max}"));
            }
        }
        (self.num_experts, self.top_k) = (header.expert_count, header.top_k);
        Ok(())
    }

    fn read_row(&mut self, row: &LayerRouting) -> Result<(), String> {
        let (layer, k) = (row.layer_index, row.expert_ids.len());
        let top_k = match self.top_k {
            Some(top_k) => top_k,
            None if (1..=MAX_TOP_K as usize).contains(&k) => k as u32,
            None => {
                return Err(format!(
                    "{k} experts in layer {layer}; give between 1 and {MAX_TOP_K} experts a row"
                ));
            }
        };
        if k != top_k as usize {
            return Err(format!(
                "{k} experts in layer {layer}, {top_k} before; give one top_k throughout a trace"
            ));
        }
        let limit = self.num_experts.unwrap_or(MAX_EXPERTS);
        if let Some(expert) = row.expert_ids.iter().find(|&&expert| expert >= limit) {
            return Err(format!("expert {expert} in layer {layer}; give expert ids below {limit}"));
        }
        if let Some(expert) = first_repeated(&row.expert_ids) {
            return Err(format!(
                "expert {expert} twice in layer {layer}; give the distinct experts of each token"
            ));
        }
        if self.idx.len() / k >= MAX_RECORDED_ROWS {
            return Err(format!("more than {MAX_RECORDED_ROWS} rows; cut the trace"));
        }
        match &row.gate_weights {
            None => self.weights.extend(std::iter::repeat_n(1.0 / k as f32, k)),
            Some(weights) if weights.len() != k => {
                return Err(format!(
                    "{} gate weights for {k} experts in layer {layer}; give one weight an expert, or none at all",
                    weights.len()
                ));
            }
            Some(weights) => {
                if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
                    return Err(format!(
                        "gate weight {weight} in layer {layer}; give finite weights of at least 0"
                    ));
                }
                self.weights.extend_from_slice(weights);
            }
        }
        self.top_k = Some(top_k);
        self.layers.push(layer);
        self.idx.extend_from_slice(&row.expert_ids);
        Ok(())
    }

    /// Nothing without rows.
    fn finish(self) -> Option<(Trace, Vec<u32>)> {
        let (top_k, &largest) = (self.top_k?, self.idx.iter().max()?);
        let rows = RecordedRows { top_k, idx: self.idx, weights: self.weights };
        let info = TraceInfo {
            num_rows: rows.rows(),
            num_layers: self.layers.iter().collect::<BTreeSet<_>>().len() as u32,
            num_experts: self.num_experts.unwrap_or(largest + 1),
            top_k,
        };
        Some((Trace { rows, info }, self.layers))
    }
}

#[cfg(test)]
mod tests;
