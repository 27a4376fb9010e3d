//! What happened to nodes, links and runs, as sentences with the time, and counted.

use crate::shown::News;
use crate::state::Yard;
use coordinator::CoordinatorEvent;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast::error::RecvError;

/// Listens until the coordinator is shut down.
pub(crate) async fn listen(yard: Arc<Yard>) {
    let mut events = yard.cluster.subscribe();
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Some((what, text)) = sentence(&event) {
                    yard.counters.news.with_label_values(&[what]).inc();
                    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    let at_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                    yard.tell(News { at_unix_ms, what, text });
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A word and a sentence; `None` for what is shown otherwise.
fn sentence(event: &CoordinatorEvent) -> Option<(&'static str, String)> {
    use CoordinatorEvent as E;
    Some(match event {
        E::NodeJoined { name, members, .. } => {
            ("joined", format!("{name} joined: {members} nodes are there"))
        }
        E::NodeLeft { name, reason, members, .. } => {
            ("left", format!("{name} left, {members} nodes are there: {reason}"))
        }
        E::NodeComplained { name, error } => ("complained", format!("{name}: {error}")),
        E::Refused { reason } => ("refused", format!("refused {reason}")),
        E::NodeSuspected { name, silence_ns } => {
            ("silent", format!("{name} has been silent for {:.1} s", *silence_ns as f64 / 1e9))
        }
        E::NodeHeard { name } => ("heard", format!("{name} is heard again")),
        E::LinkLossy { from, to, lost, sent } => {
            ("lossy", format!("from {from} to {to} {lost} of {sent} packets were lost"))
        }
        E::NodeSlow { name, steps, percent, left_out } => {
            let then = if *left_out { "; a spare takes its seat" } else { "" };
            ("slow", format!("{name} computed {percent}% longer than the others for {steps} steps{then}"))
        }
        E::RunInterrupted { run, reason } => ("interrupted", format!("run {run} has lost a seat: {reason}")),
        E::RunResumed { run, done, after_ns, .. } if *after_ns > 0 => (
            "resumed",
            format!("run {run} has its seats again after {:.2} s, {done} steps stay", *after_ns as f64 / 1e9),
        ),
        E::RunResumed { run, .. } => ("resumed", format!("a seat of run {run} went to a spare")),
        _ => return None,
    })
}
