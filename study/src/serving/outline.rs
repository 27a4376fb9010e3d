//! Sources for a check that a run can be made: no policy looks at a demand, no program is asked.

use super::ServeError;
use super::deploy::{Deployment, Sources};
use super::live::Live;
use super::pools::{check_pair, of_prefill};
use super::spec::ServeSpec;
use crate::scenario::{Scenario, ScenarioError, Studied};
use coordinator::pace::Host;
use std::io::{self, BufRead};

/// Other sources, but that experts are placed as if all were wanted alike.
struct Outline<'a>(&'a dyn Sources);

impl Sources for Outline<'_> {
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError> {
        let studied = self.0.resolve(scenario)?;
        Ok(Studied { placement: studied.placement.unasked(), ..studied })
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        self.0.open(name)
    }

    fn know_demand(&self) -> bool {
        false
    }
}

/// The deployment of `spec` with its experts somewhere: as many slots on each rank as a run has. `live` if ranks are to compute.
///
/// # Errors
/// [`ServeError::Setting`] as a run would give it, but for what only a program's answer tells.
pub fn outline(spec: &ServeSpec, sources: &dyn Sources, live: bool) -> Result<Deployment, ServeError> {
    let sources = Outline(sources);
    if live {
        Live::new(spec, &sources, Host::this(false), 0).map(Live::into_deployment)
    } else {
        let deployment = Deployment::new(spec, &sources)?;
        deployment.check_times(spec)?;
        if let Some(own) = spec.of_prompts() {
            let prompts = Deployment::new(&own, &sources).map_err(of_prefill)?;
            prompts.check_times(&own).map_err(of_prefill)?;
            check_pair(&prompts, &deployment)?;
        }
        Ok(deployment)
    }
}
