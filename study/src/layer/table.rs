//! The human tables: one for each latency, a line for each configuration, every backend's times side by side.

use super::{BackendKind, FaultCost, Record, Report};
use crate::text_table::{self, TextTable};

/// What a report's text is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Characters of a line; `None` has every column.
    pub width: Option<usize>,
    /// Whether it is the first answer, simulated, before anything is verified.
    pub early: bool,
}

/// One column: its heading, and what it says of the records of one configuration.
struct Column {
    heading: String,
    left: bool,
    cell: Box<dyn Fn(&Line<'_>) -> String>,
}

impl Column {
    fn left(heading: &str, cell: impl Fn(&Line<'_>) -> String + 'static) -> Self {
        Self { heading: heading.to_owned(), left: true, cell: Box::new(cell) }
    }

    fn right(heading: &str, cell: impl Fn(&Line<'_>) -> String + 'static) -> Self {
        Self { left: false, ..Self::left(heading, cell) }
    }
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

/// The table of `report` at `latency`, a line for each configuration; with a width that it exceeds, the columns that answer, and true.
pub(super) fn table(report: &Report, latency: &str, page: Page) -> (String, bool) {
    let all = shown(report, latency, &columns(report, page));
    let fits = page.width.is_none_or(|width| all.lines().all(|line| line.chars().count() <= width));
    if fits { (all, false) } else { (shown(report, latency, &few_columns(report, page)), true) }
}

fn shown(report: &Report, latency: &str, columns: &[Column]) -> String {
    let heading = |column: &Column| {
        let heading = column.heading.as_str();
        if column.left { text_table::Column::left(heading) } else { text_table::Column::right(heading) }
    };
    let mut table = TextTable::new(columns.iter().map(heading));
    let mut configurations: Vec<usize> = report.rows.iter().map(|record| record.configuration).collect();
    configurations.dedup();
    for configuration in configurations {
        let of_line = |record: &&Record| record.configuration == configuration && record.latency == latency;
        let line = Line { records: report.rows.iter().filter(of_line).collect() };
        if !line.records.is_empty() {
            table.row(columns.iter().map(|column| (column.cell)(&line)));
        }
    }
    table.fit(None)
}

/// What answers the question: copies that cross, the best times, simulated beside measured, slowdowns, proof.
fn few_columns(report: &Report, page: Page) -> Vec<Column> {
    let backends = report.backends();
    let best = backends.last().copied().unwrap_or(BackendKind::Analytic);
    let mut columns = vec![
        Column::left("configuration", title),
        Column::right("copies\nthat\ncross", |line| format!("{:.2}", line.best().inter_copies_per_token)),
    ];
    let time = |backend, times: TimeOf| {
        move |line: &Line<'_>| cell(line.by(backend), |record| micros(times(record).0))
    };
    columns.push(Column::right(&format!("{ALL_TO_ALL}\n{best}"), time(best, TIMES[0].1)));
    if best == BackendKind::Quic && backends.contains(&BackendKind::Sim) {
        columns.push(Column::right("\nsim", time(BackendKind::Sim, TIMES[0].1)));
    }
    columns.push(Column::right("\nslow-\ndown", |line| slowdown(line, ALL_TO_ALL)));
    columns.push(Column::right("layer\nus", time(best, TIMES[2].1)));
    columns.push(Column::right("\nslow-\ndown", |line| slowdown(line, LAYER)));
    if best != BackendKind::Analytic {
        columns.push(verified_column(page));
    }
    columns
}

fn columns(report: &Report, page: Page) -> Vec<Column> {
    let backends = report.backends();
    let spread_name = report.spread_name();
    let mut columns = vec![
        Column::left("configuration", title),
        Column::right("copies/\ntoken\nin rack", |line| {
            counted(line.best().intra_copies_per_token, line.best().expected_intra)
        }),
        Column::right("\nbetween\nracks", |line| {
            counted(line.best().inter_copies_per_token, line.best().expected_inter)
        }),
    ];
    for (what, times) in TIMES {
        for &backend in backends.iter().rev() {
            let head = if Some(&backend) == backends.last() { what } else { "" };
            let time = move |line: &Line<'_>| cell(line.by(backend), |record| micros(times(record).0));
            columns.push(match backend {
                BackendKind::Quic => {
                    let time = move |line: &Line<'_>| cell(line.by(backend), |record| spread(times(record)));
                    Column::right(&format!("{head}\nquic\n{spread_name}"), time)
                }
                BackendKind::Sim => Column::right(&format!("{head}\nsim"), time),
                BackendKind::Analytic => Column::right(&format!("{head}\nclosed\nform"), time),
            });
        }
        if what == ALL_TO_ALL {
            if backends.iter().any(|&backend| backend != BackendKind::Analytic) {
                columns.push(Column::right("\nbound", |line| micros(line.best().bound_us)));
            }
            if backends.contains(&BackendKind::Quic) && backends.contains(&BackendKind::Sim) {
                columns.push(Column::right("\nquic\n/sim", |line| ratio(line.best().measured_over_sim, 3)));
            }
        }
        if what != COMPUTE {
            columns.push(Column::right("\nslow-\ndown", move |line| slowdown(line, what)));
        }
    }
    if report.rows.iter().any(|record| record.faults.is_some()) {
        columns.push(Column::right("faults\nmet", |line| {
            line.best().faults.as_ref().map_or_else(dash, |faults| faults.met.to_string())
        }));
        columns.push(Column::right("tokens/s\nof\nhealthy", |line| {
            let of = |faults: &FaultCost| format!("{:.1}%", 100.0 * faults.throughput);
            line.best().faults.as_ref().map_or_else(dash, of)
        }));
    }
    columns.push(Column::right("expert\nGB per\nrank", |line| gigabytes(line.best().weight_bytes_per_rank)));
    if backends.contains(&BackendKind::Quic) {
        let late = |record: &Record| record.lateness_p99_us.map_or_else(dash, |late| format!("{late:.3}"));
        columns.push(Column::right("late\np99\nus", move |line| cell(line.by(BackendKind::Quic), late)));
    }
    columns.push(verified_column(page));
    columns
}

fn title(line: &Line<'_>) -> String {
    line.best().title.replacen(", ", ",\n  ", 1)
}

fn slowdown(line: &Line<'_>, what: &str) -> String {
    let best = line.best();
    ratio(if what == ALL_TO_ALL { best.a2a_slowdown } else { best.layer_slowdown }, 2)
}

fn verified_column(page: Page) -> Column {
    if page.early {
        return Column::left("\nveri-\nfied", |_| "not yet".to_owned());
    }
    Column::left("\nveri-\nfied", verified)
}

const ALL_TO_ALL: &str = "a2a us";
const COMPUTE: &str = "compute us";
const LAYER: &str = "layer us";

/// A median with its 10th and 90th percentile.
type Spread = (f64, f64, f64);

/// Reads a time off a record.
type TimeOf = fn(&Record) -> Spread;

const TIMES: [(&str, TimeOf); 3] = [
    (ALL_TO_ALL, |record| (record.a2a_us, record.a2a_p10_us, record.a2a_p90_us)),
    (COMPUTE, |record| (record.compute_us, record.compute_p10_us, record.compute_p90_us)),
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
