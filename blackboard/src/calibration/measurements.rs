//! Measured times from CSV: any mixture of the columns below, a header first; each cell with a time is a measurement.

use super::{CalibrationError, Layer, Routing};
use moe::DispatchScheme;
use std::fmt;
use topology::RowFormat;

/// Most measurements in a file.
pub const MAX_MEASUREMENTS: usize = 100_000;
const MAX_TOKENS: u32 = 1 << 24;
const MAX_RANKS: u32 = 1 << 16;
/// A kernel that was launched takes no less.
const LEAST_US: f64 = 1.0;
const COLUMNS: &str = "tokens (or tokens_per_rank), nodes, ep, experts, sms, kernel, row_dtype, library, gpu, nic; times: dispatch_us, \
                       combine_us, combine_low_precision_us, dispatch_notify_us, combine_notify_us, prepare_us; of whole layers unfused_us (or layer_us) and \
                       fused_us; or phase and us; of server runs tokens_per_s_per_gpu";

/// What was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Rows to the experts.
    Dispatch,
    /// Results on their way back.
    Combine,
    /// The exchange of counts before a dispatch.
    DispatchCounts,
    /// The exchange of counts before a combine.
    CombineCounts,
    /// A whole layer: dispatch, experts and combine, one after the other.
    Layer,
    /// A whole layer in one kernel that works on tiles of all three at once.
    FusedLayer,
}

impl Op {
    /// True of an exchange of counts, which carries no rows.
    #[must_use]
    pub const fn is_counts(self) -> bool {
        matches!(self, Self::DispatchCounts | Self::CombineCounts)
    }

    /// True of a whole layer.
    #[must_use]
    pub const fn is_layer(self) -> bool {
        matches!(self, Self::Layer | Self::FusedLayer)
    }

    /// True of what belongs to the dispatch.
    #[must_use]
    pub const fn is_dispatch(self) -> bool {
        matches!(self, Self::Dispatch | Self::DispatchCounts)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
            Self::DispatchCounts => "dispatch counts",
            Self::CombineCounts => "combine counts",
            Self::Layer => "layer",
            Self::FusedLayer => "fused layer",
        })
    }
}

/// A measured time.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Where it stands: file, line and column.
    pub at: String,
    /// Kernel and row format as the file has them; empty for a file with neither.
    pub variant: String,
    /// What was timed.
    pub op: Op,
    /// What a row was.
    pub rows: RowFormat,
    /// How copies travelled.
    pub scheme: DispatchScheme,
    /// How experts were picked.
    pub routing: Routing,
    /// Racks (nodes) that ranks were spread over.
    pub racks: u32,
    /// Ranks in all.
    pub ranks: u32,
    /// Routed experts.
    pub experts: u32,
    /// Tokens of one rank.
    pub tokens: u32,
    /// Multiprocessors that the kernel took, if it says.
    pub sms: Option<u32>,
    /// Time, microseconds.
    pub us: f64,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Tokens,
    Nodes,
    Ranks,
    Experts,
    Sms,
    Label,
    RowDtype,
    Phase,
    Time,
    Of(Op, bool),
}

fn column(name: &str) -> Option<Column> {
    Some(match name {
        "tokens" | "tokens_per_rank" => Column::Tokens,
        "nodes" => Column::Nodes,
        "ep" => Column::Ranks,
        "experts" => Column::Experts,
        "sms" => Column::Sms,
        "kernel" | "library" | "gpu" | "nic" => Column::Label,
        "row_dtype" => Column::RowDtype,
        "phase" => Column::Phase,
        "us" => Column::Time,
        "dispatch_us" => Column::Of(Op::Dispatch, false),
        "combine_us" => Column::Of(Op::Combine, false),
        "combine_low_precision_us" => Column::Of(Op::Combine, true),
        "dispatch_notify_us" | "prepare_us" => Column::Of(Op::DispatchCounts, false),
        "combine_notify_us" => Column::Of(Op::CombineCounts, false),
        "layer_us" | "unfused_us" => Column::Of(Op::Layer, false),
        "fused_us" => Column::Of(Op::FusedLayer, false),
        _ => return None,
    })
}

