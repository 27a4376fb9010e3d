//! Studies what ranks do: comparisons of one layer, serving runs, rebalancing, experiments over them, micro-benchmarks, and the queue in
//! which a cluster serves them to clients.

pub mod bench;
mod cached;
mod difference;
pub mod experiment;
pub mod gauge;
pub mod layer;
pub mod placing;
pub mod plan;
pub mod rebalance;
pub mod scenario;
pub mod service;
pub mod serving;
pub mod subjects;
pub mod text_table;
