//! Membership, epochs, the step driver, experiments, the backends and their records.

pub mod backend;
pub mod compare;
mod difference;
pub mod experiment;
pub mod local;
pub mod machine;
pub mod rebalance;
pub mod run;
pub mod serve_bench;
pub mod server;
pub mod steps;
#[cfg(test)]
mod testing;

pub use backend::{Backend, SimBackend};
pub use local::{LocalCluster, LocalConfig, LocalError, WorkerKind};
pub use machine::{Coordinator, CoordinatorEvent, Limits};
pub use run::{RoundRecord, RunError, RunRequest};
pub use server::{ClusterHandle, ServerConfig, Session};
pub use steps::{SimSteps, StepRecord, Stepper, StepsRequest};
