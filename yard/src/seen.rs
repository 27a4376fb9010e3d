//! Looks at steps as they complete: the last is shown, all are counted.

use crate::shown::StepView;
use crate::state::Yard;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// Looks at steps until the coordinator is shut down.
pub(crate) async fn look(yard: Arc<Yard>) {
    let mut steps = yard.cluster.watch_steps();
    loop {
        match steps.recv().await {
            Ok(step) => {
                yard.counters.see(&step);
                yard.step.send_replace(Some(Arc::new(StepView::of(&step))));
            }
            Err(RecvError::Lagged(missed)) => yard.counters.missed.inc_by(missed),
            Err(RecvError::Closed) => return,
        }
    }
}
