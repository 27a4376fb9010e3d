//! The human tables: one for each latency, a line for each configuration, every backend's times side by side.

use super::{BackendKind, Record, Report};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// The tables of `report`, each under a line that says what it shows, and a legend.
#[must_use]
pub fn tables(report: &Report) -> String {
    let mut text = String::new();
    for latency in report.latencies() {
        text.push_str(&format!("{}\n{}\n\n", heading(latency), table(report, latency)));
    }
    text + &legend(report)
}

fn heading(latency: &str) -> String {
    match latency {
        "zero" => "Links without latency".to_owned(),
        "preset" => "Links with the hardware's latency".to_owned(),
        given => format!("Links with latency {given} us (in a rack, between racks)"),
    }
}

/// One column: its heading, and what it says of the records of one configuration.
struct Column {
    heading: String,
    left: bool,
    cell: Box<dyn Fn(&Line<'_>) -> String>,
}

/// The records of one configuration at one latency.
struct Line<'a> {
    records: Vec<&'a Record>,
}

impl<'a> Line<'a> {
    fn by(&self, backend: BackendKind) -> Option<&'a Record> {
        self.records.iter().copied().find(|record| record.backend == backend)
    }

    /// The record nearest to reality.
    fn best(&self) -> &'a Record {
        self.records[self.records.len() - 1]
    }
}

/// Rules above and below, and under the heading.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

