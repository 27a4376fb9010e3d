//! Recorded routing from simllm traces (`simllm-preplay-trace-v1` and `-v2`): JSON Lines, one forwarded token a line.
//!
//! A line with a `routing` list has one entry per MoE layer, `{layer_index, expert_ids, gate_weights?}`; the entries
//! of all lines and layers are pooled into rows. The header line is optional and tells the number of experts and
//! top-k; other lines (requests, the footer) are passed over. Everything read is bounded.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use crate::routing::{MAX_RECORDED_ROWS, RecordedRows, first_repeated};
use crate::shape::{MAX_EXPERTS, MAX_TOP_K};

/// Longest line that is read, in bytes.
pub const MAX_LINE_BYTES: u64 = 16 << 20;
/// Largest trace that is read, in bytes.
pub const MAX_TRACE_BYTES: u64 = 4 << 30;
/// The schemas that are read.
pub const SCHEMAS: &[&str] = &["simllm-preplay-trace-v1", "simllm-preplay-trace-v2"];

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

/// Why a trace cannot be used; always with the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("{origin}: cannot be read: {error}; give a readable simllm JSON Lines trace")]
    Io {
        /// File that it was read from.
        origin: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is wrong.
    #[error("{origin}:{line}: {problem}; {remedy}")]
    Line {
        /// File that it was read from.
        origin: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// No line has routing.
    #[error("{origin}: no line has a non-empty 'routing' list; give a trace that was captured with routing")]
    Empty {
        /// File that it was read from.
        origin: String,
    },
}

/// Reads the trace in a file.
///
/// # Errors
/// [`TraceError`] names the file, the line and the remedy.
pub fn read_trace(path: &Path) -> Result<Trace, TraceError> {
    let origin = path.display().to_string();
    match File::open(path) {
        Ok(file) => parse_trace(BufReader::new(file), &origin),
        Err(error) => Err(TraceError::Io { origin, error }),
    }
}

/// Reads a trace from any reader (a `&[u8]` is one); `origin` names it in errors.
///
/// # Errors
/// As [`read_trace`].
pub fn parse_trace(reader: impl BufRead, origin: &str) -> Result<Trace, TraceError> {
    parse_with_layers(reader, origin).map(|(trace, _)| trace)
}

/// As [`parse_trace`], with the layer of each row.
pub(crate) fn parse_with_layers(
    mut reader: impl BufRead,
    origin: &str,
) -> Result<(Trace, Vec<u32>), TraceError> {
    let mut parser = Parser { origin, ..Parser::default() };
    let (mut text, mut bytes) = (Vec::new(), 0);
    loop {
        text.clear();
        let read = reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut text);
        let read = read.map_err(|error| TraceError::Io { origin: origin.to_owned(), error })? as u64;
        if read == 0 {
            return parser.finish();
        }
        parser.line += 1;
        bytes += read;
        if read > MAX_LINE_BYTES {
            return Err(
                parser.wrong(format!("longer than {MAX_LINE_BYTES} bytes"), "split the trace by line")
            );
        }
        if bytes > MAX_TRACE_BYTES {
            return Err(parser.wrong(format!("more than {MAX_TRACE_BYTES} bytes so far"), "cut the trace"));
        }
        if !text.trim_ascii().is_empty() {
            parser.read_line(&text)?;
        }
    }
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
struct Parser<'a> {
    origin: &'a str,
    line: usize,
    /// Experts of a layer, where the header says so.
    num_experts: Option<u32>,
    /// From the header, else from the first row.
    top_k: Option<u32>,
    /// Layer that each row was recorded in, `[rows]`.
    layers: Vec<u32>,
    idx: Vec<u32>,
    weights: Vec<f32>,
}

