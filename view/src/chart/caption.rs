//! What goes below a picture.

use super::series::Series;
use super::table::{Cell, Table};
use study::experiment::PlotTable;

impl Table {
    /// What goes below the picture.
    pub(super) fn caption(&self, plot: &PlotTable, drawn: &[Series]) -> Vec<String> {
        let mut caption = Vec::new();
        let intervals = drawn.iter().flat_map(|series| &series.points).any(|point| point.mean.half.is_some());
        if self.seeds > 1 {
            let ends = if intervals { ", with 95% intervals" } else { "" };
            caption.push(format!("means over {} seeds{ends}", self.seeds));
        }
        if let Some(along) = drawn.iter().find_map(|series| series.along.as_ref()) {
            let mut numbers: Vec<f64> = self
                .rows
                .iter()
                .filter_map(|row| match row.settings.get(along) {
                    Some(Cell::Number(number)) => Some(*number),
                    _ => None,
                })
                .collect();
            numbers.sort_by(f64::total_cmp);
            if let ([first, ..], [.., last]) = (&numbers[..], &numbers[..]) {
                caption.push(format!("along each line {} from {first} to {last}", self.common(&[along]).0));
            }
        }
        caption.extend(self.notes.iter().cloned());
        if !plot.stated.is_empty() {
            caption.push("marks with a text: as a source states".to_owned());
        }
        caption.push("rates of links and compute are assumed".to_owned());
        caption
    }
}
