//! One file a command.

pub(crate) mod bench;
pub(crate) mod board;
pub(crate) mod calibrate;
pub(crate) mod certs;
pub(crate) mod compare;
pub(crate) mod coordinator;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod manual;
mod model;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod presets;
pub(crate) mod report;
pub(crate) mod roofline;
pub(crate) mod run;
pub(crate) mod serve_bench;
pub(crate) mod swarm;
pub(crate) mod topology;
pub(crate) mod trust;
mod ui;
mod watched;
mod workers;

use crate::failure::Failure;
use ::coordinator::local::Interrupts;
use std::future::Future;
use tokio::runtime::Builder;

/// Runs `work` on this thread, and what it starts beside it; what blocks is left behind.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// As [`block_on`], but ends at Ctrl-C or SIGTERM; what `work` has started is dropped then.
fn block_on_interruptibly<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on(async {
        let mut interrupts = Interrupts::listen().map_err(Failure::failed)?;
        tokio::select! {
            biased;
            () = interrupts.next() => Err(Failure::Interrupted(anyhow::anyhow!("interrupted"))),
            result = work => result,
        }
    })
}
