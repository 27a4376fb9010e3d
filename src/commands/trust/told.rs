//! What `railyard trust` tells: errors by table as text and JSON, each measurement as CSV, one picture.

use super::{Row, SAYERS, Told, What};
use blackboard::calibration::Errors;
use blackboard::figure::{Axis, Figure, Layer, Mean};
use blackboard::published::serving::{ASSUMED, ServedSaid, TOO_MANY, TOO_MANY_IN_TURN, profile_of};
use blackboard::published::{LAYERS_LONGER, LONGER};
use serde_json::{Value, json};
use std::fmt::Write;

const SCHEMA_VERSION: u32 = 1;

pub(super) fn text(all: &[Told]) -> String {
    let mut text = "Published measurements, and how far off this is: |said / measured - 1|, sim as the mean over ranks\n".to_owned();
    for told in all {
        let rows = told.rows.len();
        let profile = told.profile.map_or_else(String::new, |name| format!(", profile {name}"));
        let _ = writeln!(text, "\n{} ({rows} times, {}{profile})", told.name, told.file);
        text.push_str("  said by             rows  median%   mean%    p90%    max%   bias%\n");
        for (name, errors) in SAYERS.iter().zip(told.errors()) {
            let Some(Errors { rows, median, mean, p90, max, bias }) = errors else { continue };
            let percent = [median, mean, p90, max].map(|error| format!("{:>6.2}", error * 100.0)).join("  ");
            let _ = writeln!(text, "  {name:<18}  {rows:>4}   {percent}  {:>+6.2}", bias * 100.0);
        }
        told.rows.iter().filter_map(|row| row.served.as_ref()).for_each(|said| server(&mut text, said));
        if told.rows.iter().any(|row| row.served.is_some()) {
            let _ = writeln!(text, "  assumed: {ASSUMED}; ~ what a rank had to do isn't published");
        }
    }
    let _ = writeln!(
        text,
        "\nnominal rates: a lower bound of times. Measured kernels took {} to {} times as long, whole layers {} to {} times (median by table); of servers \
         nominal rates say {} to {} times the tokens that they made, {} to {} times where no part hides another. The simulator was given batches of up \
         to {} rows.",
        LONGER[0],
        LONGER[1],
        LAYERS_LONGER[0],
        LAYERS_LONGER[1],
        TOO_MANY[0],
        TOO_MANY[1],
        TOO_MANY_IN_TURN[0],
        TOO_MANY_IN_TURN[1],
        super::SIM_ROWS_MAX,
    );
    text
}

/// A server's rate and what is said of it.
fn server(text: &mut String, said: &ServedSaid) {
    let served = &said.served;
    let beside = |rate: f64| format!("{rate:.0} ({:+.0}%)", (rate / served.tokens_per_s - 1.0) * 100.0);
    let unit = if served.prompts { "tokens, prompts of" } else { "sequences of" };
    let _ = writeln!(
        text,
        "  {} on {} {}, {}{} {unit} {} a rank: {} tokens/s a rank; nominal: all at once {}, in turn {}; {}: {}",
        served.name,
        served.ranks,
        served.gpu,
        if served.load_known { "" } else { "~" },
        served.load,
        served.context,
        served.tokens_per_s,
        beside(said.nominal),
        beside(said.in_turn),
        profile_of(served),
        beside(said.profiled),
    );
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
            "name": told.name,
            "file": told.file,
            "variant": told.variant,
            "hardware": told.chip,
            "profile": told.profile,
            "errors": by,
            "rows": told.rows.iter().map(row_object).collect::<Vec<_>>(),
        })
    };
    json!({"schema_version": SCHEMA_VERSION, "tables": all.iter().map(table).collect::<Vec<_>>()})
}

fn row_object(row: &Row) -> Value {
    let What { op, racks, ranks, experts, tokens, sms } = &row.what;
    let [nominal, sim_nominal, profiled, sim_profiled] = row.times;
    let mut object = json!({
        "op": op, "racks": racks, "ranks": ranks, "experts": experts, "tokens": tokens, "sms": sms, "measured_us": row.measured_us,
        "analytic_nominal_us": nominal, "sim_nominal_us": sim_nominal, "analytic_profile_us": profiled, "sim_profile_us": sim_profiled,
    });
    if let Some(ServedSaid { served, nominal, in_turn, profiled }) = &row.served {
        object["server"] = json!({
            "name": served.name, "hardware": served.gpu, "load_published": served.load_known, "context": served.context,
            "tokens_per_s_per_rank": served.tokens_per_s, "nominal_tokens_per_s_per_rank": nominal,
            "nominal_in_turn_tokens_per_s_per_rank": in_turn, "profile": profile_of(served), "profile_tokens_per_s_per_rank": profiled,
        });
    }
    object
}

pub(super) fn csv(all: &[Told]) -> String {
    let mut text = "table,op,racks,ranks,experts,tokens,sms,measured_us,analytic_nominal_us,sim_nominal_us,analytic_profile_us,sim_profile_us\n".to_owned();
    for told in all {
        for row in &told.rows {
            let What { op, racks, ranks, experts, tokens, sms } = &row.what;
            let sms = sms.map_or_else(String::new, |sms| sms.to_string());
            let times =
                row.times.map(|time| time.map_or_else(String::new, |us| format!("{us:.2}"))).join(",");
            let name = told.name;
            let us = row.measured_us;
            let _ =
                writeln!(text, "\"{name}\",\"{op}\",{racks},{ranks},{experts},{tokens},{sms},{us},{times}");
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
        x: Axis::categories("table", all.iter().map(|told| told.name)),
        y: Axis::linear("median error, %"),
        layers: (0..SAYERS.len()).map(bars).collect(),
    }
}
