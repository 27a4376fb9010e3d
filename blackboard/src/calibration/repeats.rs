//! Measurements that are given twice: each would count twice in a fit, and no less where they were left out.

use super::{CalibrationError, Measurement, Served};
use std::collections::BTreeMap;

/// Refuses a measurement that was given before, whatever stands beside it: comments, order of columns, separators.
///
/// # Errors
/// [`CalibrationError::Twice`] with both places.
pub fn measured_once(measurements: &[Measurement]) -> Result<(), CalibrationError> {
    once(measurements, |row| {
        (row.at.as_str(), format!("{:?}", Measurement { at: String::new(), ..row.clone() }))
    })
}

/// Refuses a server run that was given before, under whatever name.
///
/// # Errors
/// [`CalibrationError::Twice`] with both places.
pub fn served_once(runs: &[Served]) -> Result<(), CalibrationError> {
    let bare = |run: &Served| Served { at: String::new(), name: String::new(), ..run.clone() };
    once(runs, |run| (run.at.as_str(), format!("{:?}", bare(run))))
}

fn once<T>(rows: &[T], told: impl Fn(&T) -> (&str, String)) -> Result<(), CalibrationError> {
    let mut known = BTreeMap::new();
    for (at, what) in rows.iter().map(told) {
        if let Some(before) = known.insert(what, at) {
            return Err(CalibrationError::Twice { at: at.to_owned(), before: before.to_owned() });
        }
    }
    Ok(())
}
