//! Drives ranks through rounds and steps, on a virtual clock or over QUIC: membership, epochs, sessions, pace, and a judgement of whether
//! the machine could follow.

mod error;
pub mod judge;
pub mod local;
pub mod machine;
pub mod pace;
pub mod run;
pub mod server;
pub mod sim;
pub mod swarm;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::{RunError, STEPS_MAX};
pub use local::{LocalCluster, LocalConfig, LocalError, WorkerKind};
pub use machine::{Coordinator, CoordinatorEvent, Limits};
pub use run::{Leads, RunRequest, Runner, StepRecord, run_steps, run_until};
pub use server::{ClusterHandle, NodeRunner, ServerConfig};
pub use sim::SimRunner;
