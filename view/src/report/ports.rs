//! How much of its line each kind of port carries, by row: the least, the mean and the fullest rank.

use super::rows::told_by;
use super::trust::clock;
use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Group, bars};
use serde_json::json;
use study::layer::Report;

/// The kinds of ports in each phase, in the order of colours.
const KINDS: [&str; 4] =
    ["dispatch, scale-up", "dispatch, scale-out", "combine, scale-up", "combine, scale-out"];

/// The picture of a comparison whose records say what ports carried.
pub(super) fn picture(report: &Report, id: &str) -> Option<Picture> {
    let (latency, backend) = told_by(report);
    let (mut groups, mut rows) = (Vec::new(), Vec::new());
    let mut fullest = (0.0, String::new(), "");
    for record in report.rows.iter().filter(|record| record.latency == latency && record.backend == backend) {
        let Some(bandwidth) = &record.bandwidth else { continue };
        let mut group = Group { label: record.title.clone(), bars: Vec::new() };
        let (out, back) = (&bandwidth.dispatch, &bandwidth.combine);
        let tiers = [&out.scale_up, &out.scale_out, &back.scale_up, &back.scale_out];
        for (colour, (kind, tier)) in
            KINDS.iter().zip(tiers).enumerate().filter(|(_, (_, tier))| tier.max_gb_per_s > 0.0)
        {
            let share =
                |rate: f64| if tier.line_gb_per_s > 0.0 { 100.0 * rate / tier.line_gb_per_s } else { 0.0 };
            let mean = 100.0 * tier.mean_line_share;
            if tier.max_line_share > fullest.0 {
                fullest = (tier.max_line_share, record.title.clone(), kind);
            }
            group.bars.push(Bar {
                label: (*kind).to_owned(),
                parts: vec![(colour, mean)],
                whisker: Some((share(tier.min_gb_per_s), share(tier.max_gb_per_s))),
                note: Some(format!("{mean:.0}%")),
            });
            rows.push(vec![
                json!(record.title),
                json!(record.latency),
                json!(record.backend),
                json!(kind),
                json!(tier.min_gb_per_s),
                json!(tier.mean_gb_per_s),
                json!(tier.max_gb_per_s),
                json!(tier.line_gb_per_s),
                json!(tier.mean_line_share),
                json!(tier.max_line_share),
            ]);
        }
        if !group.bars.is_empty() {
            groups.push(group);
        }
    }
    if groups.is_empty() {
        return None;
    }
    let (share, title, kind) = fullest;
    let title = format!("The fullest port carries {:.0}% of its line: {title}, {kind}", 100.0 * share);
    let drawn = Bars {
        axis: "share of the port's line rate over the phase, %: mean, least to most of the ranks".to_owned(),
        legend: KINDS.map(str::to_owned).to_vec(),
        groups,
        rule: Some((100.0, "the line".to_owned())),
        told: title.clone(),
    };
    let columns = [
        "configuration",
        "latency",
        "backend",
        "port",
        "min_gb_per_s",
        "mean_gb_per_s",
        "max_gb_per_s",
        "line_gb_per_s",
        "mean_line_share",
        "max_line_share",
    ];
    Some(Picture {
        id: format!("{id}-bandwidth"),
        title,
        caption: format!(
            "Bytes of the busier direction of each rank's port over the phase's time, {}; line rates are assumed. 1 GB is 10^9 bytes.",
            clock(backend)
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
        svg: bars(&drawn),
    })
}