impl Parser<'_> {
    fn wrong(&self, problem: String, remedy: &str) -> TraceError {
        TraceError::Line {
            origin: self.origin.to_owned(),
            line: self.line,
            problem,
            remedy: remedy.to_owned(),
        }
    }

    fn read_line(&mut self, text: &[u8]) -> Result<(), TraceError> {
        let line: Line = serde_json::from_slice(text).map_err(|e| {
            self.wrong(format!("not a line of a trace: {e}"), "give simllm JSON Lines, finite numbers")
        })?;
        if let Some(schema) = line.schema.filter(|schema| !SCHEMAS.contains(&schema.as_str())) {
            let remedy = format!("give a trace of {}", SCHEMAS.join(" or "));
            return Err(self.wrong(format!("schema '{schema}'"), &remedy));
        }
        if let Some(header) = line.provenance {
            self.read_header(&header)?;
        }
        for entry in line.routing.into_iter().flatten() {
            self.read_row(&entry)?;
        }
        Ok(())
    }

    fn read_header(&mut self, header: &Provenance) -> Result<(), TraceError> {
        if !self.idx.is_empty() {
            return Err(
                self.wrong("a header after rows".to_owned(), "give one trace a file, its header first")
            );
        }
        for (field, value, max) in
            [("expert_count", header.expert_count, MAX_EXPERTS), ("top_k", header.top_k, MAX_TOP_K)]
        {
            if value.is_some_and(|value| value == 0 || value > max) {
                let problem = format!("{field} = {}", value.unwrap_or(0));
                return Err(self.wrong(problem, &format!("give a number between 1 and {max}")));
            }
        }
        (self.num_experts, self.top_k) = (header.expert_count, header.top_k);
        Ok(())
    }

    fn read_row(&mut self, row: &LayerRouting) -> Result<(), TraceError> {
        let (layer, k) = (row.layer_index, row.expert_ids.len());
        let top_k = match self.top_k {
            Some(top_k) => top_k,
            None if (1..=MAX_TOP_K as usize).contains(&k) => k as u32,
            None => {
                let problem = format!("{k} experts in layer {layer}");
                return Err(self.wrong(problem, &format!("give between 1 and {MAX_TOP_K} experts a row")));
            }
        };
        if k != top_k as usize {
            let problem = format!("{k} experts in layer {layer}, {top_k} before");
            return Err(self.wrong(problem, "give one top_k throughout a trace"));
        }
        let limit = self.num_experts.unwrap_or(MAX_EXPERTS);
        if let Some(expert) = row.expert_ids.iter().find(|&&expert| expert >= limit) {
            let problem = format!("expert {expert} in layer {layer}");
            return Err(self.wrong(problem, &format!("give expert ids below {limit}")));
        }
        if let Some(expert) = first_repeated(&row.expert_ids) {
            let problem = format!("expert {expert} twice in layer {layer}");
            return Err(self.wrong(problem, "give the distinct experts of each token"));
        }
        if self.idx.len() / k >= MAX_RECORDED_ROWS {
            return Err(self.wrong(format!("more than {MAX_RECORDED_ROWS} rows"), "cut the trace"));
        }
        match &row.gate_weights {
            None => self.weights.extend(std::iter::repeat_n(1.0 / k as f32, k)),
            Some(weights) if weights.len() != k => {
                let problem = format!("{} gate weights for {k} experts in layer {layer}", weights.len());
                return Err(self.wrong(problem, "give one weight an expert, or none at all"));
            }
            Some(weights) => {
                if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
                    let problem = format!("gate weight {weight} in layer {layer}");
                    return Err(self.wrong(problem, "give finite weights of at least 0"));
                }
                self.weights.extend_from_slice(weights);
            }
        }
        self.top_k = Some(top_k);
        self.layers.push(layer);
        self.idx.extend_from_slice(&row.expert_ids);
        Ok(())
    }

    fn finish(self) -> Result<(Trace, Vec<u32>), TraceError> {
        let (Some(top_k), Some(&largest)) = (self.top_k, self.idx.iter().max()) else {
            return Err(TraceError::Empty { origin: self.origin.to_owned() });
        };
        let rows = RecordedRows { top_k, idx: self.idx, weights: self.weights };
        let info = TraceInfo {
            num_rows: rows.rows(),
            num_layers: self.layers.iter().collect::<BTreeSet<_>>().len() as u32,
            num_experts: self.num_experts.unwrap_or(largest + 1),
            top_k,
        };
        Ok((Trace { rows, info }, self.layers))
    }
}

#[cfg(test)]
mod tests;