/// Reads measurements of `layer`, cells between commas, semicolons or tabs as the header has them; empty lines and those that begin with `#` are skipped, `-` and nothing are no measurement.
///
/// Where `layer` doesn't say how copies travel: a column `ep` means deduplicated rows and experts picked so that all ranks get alike, `sms`
/// hierarchical rows, else every copy travels by itself; in whole layers rows are hierarchical.
///
/// # Errors
/// [`CalibrationError`] with file, line and column.
pub fn parse_measurements(
    text: &str,
    origin: &str,
    layer: &Layer,
) -> Result<Vec<Measurement>, CalibrationError> {
    let mut header: Option<Vec<(String, Column)>> = None;
    let mut separator = ',';
    let mut measurements = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        if header.is_none() {
            separator = separator_of(line);
        }
        let cells: Vec<&str> = line.split(separator).map(str::trim).collect();
        let refuse = |problem| CalibrationError::Line { origin: origin.to_owned(), line: at + 1, problem };
        match &header {
            None => header = Some(read_header(&cells).map_err(refuse)?),
            Some(columns) => {
                let place = format!("{origin}:{}", at + 1);
                let found = read_line(&cells, columns, layer, &place).map_err(refuse)?;
                measurements.extend(found);
            }
        }
        if measurements.len() > MAX_MEASUREMENTS {
            return Err(refuse(format!("more than {MAX_MEASUREMENTS} measurements")));
        }
    }
    if measurements.is_empty() {
        let example = "nodes,tokens,dispatch_us,combine_us";
        return Err(CalibrationError::Empty { origin: origin.to_owned(), example });
    }
    Ok(measurements)
}

/// What stands between a header's cells, as in traces: of a comma, a semicolon and a tab the most frequent.
pub(super) fn separator_of(header: &str) -> char {
    [';', '\t', ','].into_iter().max_by_key(|&mark| header.matches(mark).count()).unwrap_or(',')
}

fn read_header(cells: &[&str]) -> Result<Vec<(String, Column)>, String> {
    let read = |cell: &&str| {
        let name = cell.to_lowercase();
        let found = column(&name).ok_or_else(|| format!("column `{cell}`: known are {COLUMNS}"))?;
        Ok((name, found))
    };
    let columns = cells.iter().map(read).collect::<Result<Vec<_>, String>>()?;
    for (at, (name, column)) in columns.iter().enumerate() {
        let same = |(other, found): &&(String, Column)| match column {
            Column::Label => other == name,
            _ => found == column,
        };
        if let Some((other, _)) = columns[..at].iter().find(same) {
            return Err(format!("columns `{other}` and `{name}` say the same; give one of them"));
        }
    }
    let has = |wanted: Column| columns.iter().any(|(_, column)| *column == wanted);
    let times = has(Column::Time) || columns.iter().any(|(_, column)| matches!(column, Column::Of(..)));
    if !has(Column::Tokens) || !times || has(Column::Time) != has(Column::Phase) {
        return Err(format!("a header has tokens and times; known are {COLUMNS}"));
    }
    Ok(columns)
}

