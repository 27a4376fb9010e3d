//! Errors of predictions as a table and as an object.

use blackboard::calibration::Errors;
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn table(text: &mut String, head: &str, rows: &[(String, Errors)]) {
    let width =
        rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(head.chars().count());
    let _ = writeln!(text, "{head:<width$}  rows  median%   mean%    p90%    max%   bias%");
    for (name, errors) in rows {
        let Errors { rows, median, mean, p90, max, bias } = errors;
        let percent = [median, mean, p90, max].map(|error| format!("{:>6.2}", error * 100.0)).join("  ");
        let _ = writeln!(text, "{name:<width$}  {rows:>4}   {percent}  {:>+6.2}", bias * 100.0);
    }
}

pub(super) fn errors_object(errors: &Errors) -> Value {
    let Errors { rows, median, mean, p90, max, bias } = errors;
    json!({"rows": rows, "median": median, "mean": mean, "p90": p90, "max": max, "bias": bias})
}
