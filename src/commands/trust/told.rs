//! What `railyard trust` tells: errors by table as text and JSON, each measurement as CSV, one picture.

use super::{Row, SAYERS, Told};
use blackboard::calibration::{Errors, Measurement};
use blackboard::figure::{Axis, Figure, Layer, Mean};
use blackboard::published::LONGER;
use serde_json::{Value, json};
use std::fmt::Write;

const SCHEMA_VERSION: u32 = 1;

pub(super) fn text(all: &[Told]) -> String {
    let mut text = "Published measurements, and how far off this is: |said / measured - 1|, sim as the mean over ranks\n".to_owned();
    for told in all {
        let rows = told.rows.len();
        let profile = told.series.profile.map_or_else(String::new, |name| format!(", profile {name}"));
        let _ = writeln!(text, "\n{} ({rows} times, {}{profile})", told.series.name, told.series.file);
        text.push_str("  said by             rows  median%   mean%    p90%    max%   bias%\n");
        for (name, errors) in SAYERS.iter().zip(told.errors()) {
            let Some(Errors { rows, median, mean, p90, max, bias }) = errors else { continue };
            let percent = [median, mean, p90, max].map(|error| format!("{:>6.2}", error * 100.0)).join("  ");
            let _ = writeln!(text, "  {name:<18}  {rows:>4}   {percent}  {:>+6.2}", bias * 100.0);
        }
    }
    let _ = writeln!(
        text,
        "\nnominal ports: a lower bound of times; measured kernels took {} to {} times as long (median by table). The simulator was given batches of up to \
         {} rows.",
        LONGER[0],
        LONGER[1],
        super::SIM_ROWS_MAX,
    );
    text
}

pub(super) fn object(all: &[Told]) -> Value {
    let errors = |errors: Option<Errors>| {
        errors.map(|Errors { rows, median, mean, p90, max, bias }| {
            json!({"rows": rows, "median": median, "mean": mean, "p90": p90, "max": max, "bias": bias})
        })
    };
    let table = |told: &Told| {
        let keys = ["analytic_nominal", "sim_nominal", "analytic_profile", "sim_profile"];
        let by: serde_json::Map<String, Value> = keys
            .into_iter()
            .zip(told.errors())
            .map(|(key, found)| (key.to_owned(), json!(errors(found))))
            .collect();
        json!({
            "name": told.series.name,
            "file": told.series.file,
            "variant": told.series.variant,
            "hardware": told.series.chip,
            "profile": told.series.profile,
            "errors": by,
            "rows": told.rows.iter().map(row_object).collect::<Vec<_>>(),
        })
    };
    json!({"schema_version": SCHEMA_VERSION, "tables": all.iter().map(table).collect::<Vec<_>>()})
}

fn row_object(row: &Row) -> Value {
    let Measurement { op, racks, ranks, experts, tokens, sms, us, .. } = &row.said.measured;
    let [nominal, sim_nominal, profiled, sim_profiled] = row.times();
    json!({
        "op": op.to_string(), "racks": racks, "ranks": ranks, "experts": experts, "tokens": tokens, "sms": sms, "measured_us": us,
        "analytic_nominal_us": nominal, "sim_nominal_us": sim_nominal, "analytic_profile_us": profiled, "sim_profile_us": sim_profiled,
    })
}

pub(super) fn csv(all: &[Told]) -> String {
    let mut text = "table,op,racks,ranks,experts,tokens,sms,measured_us,analytic_nominal_us,sim_nominal_us,analytic_profile_us,sim_profile_us\n".to_owned();
    for told in all {
        for row in &told.rows {
            let Measurement { op, racks, ranks, experts, tokens, sms, us, .. } = &row.said.measured;
            let sms = sms.map_or_else(String::new, |sms| sms.to_string());
            let times =
                row.times().map(|time| time.map_or_else(String::new, |us| format!("{us:.2}"))).join(",");
            let _ = writeln!(
                text,
                "\"{}\",{op},{racks},{ranks},{experts},{tokens},{sms},{us},{times}",
                told.series.name
            );
        }
    }
    text
}

/// The median error of each table, by who says it.
pub(super) fn figure(all: &[Told]) -> Figure {
    let errors: Vec<[Option<Errors>; 4]> = all.iter().map(Told::errors).collect();
    let bars = |at: usize| {
        let values = errors.iter().map(|of| of[at].map(|errors| Mean::from(errors.median * 100.0)));
        Layer::Bars { series: vec![(SAYERS[at].to_owned(), values.collect())] }
    };
    Figure {
        id: "trust",
        chapter: "trust",
        title: "How far off published measurements".to_owned(),
        caption: "Median of |said / measured - 1| by table; sim: mean over ranks, smaller batches only. Sources: blackboard/data/measured."
            .to_owned(),
        x: Axis::categories("table", all.iter().map(|told| told.series.name)),
        y: Axis::linear("median error, %"),
        layers: (0..SAYERS.len()).map(bars).collect(),
    }
}
