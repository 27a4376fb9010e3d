//! Where the names of a serving experiment lead to: presets and files, as those of the other commands.

use crate::programs::programs;
use study::placing::PlacementChoice;
use study::serving::{SharedPlacements, Sources};

/// Presets, and files from the working directory.
#[derive(Debug, Default)]
pub(crate) struct Files {
    shared: SharedPlacements,
}

impl Sources for Files {
    fn placement(&self, name: &str) -> Result<PlacementChoice, String> {
        let programs = programs().map_err(|error| format!("{error:#}"))?;
        PlacementChoice::read(&name.parse()?, programs).map_err(|error| error.to_string())
    }

    fn shared_placements(&self) -> Option<&SharedPlacements> {
        Some(&self.shared)
    }
}
