//! One rack against two (or more): the same layer under every scheme and placement, on up to three backends.
//!
//! [`CompareSpec`] says everything that a comparison is defined by. `rows` turns it into configurations, `truth`
//! knows what each must yield, `run` drives the backends, `measure` paces them, `attempts` repeats what the host disturbed, [`coordinator::judge`] judges what they
//! measured, and [`Report`] is what comes out: one [`Record`] for each configuration, latency and backend, as JSON or as a table with a
//! few sentences.
//!
//! Times are emulated microseconds. Phases run in lockstep: dispatch, expert and combine each open at a common instant,
//! a phase's time is the largest over the ranks, the all-to-all is dispatch + combine and the layer adds compute. Overlap
//! of compute and communication is off.

mod analytic;
mod attempts;
mod bandwidth;
mod bandwidth_table;
mod burst;
mod configuration;
mod detail;
#[cfg(test)]
mod detail_tests;
mod error;
mod expected;
mod faults;
#[cfg(test)]
mod faults_tests;
mod finished;
#[cfg(test)]
mod finished_tests;
mod frames;
mod headroom;
#[cfg(test)]
mod kinds_tests;
mod left;
mod level;
mod line;
mod matrix;
mod measure;
mod memory;
mod pairs;
mod place;
#[cfg(test)]
mod place_tests;
mod progress;
mod record;
mod render;
mod rows;
mod run;
mod samples;
mod spec;
mod stats;
mod summary;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod told;
mod traced;
mod truth;
mod words;

pub use crate::scenario::{BackendKind, BaseChoice, Dilation, GateChoice, LatencyChoice};
pub use analytic::{PipelineRow, pipeline_row};
pub use bandwidth::{Bandwidth, PhaseBandwidth, TierBandwidth};
pub use configuration::Configuration;
pub use detail::{ByPhase, Detail};
pub use error::CompareError;
pub use expected::{Expected, ExpectedKind};
pub use faults::FaultCost;
pub use finished::{About, Finished, FinishedRow};
pub use frames::{BINS, PortsOverTime, Way};
pub use headroom::MemoryLimit;
pub use matrix::{MATRIX_SIDE_MAX, MatrixBy};
pub(crate) use measure::request;
pub use memory::{Estimate, estimate};
pub(crate) use memory::{PEER_BYTES, WORKER_BYTES};
pub use node::setup::chunk_rows;
pub use progress::{Progress, ProgressSink};
pub use record::{Discarded, Record, Report, SCHEMA_VERSION, Verification};
pub(crate) use render::headline;
pub use rows::{Wanted, configuration, configurations, outline};
pub use run::{check, compare, compare_offline, compare_offline_traced, compare_rows, early, preview};
pub use spec::CompareSpec;
pub use summary::sentences;
pub use table::Page;
pub use traced::{Traced, TracedStep};
pub use words::{LayerArgs, LayerWords, bytes};
