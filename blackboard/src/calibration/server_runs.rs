//! Servers that ran: tokens a second from CSV, a header first, each line a run; and the step of a deployment that stands for it.

use super::CalibrationError;
use super::measurements::separator_of;
use crate::BlackboardError;
use crate::deployment::{Deployment, Mode};
use crate::units::{DollarsPerS, Tokens};
use moe::work::{CommonWeights, Drafts};
use moe::{DispatchScheme, Model};
use topology::{Dtype, Hardware};

/// Most runs in a file.
const MAX_RUNS: usize = 10_000;
/// The column that tells a file of server runs from one of times.
const RATE: &str = "tokens_per_s_per_gpu";
const COLUMNS: [&str; 10] =
    ["name", "model", "gpu", "phase", "ep", "nodes", "sequences_per_gpu", "context", "weights", RATE];
/// Columns that can be left out: a run's name, nodes (as the accelerator's racks are built), weights (FP8).
const OPTIONAL: [&str; 3] = ["name", "nodes", "weights"];

/// A server that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// File and line, for messages.
    pub at: String,
    /// Whose.
    pub name: String,
    /// The model, a preset.
    pub model: Model,
    /// Preset of the accelerator, in the name that the file has.
    pub gpu: String,
    /// Whether it computed prompts; else it decoded.
    pub prompts: bool,
    /// Ranks of the expert-parallel group.
    pub ranks: u32,
    /// Racks (nodes) that they were spread over.
    pub racks: u32,
    /// Sequences on a rank; of prompts, tokens of a step on a rank.
    pub load: f64,
    /// Whether the load was published, and not assumed (`~`).
    pub load_known: bool,
    /// Tokens of context in decode, of a prompt in prefill.
    pub context: f64,
    /// Format of the weights.
    pub weights: Dtype,
    /// Tokens a second and rank.
    pub tokens_per_s: f64,
}

impl Served {
    /// Its accelerator at nominal rates.
    ///
    /// # Errors
    /// [`CalibrationError::Layer`] for a preset that there isn't, which reading refuses.
    pub fn nominal(&self) -> Result<Hardware, CalibrationError> {
        Ok(Hardware::preset(&self.gpu).map_err(BlackboardError::from)?)
    }

    /// What was done, as errors are grouped: accelerator and phase.
    #[must_use]
    pub fn column(&self) -> String {
        format!("{} {}", self.gpu, if self.prompts { "prefill" } else { "decode" })
    }

    /// A step of it on `hardware`, whose parts add up by `mode`.
    ///
    /// Copies travel flat in decode and hierarchically in prefill; the cache is BF16, attention on each rank's own sequences, nothing is drafted.
    #[must_use]
    pub fn deployment(&self, hardware: Hardware, mode: Mode) -> Deployment {
        let sequences = f64::from(self.ranks) * self.load / if self.prompts { self.context } else { 1.0 };
        Deployment {
            model: self.model.clone(),
            dtype: self.weights,
            kv_dtype: Dtype::Bf16,
            ranks: self.ranks,
            racks: Some(self.racks),
            hardware,
            stages: 1,
            tp: 1,
            common: CommonWeights::Replicated,
            drafts: Drafts::default(),
            memory_share: 1.0,
            micro_batches: None,
            batch: Tokens(sequences),
            context: Tokens(if self.prompts { 0.0 } else { self.context }),
            prompt: Tokens(if self.prompts { self.context } else { 0.0 }),
            scheme: if self.prompts { DispatchScheme::Hierarchical } else { DispatchScheme::Flat },
            tokens_per_rank: None,
            latency: true,
            price: DollarsPerS::per_hour(2.0),
            mode,
        }
    }

    /// Tokens a second and rank that the closed form of `hardware` says, parts adding up by `mode`.
    ///
    /// # Errors
    /// As [`Deployment::estimate`], with the run's place.
    pub fn said(&self, hardware: &Hardware, mode: Mode) -> Result<f64, CalibrationError> {
        let estimate = self.deployment(hardware.clone(), mode).estimate();
        estimate
            .map(|estimate| estimate.tokens_per_s_per_rank)
            .map_err(|error| self.impossible(error.to_string()))
    }

    /// Refuses it with its place.
    pub(super) fn impossible(&self, problem: String) -> CalibrationError {
        CalibrationError::Impossible { at: self.at.clone(), problem }
    }
}

/// Whether `text` is a table of server runs: its header has `tokens_per_s_per_gpu`.
#[must_use]
pub fn is_server_runs(text: &str) -> bool {
    let header = text.trim_start_matches('\u{feff}').lines().find(|line| is_line(line));
    header
        .is_some_and(|line| line.split(separator_of(line)).any(|cell| cell.trim().eq_ignore_ascii_case(RATE)))
}

