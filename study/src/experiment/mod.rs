//! Experiment files: sweeps over the options of a comparison, run point by point, resumable, in shards, merged into one report.
//!
//! [`parse_experiment`] reads the file, [`Plan`] resolves its points, [`Results`] is the file of finished ones, [`run_offline`]
//! fills it. What a key means is not known here: the command says so ([`Options`], [`Resolver`]), by the flag of the same name.

mod error;
mod file;
mod interval;
mod merge;
mod plan;
mod points;
mod range;
mod results;
mod run;
mod shard;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use error::{ExperimentError, FileError};
pub use file::{Axis, Experiment, Options, POINTS_MAX, parse_experiment};
pub use interval::mean_and_interval;
pub use merge::{Merged, merge};
pub use plan::{Plan, Resolved, Resolver, point_line};
pub use points::Point;
pub(crate) use range::range_of_table;
pub use results::{Contents, Header, PointLine, RESULTS_VERSION, Results, read_results};
pub use run::run_offline;
pub use shard::Shard;
pub use summary::{COLUMNS, Column, Estimate, Means, SummaryRow, summarise};
pub use table::{FlatRecord, csv, table};
pub use value::{Ordered, Settings, Value};
