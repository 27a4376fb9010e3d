//! Which nodes are there, and which are silent.

use super::protocol::Status;
use super::shared::{Roll, Service};
use coordinator::machine::CoordinatorEvent;
use std::sync::{Arc, PoisonError};
use tokio::sync::broadcast;

impl Service {
    pub(super) fn status(&self) -> Status {
        let roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        let those = |silent: bool| {
            let those = roll.values().filter(|(_, suspected)| *suspected == silent);
            let mut those: Vec<String> = those.map(|(name, _)| name.clone()).collect();
            those.sort();
            those
        };
        let (nodes, suspected) = (those(false), those(true));
        Status { nodes, suspected, comparisons: u32::try_from(self.num_jobs()).unwrap_or(u32::MAX) }
    }
}

/// Keeps the roll.
pub(super) async fn follow(service: Arc<Service>, mut events: broadcast::Receiver<CoordinatorEvent>) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!("missed {missed} events: the list of nodes may be out of date");
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let mut roll = service.roll.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CoordinatorEvent::NodeJoined { node, name, .. } => drop(roll.insert(node, (name, false))),
            CoordinatorEvent::NodeSuspected { name, .. } => suspect(&mut roll, &name, true),
            CoordinatorEvent::NodeHeard { name } => suspect(&mut roll, &name, false),
            CoordinatorEvent::NodeLeft { node, .. } => drop(roll.remove(&node)),
            _ => {}
        }
    }
}

fn suspect(roll: &mut Roll, of: &str, silent: bool) {
    for (_, suspected) in roll.values_mut().filter(|(name, _)| name == of) {
        *suspected = silent;
    }
}
