//! Where the names of a serving experiment lead to: presets and files, as those of the other commands.

use crate::programs::programs;
use study::scenario::{Scenario, ScenarioError, Studied};
use study::serving::{SharedPlacements, Sources};

/// Presets, and files from the working directory.
#[derive(Debug, Default)]
pub(crate) struct Files {
    shared: SharedPlacements,
}

impl Sources for Files {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        let programs = programs().map_err(|error| ScenarioError::new("placement", error))?;
        scenario.resolve(programs)
    }

    fn shared_placements(&self) -> Option<&SharedPlacements> {
        Some(&self.shared)
    }
}
