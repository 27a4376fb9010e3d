//! What faults on purpose have cost, and how soon runs went on.

use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Group, bars};
use serde_json::json;
use study::layer::{FaultCost, Record, Report};

/// The picture of a comparison with faults.
pub(super) fn of_comparison(report: &Report, id: &str) -> Vec<Picture> {
    let hit: Vec<(&Record, &FaultCost)> =
        report.rows.iter().filter_map(|record| Some((record, record.faults.as_ref()?))).collect();
    let worst = hit.iter().filter(|(_, cost)| cost.met > 0);
    let worst = worst.min_by(|one, other| one.1.throughput.total_cmp(&other.1.throughput));
    let Some((record, cost)) = worst else { return Vec::new() };
    let again: u32 = hit.iter().map(|(record, _)| record.replays).sum();
    let known = hit.iter().filter_map(|(_, cost)| cost.detected_ms).reduce(f64::max);
    let known = known.map_or_else(String::new, |ms| {
        format!("; {again} steps were begun anew, a loss was known after {ms:.0} ms at most")
    });
    let title = format!(
        "Faults leave {:.1}% of the healthy tokens a second: {}{known}",
        100.0 * cost.throughput,
        record.title
    );
    let groups = hit.iter().map(|(record, cost)| {
        let note = Some(format!("{:.1}%, {} met", 100.0 * cost.throughput, cost.met));
        let bar = Bar { parts: vec![(0, 100.0 * cost.throughput)], note, ..Bar::default() };
        Group { label: format!("{}, {}, {}", record.title, record.latency, record.backend), bars: vec![bar] }
    });
    let drawn = Bars {
        axis: "tokens a second, % of the same row without faults".to_owned(),
        groups: groups.collect(),
        rule: Some((100.0, "without faults".to_owned())),
        told: title.clone(),
        ..Bars::default()
    };
    let rows = hit.iter().map(|(record, cost)| {
        vec![
            json!(record.title),
            json!(record.latency),
            json!(record.backend),
            json!(cost.plan.join("; ")),
            json!(cost.met),
            json!(record.replays),
            json!(cost.detected_ms),
            json!(cost.recovered_ms),
            json!(cost.outage_ms),
            json!(cost.lost_us),
            json!(cost.throughput),
        ]
    });
    vec![Picture {
        id: format!("{id}-faults"),
        title,
        caption: "Slower steps count in emulated time, lost ranks in the coordinator's own time (ms), which no emulation stretches. \
                  Faults are the experiment's assumption; what they cost is as measured or simulated as the row."
            .to_owned(),
        columns: [
            "configuration", "latency", "backend", "plan", "met", "replays", "detected_ms", "recovered_ms", "outage_ms", "lost_us",
            "throughput",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
        svg: bars(&drawn),
    }]
}
