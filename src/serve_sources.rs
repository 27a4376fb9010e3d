//! Where the names of a serving experiment lead to: presets and files, as those of the other commands.

use crate::programs::programs;
use std::sync::Arc;
use study::scenario::{Scenario, ScenarioError, Studied};
use study::serving::{KeptLayers, SharedPlacements, Sources};

/// Presets, and files from the working directory.
#[derive(Debug)]
pub(crate) struct Files {
    shared: SharedPlacements,
    kept: Arc<KeptLayers>,
}

impl Default for Files {
    fn default() -> Self {
        let folder = crate::cache::folder().map(|folder| folder.join("layers"));
        Self { shared: SharedPlacements::default(), kept: Arc::new(KeptLayers::new(folder)) }
    }
}

impl Sources for Files {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        let programs = programs().map_err(|error| ScenarioError::new("placement", error))?;
        scenario.resolve(programs)
    }

    fn shared_placements(&self) -> Option<&SharedPlacements> {
        Some(&self.shared)
    }

    fn kept_layers(&self) -> Option<&Arc<KeptLayers>> {
        Some(&self.kept)
    }
}
