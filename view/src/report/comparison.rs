//! A comparison: what the second rack costs and what wins it back, its table, its pictures.

use super::rows::{configurations, links, told_by, way};
use super::table::{Table, cell, ratio};
use super::trust::{self, Checked};
use super::{Section, faults, frames, phases, ports, ranks, slowdown, traffic};
use serde_json::Value;
use study::layer::{BackendKind, Record, Report, sentences};

/// The comparison as a section; its pictures' names begin with `id`.
pub(super) fn section(report: &Report, id: &str) -> Section {
    let mut answers = sentences(report);
    if let Some(asked) = report.rows_asked {
        answers.insert(0, format!("INCOMPLETE: {} of {asked} rows; it ended early.", report.rows.len()));
    }
    let hardware = report.config.get("hardware").and_then(Value::as_str);
    let hardware = hardware.map_or_else(String::new, |name| format!(" of {name}"));
    let said = report.config.pointer("/trust/text").and_then(Value::as_str);
    let checked = |record: &Record| Checked {
        backend: record.backend,
        verification: record.verification,
        verified: record.verified,
        valid: record.valid,
    };
    let records: Vec<Checked> = report.rows.iter().map(checked).collect();
    let tables = report.latencies().into_iter().map(|latency| table(report, latency)).collect::<String>();
    let options: String = crate::page::escaped(&report.header);
    let legend: String =
        report.legend(false).iter().map(|line| format!("<li>{}</li>", crate::page::escaped(line))).collect();
    let tables = format!(
        "<h2>Table</h2>{tables}<details><summary>What the columns mean</summary><ul>{legend}</ul></details>\
         <details><summary>All options</summary><pre>{options}</pre></details>"
    );
    let pictures = [
        slowdown::pictures(report, id),
        phases::of_comparison(report, id),
        ports::picture(report, id).into_iter().collect(),
        traffic::pictures(report, id),
        frames::pictures(report, id),
        ranks::pictures(report, id),
        faults::of_comparison(report, id),
    ];
    Section {
        headline: headline(report),
        subject: report.subject(),
        answers,
        trust: trust::lines(&records, &hardware, false, &said.map(str::to_owned).into_iter().collect()),
        tables,
        pictures: pictures.concat(),
    }
}

/// What the racks cost, and what leaves least of it without another model.
fn headline(report: &Report) -> String {
    let (latency, backend) = told_by(report);
    let rows: Vec<&Record> = report
        .rows
        .iter()
        .filter(|record| record.latency == latency && record.backend == backend)
        .filter(|record| {
            record.racks > 1 && record.gate_rack_limit.is_none() && record.layer_slowdown.is_some()
        })
        .collect();
    let Some(first) = rows.first() else { return report.subject() };
    let told = |record: &Record| {
        let (a2a, layer) = (record.a2a_slowdown.unwrap_or(1.0), record.layer_slowdown.unwrap_or(1.0));
        format!("a layer take {layer:.2} times as long (its all-to-all {a2a:.2})")
    };
    let racks = match first.racks {
        2 => "A second rack makes".to_owned(),
        racks => format!("{racks} racks make"),
    };
    let least = rows.iter().min_by(|one, other| {
        let of = |record: &Record| record.layer_slowdown.unwrap_or(f64::INFINITY);
        of(one).total_cmp(&of(other))
    });
    let won = least.filter(|least| least.configuration != first.configuration);
    let won = won.map_or_else(String::new, |least| {
        let (a2a, layer) = (least.a2a_slowdown.unwrap_or(1.0), least.layer_slowdown.unwrap_or(1.0));
        format!("; {} leaves {layer:.2} ({a2a:.2})", way(least))
    });
    format!("{racks} {} with {} dispatch{won}", told(first), first.scheme)
}

/// The table at one latency, the backend nearest to reality first.
fn table(report: &Report, latency: &str) -> String {
    let mut backends = report.backends();
    backends.reverse();
    let mut columns: Vec<String> =
        ["configuration", "copies/token in rack", "between racks", "expected"].map(str::to_owned).to_vec();
    for (what, slowed) in [("a2a", true), ("compute", false), ("layer", true)] {
        columns.extend(backends.iter().map(|backend| format!("{what} {backend}, us")));
        if slowed {
            columns.push(format!("{what} slowdown"));
        }
    }
    columns.extend(["expert GB/rank", "verified"].map(str::to_owned));
    let rows = configurations(report, latency).into_iter().map(|records| {
        let best = records[records.len() - 1];
        let by = |backend: BackendKind| records.iter().find(|record| record.backend == backend);
        let mut cells = vec![
            best.title.clone(),
            format!("{:.2}", best.intra_copies_per_token),
            format!("{:.2}", best.inter_copies_per_token),
            format!("{:.2}", best.expected_inter),
        ];
        cells.extend(backends.iter().map(|backend| cell(by(*backend).map(|record| record.a2a_us))));
        cells.push(ratio(best.a2a_slowdown));
        cells.extend(backends.iter().map(|backend| cell(by(*backend).map(|record| record.compute_us))));
        cells.extend(backends.iter().map(|backend| cell(by(*backend).map(|record| record.layer_us))));
        cells.push(ratio(best.layer_slowdown));
        cells.push(format!("{:.3}", best.weight_bytes_per_rank as f64 / 1e9));
        cells.push(verdict(&records).to_owned());
        cells
    });
    let caption = format!("Every configuration over {}; times in emulated us", links(latency));
    Table { caption, columns, names: 1, rows: rows.collect() }.html()
}

/// Of all backends that ran: NO before INVALID before yes.
fn verdict(records: &[&Record]) -> &'static str {
    let ran = || records.iter().filter(|record| record.backend != BackendKind::Analytic);
    match () {
        () if ran().any(|record| !record.verified) => "NO",
        () if ran().any(|record| !record.valid) => "INVALID",
        () if ran().next().is_none() => "-",
        () => "yes",
    }
}
