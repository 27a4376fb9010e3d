//! What people look at. [`chart`] makes a figure of an experiment's results, [`picture`] draws one to a file; between them stands
//! [`blackboard::figure::Figure`], data alone, so that another page may draw it another way. [`timeline`] writes what happened when. Knows
//! records and claims, and no runner.

pub mod board;
pub mod chart;
#[cfg(feature = "plots")]
mod draw;
mod medium;
pub mod page;
#[cfg(feature = "parquet")]
pub mod parquet_file;
pub mod picture;
pub mod report;
mod results;
pub mod timeline;
mod words;

pub use medium::Medium;
pub use results::{figure, table};