fn read_line(
    cells: &[&str],
    columns: &[(String, Column)],
    layer: &Layer,
    place: &str,
) -> Result<Vec<Measurement>, String> {
    if cells.len() != columns.len() {
        return Err(format!("{} cells; the header has {}", cells.len(), columns.len()));
    }
    let cell = |wanted: Column| {
        columns
            .iter()
            .zip(cells)
            .find(|((_, column), _)| *column == wanted)
            .map(|((name, _), cell)| (name, *cell))
    };
    let count = |wanted, most| cell(wanted).map(|(name, cell)| number(name, cell, most)).transpose();
    let tokens = count(Column::Tokens, MAX_TOKENS)?.ok_or("no tokens")?;
    let (ep, sms) = (count(Column::Ranks, MAX_RANKS)?, count(Column::Sms, 1 << 10)?);
    let racks = count(Column::Nodes, MAX_RANKS)?.unwrap_or(1);
    let ranks = ep.unwrap_or_else(|| racks.saturating_mul(layer.ranks_per_node));
    let experts = count(Column::Experts, 1 << 16)?.unwrap_or(layer.experts);
    let (scheme, routing) = match (ep, sms) {
        (Some(_), _) => (DispatchScheme::Dedup, Routing::Balanced),
        (None, Some(_)) => (DispatchScheme::Hierarchical, Routing::Uniform),
        (None, None) => (DispatchScheme::Flat, Routing::Uniform),
    };
    let named = |wanted: &[Column]| {
        let cells = columns.iter().zip(cells).filter(|((_, column), _)| wanted.contains(column));
        cells.map(|(_, cell)| *cell).collect::<Vec<_>>().join(" ")
    };
    let variant = named(&[Column::Label, Column::RowDtype]);
    let out = match cell(Column::RowDtype) {
        None => RowFormat::Fp8Blocks,
        Some((name, cell)) => match cell.to_lowercase().as_str() {
            "fp8" => RowFormat::Fp8,
            "bf16" | "bfloat16" => RowFormat::Bf16,
            "nvfp4" => RowFormat::Nvfp4,
            _ => return Err(format!("{name} `{cell}`: give fp8, bfloat16 or nvfp4")),
        },
    };
    let mut found = Vec::new();
    for ((name, column), cell) in columns.iter().zip(cells) {
        let (op, low) = match column {
            Column::Of(op, low) => (*op, *low),
            Column::Time => (phase(&named(&[Column::Phase]))?, false),
            _ => continue,
        };
        let Some(us) = micros(name, cell, op)? else { continue };
        let own_scheme = if op.is_layer() { DispatchScheme::Hierarchical } else { scheme };
        let rows = match (op.is_dispatch() || op.is_layer(), low) {
            (true, _) => out,
            (false, false) => RowFormat::Bf16,
            (false, true) => RowFormat::Nvfp4,
        };
        found.push(Measurement {
            at: format!("{place}: {name}"),
            variant: match (op, low) {
                (Op::Layer, _) => format!("{variant} unfused").trim_start().to_owned(),
                (Op::FusedLayer, _) => format!("{variant} fused").trim_start().to_owned(),
                (_, true) => format!("{variant} low-precision combine"),
                (_, false) => variant.clone(),
            },
            op,
            rows,
            scheme: layer.scheme.unwrap_or(own_scheme),
            routing: layer.routing.unwrap_or(routing),
            racks,
            ranks,
            experts,
            tokens,
            sms,
            us,
        });
    }
    Ok(found)
}

fn phase(cell: &str) -> Result<Op, String> {
    match cell.to_lowercase().as_str() {
        "dispatch" => Ok(Op::Dispatch),
        "combine" => Ok(Op::Combine),
        "layer" | "unfused" => Ok(Op::Layer),
        "fused" => Ok(Op::FusedLayer),
        _ => Err(format!("phase `{cell}`: give dispatch, combine, layer or fused")),
    }
}

fn number(what: &str, text: &str, most: u32) -> Result<u32, String> {
    let found = text.parse().ok().filter(|number| (1..=most).contains(number));
    found.ok_or_else(|| format!("{what} `{text}`: give a whole number from 1 to {most}"))
}

/// A time; none for nothing, and for the 0 of an exchange that wasn't made.
fn micros(name: &str, text: &str, op: Op) -> Result<Option<f64>, String> {
    if text.is_empty() || text == "-" {
        return Ok(None);
    }
    let us: Option<f64> = text.parse().ok().filter(|us: &f64| us.is_finite() && (0.0..=1e9).contains(us));
    match us {
        Some(0.0) if op.is_counts() => Ok(None),
        Some(us) if us >= LEAST_US => Ok(Some(us)),
        Some(us) => Err(format!(
            "{name} `{us}`: no kernel takes less than {LEAST_US} us; times are in us: are these ms?"
        )),
        None => Err(format!("{name} `{text}`: give microseconds from {LEAST_US} to 1000000000, or -")),
    }
}
