//! Measured times from CSV: `tokens,nodes,phase,us`, or a column for each phase and number of nodes.

use std::fmt;

use super::CalibrationError;

/// Most measurements in a file.
pub const MAX_MEASUREMENTS: usize = 100_000;
const MAX_TOKENS: u32 = 1 << 20;
const MAX_NODES: u32 = 1 << 12;
const HEADERS: &str =
    "tokens,nodes,phase,us, or tokens and columns such as dispatch_1 and combine_2 (phase_nodes)";

/// One half of the all-to-all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Rows to the experts.
    Dispatch,
    /// Results on their way back.
    Combine,
}

impl Phase {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Dispatch, Self::Combine];

    fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.to_string() == text.to_lowercase())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
        })
    }
}

/// A line of a file of measured times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Tokens of one rank.
    pub tokens: u32,
    /// Nodes (racks) that ranks were spread over.
    pub nodes: u32,
    /// Dispatch or combine.
    pub phase: Phase,
    /// Average time, microseconds.
    pub us: f64,
}

/// Which columns a file has.
enum Columns {
    Long,
    Wide(Vec<(Phase, u32)>),
}

/// Reads measurements; empty lines and those that begin with `#` are skipped, `-` and nothing are no measurement.
///
/// # Errors
/// [`CalibrationError`] with file and line.
pub fn parse_measurements(text: &str, origin: &str) -> Result<Vec<Measurement>, CalibrationError> {
    let mut columns = None;
    let mut measurements = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let read = match &columns {
            None => header(&cells).map(|found| columns = Some(found)),
            Some(Columns::Long) => long(&cells).map(|found| measurements.extend(found)),
            Some(Columns::Wide(names)) => wide(&cells, names).map(|found| measurements.extend(found)),
        };
        let read = read.and_then(|()| match measurements.len() {
            0..=MAX_MEASUREMENTS => Ok(()),
            _ => Err(format!("more than {MAX_MEASUREMENTS} measurements")),
        });
        read.map_err(|problem| CalibrationError::Line { origin: origin.to_owned(), line: at + 1, problem })?;
    }
    if measurements.is_empty() {
        return Err(CalibrationError::Empty(origin.to_owned()));
    }
    Ok(measurements)
}

fn header(cells: &[&str]) -> Result<Columns, String> {
    let refused = |cell: &str| format!("column `{cell}`: a header is {HEADERS}");
    match cells {
        ["tokens", "nodes", "phase", "us"] => Ok(Columns::Long),
        ["tokens", names @ ..] if !names.is_empty() => {
            let column = |name: &&str| {
                let (phase, nodes) = name.split_once('_').ok_or_else(|| refused(name))?;
                Ok((Phase::named(phase).ok_or_else(|| refused(name))?, number("nodes", nodes, MAX_NODES)?))
            };
            names.iter().map(column).collect::<Result<_, _>>().map(Columns::Wide)
        }
        _ => Err(refused(cells.first().unwrap_or(&""))),
    }
}

fn long(cells: &[&str]) -> Result<Option<Measurement>, String> {
    let [tokens, nodes, phase, us] = cells else {
        return Err(format!("{} cells; give 4: tokens,nodes,phase,us", cells.len()));
    };
    let (tokens, nodes) = (number("tokens", tokens, MAX_TOKENS)?, number("nodes", nodes, MAX_NODES)?);
    let phase = Phase::named(phase).ok_or_else(|| format!("phase `{phase}`: give dispatch or combine"))?;
    Ok(micros(us)?.map(|us| Measurement { tokens, nodes, phase, us }))
}

fn wide(cells: &[&str], names: &[(Phase, u32)]) -> Result<Vec<Measurement>, String> {
    let [tokens, times @ ..] = cells else { return Err("no cells".to_owned()) };
    if times.len() != names.len() {
        return Err(format!("{} cells; the header has {}", cells.len(), names.len() + 1));
    }
    let tokens = number("tokens", tokens, MAX_TOKENS)?;
    let mut found = Vec::new();
    for (us, &(phase, nodes)) in times.iter().zip(names) {
        found.extend(micros(us)?.map(|us| Measurement { tokens, nodes, phase, us }));
    }
    Ok(found)
}

fn number(what: &str, text: &str, most: u32) -> Result<u32, String> {
    let found = text.parse().ok().filter(|number| (1..=most).contains(number));
    found.ok_or_else(|| format!("{what} `{text}`: give a whole number from 1 to {most}"))
}

fn micros(text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() || text == "-" {
        return Ok(None);
    }
    let found = text.parse().ok().filter(|us: &f64| us.is_finite() && (1e-3..=1e9).contains(us));
    found.map(Some).ok_or_else(|| format!("time `{text}`: give microseconds from 0.001 to 1000000000, or -"))
}
