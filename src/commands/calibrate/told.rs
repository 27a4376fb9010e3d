//! What `railyard calibrate` tells: parameters with what determines them, errors by column and batch, outliers.

use super::errors::{errors_object, table};
use super::servers::{self, Servers};
use blackboard::calibration::{Errors, Fit, Fitted, Measurement, column_of, errors_by, regime_of};
use serde_json::{Value, json};
use std::fmt::Write;
use topology::Hardware;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 3;
/// An outlier is off by more than this,
const OUTLIER: f64 = 0.10;
/// and by more than so many times the median.
const OUTLIER_MEDIANS: f64 = 4.0;

/// Measurements that were left out, with their errors.
pub(super) type Predicted = Vec<(Measurement, f64)>;

/// Everything that is told.
pub(super) struct Told {
    pub(super) files: Vec<String>,
    pub(super) nominal: Hardware,
    pub(super) measured: Vec<Measurement>,
    /// `predicted / measured - 1` of each.
    pub(super) errors: Vec<f64>,
    pub(super) evaluated: Option<String>,
    pub(super) fit: Option<Fit>,
    /// Runs of servers, if the files have any.
    pub(super) servers: Option<Servers>,
    /// How far apart fits of two halves are.
    pub(super) halves: Option<Errors>,
    /// Rule, what was predicted, how many nothing could be said about.
    pub(super) held_out: Vec<(String, Predicted, usize)>,
    pub(super) profile: Option<Hardware>,
}

impl Told {
    /// Before anything is fitted.
    pub(super) fn new(files: Vec<String>, measured: Vec<Measurement>, nominal: Hardware) -> Self {
        Self {
            files,
            nominal,
            measured,
            errors: Vec::new(),
            evaluated: None,
            fit: None,
            servers: None,
            halves: None,
            held_out: Vec::new(),
            profile: None,
        }
    }
}

type Table = Vec<(String, Errors)>;

/// By column, by batch, and all.
fn tables(measured: &[Measurement], errors: &[f64]) -> [Table; 3] {
    let all = Errors::of(errors).map(|all| ("all".to_owned(), all));
    let by_batch = errors_by(measured, errors, |row| (row.tokens > 16, row.tokens > 256, regime_of(row)));
    let by_batch = by_batch.into_iter().map(|((_, _, name), errors)| (name.to_owned(), errors));
    [errors_by(measured, errors, column_of), by_batch.collect(), all.into_iter().collect()]
}

fn outliers(measured: &[Measurement], errors: &[f64]) -> Vec<(String, f64, f64)> {
    let median = Errors::of(errors).map_or(0.0, |all| all.median);
    let far = |error: f64| error.abs() > OUTLIER && error.abs() > OUTLIER_MEDIANS * median;
    let pairs = measured.iter().zip(errors).filter(|(_, error)| far(**error));
    pairs.map(|(row, error)| (row.at.clone(), row.us, *error)).collect()
}

pub(super) fn text(told: &Told) -> String {
    let mut text = format!("{}: ", told.files.join(", "));
    if !told.measured.is_empty() {
        times(&mut text, told);
        if told.servers.is_some() {
            text.push('\n');
        }
    }
    if let Some(servers) = &told.servers {
        servers::text(&mut text, servers, told.evaluated.as_deref());
    }
    text
}

/// Of kernels and layers.
fn times(text: &mut String, told: &Told) {
    let _ = writeln!(text, "{} measurements; nominal {}\n", told.measured.len(), told.nominal.name);
    if let Some(fit) = &told.fit {
        parameters(text, fit);
    }
    let head = told
        .evaluated
        .as_ref()
        .map_or_else(|| "error of the fit".to_owned(), |name| format!("error of {name}"));
    let rows: Vec<_> = tables(&told.measured, &told.errors).concat();
    table(text, &head, &rows);
    for (rule, found, unsaid) in &told.held_out {
        let (measured, errors): (Vec<Measurement>, Vec<f64>) = found.iter().cloned().unzip();
        text.push('\n');
        table(text, &format!("held out: {rule}"), &tables(&measured, &errors).concat());
        if *unsaid > 0 {
            let _ = writeln!(
                text,
                "{unsaid} more were left out with all of their kind: nothing can be said about them"
            );
        }
    }
    if let Some(apart) = &told.halves {
        let _ = writeln!(
            text,
            "\nfitted to either of two random halves, predictions are {:.2}% apart in the median, {:.2}% in nine of ten",
            apart.median * 100.0,
            apart.p90 * 100.0,
        );
    }
    let far = outliers(&told.measured, &told.errors);
    if !far.is_empty() {
        text.push_str("\noutliers, which are in all figures:\n");
        for (at, us, error) in far {
            let _ = writeln!(text, "  {at}: {us} us, predicted {:+.0}%", error * 100.0);
        }
    }
}

