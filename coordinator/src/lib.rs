//! Drives ranks through rounds and steps, on a virtual clock or over QUIC: membership, epochs, sessions, pace, and a judgement of whether
//! the machine could follow.

pub mod backend;
pub mod judge;
pub mod local;
pub mod machine;
pub mod pace;
pub mod run;
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
