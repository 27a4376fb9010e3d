//! Ranks, racks, links, port arithmetic, hardware presets, traffic matrices and the fluid bound.
//!
//! The vocabulary of every other crate: who is in which rack ([`Cluster`]), how fast the two fabrics are
//! ([`Fabric`]), when a transfer ends ([`Port`]), who sends how much to whom ([`TrafficMatrix`]) and how soon
//! that can be over at best ([`fluid_bound`]). Times are whole picoseconds ([`Picos`]) and rates whole bytes
//! per second ([`Rate`]), so that every backend computes the same stamps.
//!
//! What is deliberately absent: experts, sockets, threads, randomness and clocks. Time comes in as an
//! argument.

mod cluster;
mod cluster_file;
mod fabric;
mod fault;
mod fluid;
mod hardware;
mod hardware_table;
mod ids;
mod kernels;
mod measured_range;
mod port;
mod presets;
mod traffic;
mod units;
mod uplink;
mod words;

pub use cluster::{Cluster, ClusterError, MAX_RANKS};
pub use cluster_file::{
    ClusterFileError, ClusterFileProblem, ClusterSpec, MAX_CLUSTER_FILE_BYTES, parse_cluster_file,
};
pub use fabric::{Fabric, LinkClass, LinkSpec};
pub use fault::{
    Crossing, FAULT_KEYS, FAULTS_MAX, Fate, Fault, FaultPhase, FaultPlan, FaultProblem, Moment, Pace,
    Verdict, What, When, Whom,
};
pub use fluid::{busiest_port, fluid_bound, rack_bytes};
pub use hardware::{
    Confidence, DomainTopology, Dtype, Hardware, HardwareError, LayerOverlap, LayerProfile, ServingProfile,
};
pub use hardware_table::{HardwareTableProblem, MAX_LATENCY_US};
pub use ids::{RackId, RankId};
pub use kernels::{
    A2aLinks, Kernel, KernelLoad, KernelProfile, KernelTime, PhaseKernels, PhaseLinks, Provenance, RowFormat,
};
pub use measured_range::{MeasuredRange, span};
pub use port::Port;
pub use traffic::TrafficMatrix;
pub use units::{Picos, Rate, UnitError};
pub use uplink::Oversubscription;
pub use words::{did_you_mean, named};
