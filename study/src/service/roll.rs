//! Which nodes are there, and which are silent.

use super::protocol::Status;
use super::shared::Service;

impl Service {
    /// How the cluster is.
    #[must_use]
    pub fn status(&self) -> Status {
        let roll = self.handle.roll();
        let those = |silent: bool| {
            let those = roll.iter().filter(|(_, suspected)| *suspected == silent);
            let mut those: Vec<String> = those.map(|(name, _)| name.clone()).collect();
            those.sort();
            those
        };
        let (nodes, suspected) = (those(false), those(true));
        Status { nodes, suspected, comparisons: u32::try_from(self.num_jobs()).unwrap_or(u32::MAX) }
    }
}
