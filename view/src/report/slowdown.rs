//! What racks cost by scheme: slowdowns of the all-to-all and of the layer as bars, and how far rounds of one row lie apart.

use super::rows::{configurations, links, told_by};
use super::trust::{clock, clocks};
use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Group, bars};
use serde_json::json;
use study::layer::{BackendKind, Record, Report};

/// The pictures of a comparison that has bases.
pub(super) fn pictures(report: &Report, id: &str) -> Vec<Picture> {
    let all = [
        of_slowdown(report, id, "all-to-all", "a2a_slowdown", |record| record.a2a_slowdown),
        of_slowdown(report, id, "layer", "layer_slowdown", |record| record.layer_slowdown),
        spread(report, id),
    ];
    all.into_iter().flatten().collect()
}

/// Bars of one slowdown, a colour a latency.
fn of_slowdown(
    report: &Report,
    id: &str,
    what: &str,
    key: &str,
    of: fn(&Record) -> Option<f64>,
) -> Option<Picture> {
    let (first, backend) = told_by(report);
    let latencies = report.latencies();
    let title_of = |configuration: usize| {
        report
            .rows
            .iter()
            .find(|record| record.configuration == configuration)
            .map(|record| record.title.clone())
    };
    let (mut groups, mut rows) = (Vec::new(), Vec::new());
    let mut found: Vec<(f64, &Record)> = Vec::new();
    for records in configurations(report, &first) {
        let Some(record) = records.iter().find(|record| record.backend == backend) else { continue };
        if record.configuration == record.base_configuration {
            continue;
        }
        let mut group = Group { label: record.title.clone(), bars: Vec::new() };
        for (colour, latency) in latencies.iter().enumerate() {
            let Some(record) = report.find(record.configuration, latency, backend) else { continue };
            let Some(slowdown) = of(record) else { continue };
            let base = title_of(record.base_configuration).unwrap_or_default();
            if *latency == first {
                found.push((slowdown, record));
            }
            let note = Some(format!("{slowdown:.2}"));
            group.bars.push(Bar { parts: vec![(colour, slowdown)], note, ..Bar::default() });
            rows.push(vec![
                json!(record.title),
                json!(latency),
                json!(backend),
                json!(base),
                json!(slowdown),
            ]);
        }
        if !group.bars.is_empty() {
            groups.push(group);
        }
    }
    let (most, worst) = found.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    let (least, best) = found.iter().min_by(|one, other| one.0.total_cmp(&other.0))?;
    let least = match best.configuration == worst.configuration {
        true => String::new(),
        false => format!(", {least:.2} with {}", best.title),
    };
    let title = format!("The {what} takes {most:.2} times as long with {}{least}", worst.title);
    let picture = Bars {
        axis: format!("slowdown of the {what}, times that of its base"),
        legend: latencies.iter().map(|latency| links(latency)).collect(),
        groups,
        rule: Some((
            1.0,
            "one rack with the same gate, flat against flat, the others against dedup".to_owned(),
        )),
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-{}", key.replace('_', "-")),
        caption: format!(
            "Ratios of times {}, no unit; below 1 is faster than one rack. A ratio carries over an error of one fabric's assumed rate.",
            clock(backend)
        ),
        title,
        columns: ["configuration", "latency", "backend", "base", key].map(str::to_owned).to_vec(),
        rows,
        svg: bars(&picture),
    })
}

/// How far rounds, or seeds, of one row lie apart.
fn spread(report: &Report, id: &str) -> Option<Picture> {
    let several = |record: &&Record| record.samples > 1 && record.backend != BackendKind::Analytic;
    if !report.rows.iter().any(|record| several(&record) && record.a2a_p10_us < record.a2a_p90_us) {
        return None;
    }
    let (mut groups, mut rows) = (Vec::<Group>::new(), Vec::new());
    let mut widest = (0.0, String::new());
    for record in report.rows.iter().filter(several) {
        let label = format!("{}, {}", record.title, links(&record.latency));
        let whisker = Some((record.a2a_p10_us, record.a2a_p90_us));
        let colour = usize::from(record.backend == BackendKind::Sim);
        let bar = Bar { parts: vec![(colour, record.a2a_us)], whisker, ..Bar::default() };
        match groups.last_mut().filter(|group| group.label == label) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { label: label.clone(), bars: vec![bar] }),
        }
        let width = (record.a2a_p90_us - record.a2a_p10_us) / record.a2a_us;
        if width.is_finite() && width > widest.0 {
            widest = (width, label);
        }
        rows.push(vec![
            json!(record.title),
            json!(record.latency),
            json!(record.backend),
            json!(record.samples),
            json!(record.a2a_p10_us),
            json!(record.a2a_us),
            json!(record.a2a_p90_us),
            json!(record.layer_p10_us),
            json!(record.layer_us),
            json!(record.layer_p90_us),
        ]);
    }
    let title = format!(
        "From the 10th to the 90th percentile the all-to-all spans at most {:.1}% of its median: {}",
        100.0 * widest.0,
        widest.1
    );
    let picture = Bars {
        axis: "all-to-all, emulated us: median, 10th to 90th percentile".to_owned(),
        legend: vec!["measured (quic)".to_owned(), "simulated (sim)".to_owned()],
        groups,
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-spread"),
        title,
        caption: format!(
            "Nearest-rank percentiles over rounds and seeds (the range, below ten of them); {}.",
            clocks(&report.backends())
        ),
        columns: [
            "configuration",
            "latency",
            "backend",
            "samples",
            "a2a_p10_us",
            "a2a_us",
            "a2a_p90_us",
            "layer_p10_us",
            "layer_us",
            "layer_p90_us",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
        svg: bars(&picture),
    })
}