fn parameter(text: &mut String, one: &Fitted) {
    let unsure = if one.is_determined() { "" } else { "  the data do not determine this" };
    let value = if one.value >= 1e6 { format!("{:.3e}", one.value) } else { one.value.to_string() };
    let deviation = format!("+- {:.1}%", one.deviation * 100.0);
    let _ = writeln!(text, "  {:<22} {value:>12}  {deviation}{unsure}", one.key);
}

fn parameter_object(one: &Fitted) -> Value {
    let deviation = one.deviation.is_finite().then_some(one.deviation);
    json!({"key": one.key, "value": one.value, "relative_standard_error": deviation, "determined": one.is_determined()})
}

fn parameters(text: &mut String, fit: &Fit) {
    for ((variant, op, over_racks), column) in fit.columns() {
        let place = if *over_racks { "over several racks" } else { "in one rack" };
        let name = if variant.is_empty() { String::new() } else { format!("{variant}: ") };
        let sms = column.sms.map_or_else(String::new, |sms| format!(", rates with {sms} SMs"));
        let _ = writeln!(text, "{name}{op}, {place} ({} measurements{sms})", column.measurements);
        column.parameters.iter().for_each(|one| parameter(text, one));
    }
    for (variant, layer) in fit.layers() {
        let _ = writeln!(text, "{variant} layer ({} measurements)", layer.measurements);
        layer.parameters.iter().for_each(|one| parameter(text, one));
    }
    text.push('\n');
}

fn tables_object(measured: &[Measurement], errors: &[f64]) -> Value {
    let named = |table: &Table| -> Value {
        table
            .iter()
            .map(|(name, errors)| (name.clone(), errors_object(errors)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let [columns, batches, _] = tables(measured, errors);
    json!({
        "all": Errors::of(errors).as_ref().map(errors_object),
        "columns": named(&columns),
        "batches": named(&batches),
    })
}

pub(super) fn object(told: &Told) -> Value {
    let columns = told.fit.iter().flat_map(Fit::columns).map(|((variant, op, over_racks), column)| {
        json!({
            "variant": variant,
            "op": op.to_string(),
            "over_racks": over_racks,
            "measurements": column.measurements,
            "sms": column.sms,
            "parameters": column.parameters.iter().map(parameter_object).collect::<Vec<_>>(),
        })
    });
    let layers = told.fit.iter().flat_map(Fit::layers).map(|(variant, layer)| {
        json!({
            "variant": variant,
            "op": "layer",
            "over_racks": false,
            "measurements": layer.measurements,
            "sms": null,
            "parameters": layer.parameters.iter().map(parameter_object).collect::<Vec<_>>(),
        })
    });
    let held_out = told.held_out.iter().map(|(rule, found, unsaid)| {
        let (measured, errors): (Vec<Measurement>, Vec<f64>) = found.iter().cloned().unzip();
        json!({"rule": rule, "errors": tables_object(&measured, &errors), "unsaid": unsaid})
    });
    let outliers = outliers(&told.measured, &told.errors).into_iter();
    json!({
        "schema_version": SCHEMA_VERSION,
        "files": told.files,
        "nominal": told.nominal.name,
        "measurements": told.measured.len(),
        "evaluated": told.evaluated,
        "fits": columns.chain(layers).collect::<Vec<_>>(),
        "errors": tables_object(&told.measured, &told.errors),
        "held_out": held_out.collect::<Vec<_>>(),
        "halves_apart": told.halves.as_ref().map(errors_object),
        "servers": told.servers.as_ref().map(servers::object),
        "outliers": outliers.map(|(at, us, error)| json!({"at": at, "us": us, "error": error})).collect::<Vec<_>>(),
    })
}
