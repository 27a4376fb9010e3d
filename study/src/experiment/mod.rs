//! Experiment files: sweeps over the settings of a [`Subject`], run point by point, resumable, in shards, merged into one report.
//!
//! [`parse_experiment`] reads the file, [`Plan`] resolves its points, [`Results`] is the file of finished ones, [`run_offline`]
//! fills it, [`collect`] reads files of results of any subject. What a setting means and what a point runs says the subject alone.

mod error;
mod export;
mod faults;
mod file;
mod finding;
mod interval;
mod merge;
mod old;
mod plan;
mod plots;
mod points;
mod range;
mod record;
mod results;
mod run;
mod set;
mod shard;
mod subject;
mod summary;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use crate::scenario::value;
pub use crate::scenario::{Ordered, Settings, Value, quoted};
pub use error::{ExperimentError, FileError};
pub use export::{FlatRecord, csv};
pub use file::parse_experiment;
pub use interval::mean_and_interval;
pub use merge::{Collection, collect};
pub use plan::{Plan, failed, point_line};
pub use points::{Axis, Experiment, POINTS_MAX, Point};
pub use range::{Spacing, range};
pub use record::{Header, Merged, PlotTable, PointLine, RESULTS_VERSION, Record, Stated};
pub use results::Results;
pub use run::{run_offline, run_on_workers};
pub use shard::Shard;
pub use subject::{
    Asked, Column, Failed, Fault, Measuring, Note, Remote, Resolved, Shown, Subject, Work, find, label,
    remedy, short, shown,
};
pub use summary::{Estimate, SummaryRow, summarise};
pub use table::{number, table};