fn table(report: &Report, latency: &str) -> String {
    let columns = columns(&report.backends());
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.heading.as_str()).collect::<Vec<_>>());
    let mut configurations: Vec<usize> = report.rows.iter().map(|record| record.configuration).collect();
    configurations.dedup();
    for configuration in configurations {
        let of_line = |record: &&Record| record.configuration == configuration && record.latency == latency;
        let line = Line { records: report.rows.iter().filter(of_line).collect() };
        if !line.records.is_empty() {
            table.add_row(columns.iter().map(|column| (column.cell)(&line)).collect::<Vec<_>>());
        }
    }
    for (at, column) in columns.iter().enumerate() {
        if let Some(shown) = table.column_mut(at) {
            shown.set_padding((0, 1));
            if !column.left {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

fn columns(backends: &[BackendKind]) -> Vec<Column> {
    let mut columns = Vec::new();
    let mut push = |heading: &str, left, cell: Box<dyn Fn(&Line<'_>) -> String>| {
        columns.push(Column { heading: heading.to_owned(), left, cell });
    };
    push("configuration", true, Box::new(|line| line.best().title.replacen(", ", ",\n  ", 1)));
    push(
        "copies/\ntoken\nin rack",
        false,
        Box::new(|line| counted(line.best().intra_copies_per_token, line.best().expected_intra)),
    );
    push(
        "\nbetween\nracks",
        false,
        Box::new(|line| counted(line.best().inter_copies_per_token, line.best().expected_inter)),
    );
    for (what, times) in TIMES {
        for &backend in backends.iter().rev() {
            let head = if Some(&backend) == backends.last() { what } else { "" };
            match backend {
                BackendKind::Quic => {
                    let cell = move |line: &Line<'_>| cell(line.by(backend), |record| spread(times(record)));
                    push(&format!("{head}\nquic\np10-p90"), false, Box::new(cell));
                }
                BackendKind::Sim | BackendKind::Analytic => {
                    let name = if backend == BackendKind::Sim { "sim" } else { "closed\nform" };
                    let cell =
                        move |line: &Line<'_>| cell(line.by(backend), |record| micros(times(record).0));
                    push(&format!("{head}\n{name}"), false, Box::new(cell));
                }
            }
        }
        if what == ALL_TO_ALL {
            if backends.iter().any(|&backend| backend != BackendKind::Analytic) {
                push("\nbound", false, Box::new(|line| micros(line.best().bound_us)));
            }
            if backends.contains(&BackendKind::Quic) && backends.contains(&BackendKind::Sim) {
                push("\nquic\n/sim", false, Box::new(|line| ratio(line.best().measured_over_sim, 3)));
            }
            push("\nslow-\ndown", false, Box::new(|line| ratio(line.best().a2a_slowdown, 2)));
        }
        if what == LAYER {
            push("\nslow-\ndown", false, Box::new(|line| ratio(line.best().layer_slowdown, 2)));
        }
    }
    push("expert\nGB per\nrank", false, Box::new(|line| gigabytes(line.best().weight_bytes_per_rank)));
    if backends.contains(&BackendKind::Quic) {
        let late = |record: &Record| record.lateness_p99_us.map_or_else(dash, |late| format!("{late:.3}"));
        push("late\np99\nus", false, Box::new(move |line| cell(line.by(BackendKind::Quic), late)));
    }
    push("\nveri-\nfied", true, Box::new(verified));
    columns
}

const ALL_TO_ALL: &str = "a2a us";
const LAYER: &str = "layer us";

/// A median with its 10th and 90th percentile.
type Spread = (f64, f64, f64);

/// Reads a time off a record.
type TimeOf = fn(&Record) -> Spread;

const TIMES: [(&str, TimeOf); 3] = [
    (ALL_TO_ALL, |record| (record.a2a_us, record.a2a_p10_us, record.a2a_p90_us)),
    ("compute us", |record| (record.compute_us, record.compute_p10_us, record.compute_p90_us)),
    (LAYER, |record| (record.layer_us, record.layer_p10_us, record.layer_p90_us)),
];

fn cell(record: Option<&Record>, show: impl Fn(&Record) -> String) -> String {
    record.map_or_else(dash, show)
}

fn dash() -> String {
    "-".to_owned()
}

fn counted(copies: f64, expected: f64) -> String {
    format!("{copies:.2}\n({expected:.2})")
}

fn spread((median, low, high): Spread) -> String {
    format!("{}\n{}-{}", micros(median), micros(low), micros(high))
}

/// Three digits or more.
fn micros(time: f64) -> String {
    match time {
        small if small < 10.0 => format!("{small:.2}"),
        medium if medium < 1_000.0 => format!("{medium:.1}"),
        large => format!("{large:.0}"),
    }
}

fn ratio(ratio: Option<f64>, digits: usize) -> String {
    ratio.map_or_else(dash, |ratio| format!("{ratio:.digits$}"))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e9)
}

/// Of all backends that ran: NO before INVALID before yes.
fn verified(line: &Line<'_>) -> String {
    let ran: Vec<_> = line.records.iter().filter(|record| record.backend != BackendKind::Analytic).collect();
    let word = if ran.iter().any(|record| !record.verified) {
        "NO"
    } else if ran.iter().any(|record| !record.valid) {
        "INVALID"
    } else if ran.is_empty() {
        "-"
    } else {
        "yes"
    };
    word.to_owned()
}

fn legend(report: &Report) -> String {
    let mut lines = vec![
        "a2a: dispatch + combine. Times in emulated microseconds: the slowest rank's, phases in lockstep."
            .to_owned(),
    ];
    for backend in report.backends().into_iter().rev() {
        lines.push(match backend {
            BackendKind::Quic => {
                let samples = report.rows.iter().filter(|record| record.backend == backend);
                let samples = samples.map(|record| record.samples).max().unwrap_or(0);
                format!(
                    "quic: measured on real processes over QUIC, median and p10-p90 of {samples} rounds; late: how late rows were delivered."
                )
            }
            BackendKind::Sim => "sim: simulated on a virtual clock, the same frames and the same code, exact.".to_owned(),
            BackendKind::Analytic => {
                "closed form (analytic): expected copies through the mean port, no straggler.".to_owned()
            }
        });
    }
    if let Some(record) = report.rows.iter().find(|record| record.backend != BackendKind::Analytic) {
        lines.push("bound: the fluid bound of the bytes that each port had to carry in this run.".to_owned());
        lines.push(match record.verification {
            super::Verification::OutputsAndTraffic => {
                "verified: every token bit for bit against the quantised reference, that against float64, and the bytes \
                 between every two ranks against the plan."
                    .to_owned()
            }
            _ => "verified: the bytes between every two ranks against the plan; rows had no values.".to_owned(),
        });
    }
    if let Some(record) = report.rows.first() {
        lines.push(format!(
            "copies: counted, and below them as expected ({}).",
            record.expected_kind.describe()
        ));
    }
    let best = report.backends().last().copied().unwrap_or(BackendKind::Analytic);
    lines.push(format!(
        "slowdown ({best}): against one rack with the same gate; flat against flat, the others against dedup."
    ));
    lines.join("\n") + "\n"
}
