//! Where the names of a serving experiment lead to: presets and files, as those of the other commands.

use crate::programs::programs;
use crate::resolve;
use moe::placement::PlacementWord;
use moe::routing::RoutingChoice;
use moe::trace::read_trace;
use moe::{Model, RoutingSpec};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use study::placing::PlacementChoice;
use study::serving::{SharedPlacements, Sources};
use topology::{Fabric, Hardware};

/// Presets, and files from the working directory.
#[derive(Debug, Default)]
pub(crate) struct Files {
    shared: SharedPlacements,
}

impl Sources for Files {
    fn model(&self, name: &str) -> Result<Model, String> {
        resolve::named_model(name).map_err(told)
    }

    fn hardware(&self, name: &str) -> Result<(Hardware, Fabric), String> {
        let place = resolve::hardware(Some(name)).map_err(told)?;
        Ok((place.hardware, place.fabric))
    }

    fn routing(&self, name: &str, ranks: u32) -> Result<RoutingSpec, String> {
        let choice: RoutingChoice = name.parse()?;
        match &choice {
            RoutingChoice::Trace(path) => {
                let trace = read_trace(path).map_err(|error| error.to_string())?;
                Ok(RoutingSpec::Rows(trace.rows))
            }
            _ => Ok(choice.spec(ranks).unwrap_or(RoutingSpec::Uniform)),
        }
    }

    fn placement(&self, name: &str) -> Result<PlacementChoice, String> {
        let word: PlacementWord = name.parse()?;
        let programs = programs().map_err(told)?;
        PlacementChoice::read(&word, programs).map_err(|error| error.to_string())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        Ok(Box::new(BufReader::new(File::open(name)?)))
    }

    fn shared_placements(&self) -> Option<&SharedPlacements> {
        Some(&self.shared)
    }
}

fn told(error: anyhow::Error) -> String {
    format!("{error:#}")
}
