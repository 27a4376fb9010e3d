//! What experiments can be about, a file each: the settings, what a point of them runs, the numbers that come out.

mod fields;
pub mod layer;
pub mod rebalance;
pub mod roofline;
mod serving;
mod serving_columns;
#[cfg(test)]
mod tests;

pub use serving::{Serving, record, serve_spec, served};
