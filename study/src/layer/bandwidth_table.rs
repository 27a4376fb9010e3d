//! The table of bandwidths: a line for each configuration and phase.

use super::bandwidth::TierBandwidth;
use super::{Record, Report};
use crate::text_table::{Column, TextTable};

/// What it says, for the legend.
pub(super) const LEGEND: &str = "GB/s: 10^9 bytes a second. algbw, busbw: as nccl-tests has them for alltoallv, the rank with most bytes over the slowest rank's time. \
     Their bound: of the busbw of an even all-to-all, N/(N-1) times the scale-out port over N racks. scale-up, scale-out: each rank's port, bytes of its \
     busier direction over the phase's time, least, mean and most over ranks, and the most as a share of the port's rate.";

/// Bandwidths of the records nearest to reality at `latency`; `None` where nothing ran.
pub(super) fn bandwidth_table(report: &Report, latency: &str) -> Option<String> {
    let backend = report.backends().pop()?;
    let mut table = TextTable::new([
        Column::left("configuration"),
        Column::left("phase"),
        Column::right("us"),
        Column::right("algbw\nGB/s"),
        Column::right("busbw\nGB/s"),
        Column::right("\nbound"),
        Column::right("scale-up\nGB/s\nmin"),
        Column::right("\n\nmean"),
        Column::right("\n\nmax"),
        Column::right("\nof\nline"),
        Column::right("scale-out\nGB/s\nmin"),
        Column::right("\n\nmean"),
        Column::right("\n\nmax"),
        Column::right("\nof\nline"),
    ]);
    let mut told = false;
    for record in report.rows.iter().filter(|record| record.latency == latency && record.backend == backend) {
        for cells in lines(record) {
            told = true;
            table.row(cells);
        }
    }
    told.then(|| table.fit(None))
}

/// The cells of a record's phases.
fn lines(record: &Record) -> Vec<Vec<String>> {
    let Some(bandwidth) = &record.bandwidth else { return Vec::new() };
    let us = [record.dispatch_us, record.combine_us];
    let line = |((name, phase), us): ((&str, &super::PhaseBandwidth), f64)| {
        let title = if name == "dispatch" { record.title.clone() } else { String::new() };
        let bound = phase.bus_bound_gb_per_s.map_or_else(|| "-".to_owned(), number);
        let mut cells = vec![
            title,
            name.to_owned(),
            number(us),
            number(phase.alg_gb_per_s),
            number(phase.bus_gb_per_s),
            bound,
        ];
        cells.extend(tier(&phase.scale_up));
        cells.extend(tier(&phase.scale_out));
        cells
    };
    bandwidth.phases().into_iter().zip(us).map(line).collect()
}

fn tier(tier: &TierBandwidth) -> [String; 4] {
    [
        number(tier.min_gb_per_s),
        number(tier.mean_gb_per_s),
        number(tier.max_gb_per_s),
        format!("{:.0}%", 100.0 * tier.max_line_share),
    ]
}

/// Three digits or more.
fn number(value: f64) -> String {
    match value {
        small if small < 100.0 => format!("{small:.2}"),
        medium if medium < 1_000.0 => format!("{medium:.1}"),
        large => format!("{large:.0}"),
    }
}
