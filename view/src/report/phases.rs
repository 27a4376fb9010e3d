//! Where a layer's time goes: dispatch, experts and combine behind each other, measured beside simulated.

use super::rows::{configurations, links};
use super::trust::clocks;
use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Group, bars, short};
use serde_json::{Value, json};
use study::layer::{BackendKind, Record, Report};

/// The phases in order, with the keys of a record.
pub(super) const PHASES: [(&str, &str); 3] =
    [("dispatch", "dispatch_us"), ("experts", "compute_us"), ("combine", "combine_us")];

/// One bar of the three phases.
pub(super) struct Stack {
    pub(super) label: String,
    pub(super) backend: BackendKind,
    /// As [`PHASES`], emulated us.
    pub(super) us: [f64; 3],
}

/// A picture a latency.
pub(super) fn of_comparison(report: &Report, id: &str) -> Vec<Picture> {
    let of = |latency: &str| {
        let stack = |record: &&Record| Stack {
            label: record.title.clone(),
            backend: record.backend,
            us: [record.dispatch_us, record.compute_us, record.combine_us],
        };
        let stacks: Vec<Stack> = configurations(report, latency)
            .iter()
            .flat_map(|records| records.iter().rev().map(stack))
            .collect();
        let beside = beside(report, latency);
        picture(
            &format!("{id}-phases-{}", plain(latency)),
            &stacks,
            &format!(", {}", links(latency)),
            &beside,
        )
    };
    report.latencies().into_iter().filter_map(of).collect()
}

/// How near measured times are to simulated ones.
fn beside(report: &Report, latency: &str) -> String {
    let off = report.rows.iter().filter(|record| record.latency == latency);
    let off =
        off.filter_map(|record| record.measured_over_sim).map(|ratio| (ratio - 1.0).abs()).reduce(f64::max);
    off.map_or_else(String::new, |off| {
        format!("; measured all-to-alls are within {:.1}% of simulated ones", (1000.0 * off).ceil() / 10.0)
    })
}

/// The picture of stacks that are grouped by their labels; `None` without any.
pub(super) fn picture(id: &str, stacks: &[Stack], over: &str, beside: &str) -> Option<Picture> {
    let whole = |stack: &Stack| stack.us.iter().sum::<f64>();
    let share = |stack: &Stack| (stack.us[0] + stack.us[2]) / whole(stack);
    let most = stacks
        .iter()
        .filter(|stack| whole(stack) > 0.0)
        .max_by(|one, other| share(one).total_cmp(&share(other)))?;
    let mut groups: Vec<Group> = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for stack in stacks {
        let bar = Bar {
            label: stack.backend.to_string(),
            parts: stack.us.into_iter().enumerate().collect(),
            note: Some(format!("{} {}", short(whole(stack)), stack.backend)),
            ..Bar::default()
        };
        match groups.last_mut().filter(|group| group.label == stack.label) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { label: stack.label.clone(), bars: vec![bar] }),
        }
        let times = stack.us.iter().map(|us| json!(us));
        rows.push([json!(stack.label), json!(stack.backend)].into_iter().chain(times).collect());
    }
    let title = format!(
        "Dispatch and combine are at most {:.0}% of a layer ({}){over}{beside}",
        100.0 * share(most),
        most.label
    );
    let backends: Vec<BackendKind> = BackendKind::ALL
        .into_iter()
        .filter(|kind| stacks.iter().any(|stack| stack.backend == *kind))
        .collect();
    let drawn = Bars {
        axis: "time of a layer, emulated us".to_owned(),
        legend: PHASES.map(|(phase, _)| phase.to_owned()).to_vec(),
        groups,
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: id.to_owned(),
        title,
        caption: format!(
            "Phases run one after the other and last as long as their slowest rank; medians. Times are {}.",
            clocks(&backends)
        ),
        columns: ["row", "backend"]
            .into_iter()
            .chain(PHASES.map(|(_, key)| key))
            .map(str::to_owned)
            .collect(),
        rows,
        svg: bars(&drawn),
    })
}

/// Letters and digits alone.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String =
        text.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
    plain.truncate(40);
    plain
}