fn is_line(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

/// Reads runs, cells between commas, semicolons or tabs as the header has them: model, gpu, phase (decode or prefill), ep, sequences_per_gpu
/// (`128`; `16384 tokens` of a step of prompts; `~256` where it was assumed), context, tokens_per_s_per_gpu, and at will name, nodes, weights.
///
/// # Errors
/// [`CalibrationError`] with file and line.
pub fn parse_served(text: &str, origin: &str) -> Result<Vec<Served>, CalibrationError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate().filter(|(_, line)| is_line(line));
    let refuse =
        |at: usize, problem| CalibrationError::Line { origin: origin.to_owned(), line: at + 1, problem };
    let empty = || CalibrationError::Empty {
        origin: origin.to_owned(),
        example: "model,gpu,phase,ep,sequences_per_gpu,context,tokens_per_s_per_gpu",
    };
    let (head, header) = lines.next().ok_or_else(empty)?;
    let separator = separator_of(header);
    let columns = read_header(header, separator).map_err(|problem| refuse(head, problem))?;
    let mut runs = Vec::new();
    for (at, line) in lines {
        if runs.len() == MAX_RUNS {
            return Err(refuse(at, format!("more than {MAX_RUNS} server runs")));
        }
        let cells: Vec<&str> = line.split(separator).map(str::trim).collect();
        let run = read_line(&cells, &columns, format!("{origin}:{}", at + 1));
        runs.push(run.map_err(|problem| refuse(at, problem))?);
    }
    if runs.is_empty() { Err(empty()) } else { Ok(runs) }
}

/// Which of [`COLUMNS`] each cell is.
fn read_header(header: &str, separator: char) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for cell in header.split(separator).map(str::trim) {
        let known = COLUMNS.iter().find(|name| name.eq_ignore_ascii_case(cell));
        let name = *known
            .ok_or_else(|| format!("column `{cell}`: of server runs known are {}", COLUMNS.join(", ")))?;
        if columns.contains(&name) {
            return Err(format!("column `{cell}` is there twice; give it once"));
        }
        columns.push(name);
    }
    let lacking = COLUMNS.iter().find(|name| !columns.contains(name) && !OPTIONAL.contains(name));
    lacking.map_or(Ok(columns), |name| Err(format!("no column `{name}`, which server runs have")))
}

fn read_line(cells: &[&str], columns: &[&str], at: String) -> Result<Served, String> {
    if cells.len() != columns.len() {
        return Err(format!("{} cells; the header has {}", cells.len(), columns.len()));
    }
    let cell = |name: &str| {
        let found = columns.iter().position(|column| *column == name).map(|place| cells[place]);
        found.filter(|cell| !cell.is_empty() && *cell != "-")
    };
    let need = |name: &str| cell(name).ok_or_else(|| format!("{name} is missing"));
    let number = |name: &str, text: &str| {
        let found = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
        found.ok_or_else(|| format!("{name} `{text}`: give a number above 0"))
    };
    let whole = |name: &str, text: &str| {
        let found = text.parse().ok().filter(|number: &u32| (1..=1 << 16).contains(number));
        found.ok_or_else(|| format!("{name} `{text}`: give a whole number from 1 to 65536"))
    };
    let phase = need("phase")?;
    let prompts = topology::named(phase, &[("decode", false), ("prefill", true)])
        .map_err(|problem| format!("phase {problem}"))?;
    let gpu = need("gpu")?.to_lowercase();
    let hardware = Hardware::preset(&gpu).map_err(|error| error.to_string())?;
    if hardware.kernels.is_some() || hardware.layer.is_some() || hardware.serving.is_some() {
        return Err(format!("gpu `{gpu}` is a profile; give the accelerator, such as h100"));
    }
    let ranks = whole("ep", need("ep")?)?;
    let racks = cell("nodes").map(|nodes| whole("nodes", nodes)).transpose()?;
    let load = need("sequences_per_gpu")?;
    let (known, tokens) = (!load.starts_with('~'), load.ends_with("tokens"));
    if tokens && !prompts {
        return Err(format!(
            "sequences_per_gpu `{load}`: a step that decodes has sequences; give their number"
        ));
    }
    let bare = load.trim_start_matches('~').trim_end_matches("tokens").trim();
    let (load, context) = (number("sequences_per_gpu", bare)?, number("context", need("context")?)?);
    let weights = cell("weights").map_or(Ok(Dtype::Fp8), |text| {
        text.to_lowercase().parse().map_err(|problem| format!("weights {problem}"))
    })?;
    Ok(Served {
        name: cell("name").unwrap_or(&at).to_owned(),
        at,
        model: Model::preset(need("model")?).map_err(|error| error.to_string())?,
        racks: racks.unwrap_or_else(|| ranks.div_ceil(hardware.domain_ranks)),
        gpu,
        prompts,
        ranks,
        // Of prompts without a unit, sequences are meant.
        load: if prompts && !tokens { load * context } else { load },
        load_known: known,
        context,
        weights,
        tokens_per_s: number(RATE, need(RATE)?)?,
    })
}
