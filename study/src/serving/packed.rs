//! A serving run with everything that its names lead to, ready to be sent to a cluster that has none of the files.

use super::ServeError;
use super::deploy::{Deployment, Sources};
use super::live::Live;
use super::record::ServeRecord;
use super::spec::ServeSpec;
use crate::scenario::{Scenario, ScenarioError, Studied};
use coordinator::pace::Host;
use coordinator::server::ClusterHandle;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Cursor, Read};

/// Longest trace that is sent along, bytes.
const TRACE_BYTES_MAX: u64 = 32 << 20;

/// A run and its sources.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    spec: ServeSpec,
    studied: Studied,
    trace: Option<String>,
}

impl Packed {
    /// `spec` with what `sources` have for it.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for names that lead nowhere, and for a trace that is too long to be sent.
    pub fn new(spec: &ServeSpec, sources: &dyn Sources) -> Result<Self, ServeError> {
        let trace = spec.arrivals.file.as_ref().map(|name| {
            let told = |error: io::Error| ServeError::setting("arrivals.file", format!("{name}: {error}"));
            let mut text = String::new();
            let mut file = sources.open(name).map_err(told)?.take(TRACE_BYTES_MAX + 1);
            file.read_to_string(&mut text).map_err(told)?;
            if text.len() as u64 > TRACE_BYTES_MAX {
                let problem = format!("{name}: longer than {TRACE_BYTES_MAX} bytes; give a part of it");
                return Err(ServeError::setting("arrivals.file", problem));
            }
            Ok(text)
        });
        let mut studied = sources.resolve(&spec.scenario)?;
        if studied.placement.asks() {
            // Its answers go along.
            Deployment::new(spec, sources)?;
            studied.placement = studied.placement.finished();
        }
        Ok(Self { studied, trace: trace.transpose()?, spec: spec.clone() })
    }

    /// Serves on the nodes of `cluster`, which live on `host`; once again at half the pace where they can't keep up.
    /// `retries` is how many times slower by a factor of 2 they begin.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve_on(
        &self,
        cluster: &ClusterHandle,
        host: Host,
        retries: u32,
    ) -> Result<ServeRecord, ServeError> {
        let mut slower = retries;
        loop {
            let live = Live::new(&self.spec, self, host, slower)?;
            let (mut nodes, mut unheard) = (cluster.runner(), |_| ());
            let (record, _) = Box::pin(live.serve(&mut nodes, self, "measured", &mut unheard)).await?;
            if record.problem.is_none() || slower > retries {
                return Ok(record);
            }
            slower += 1;
        }
    }
}

impl Sources for Packed {
    fn resolve(&self, _: &Scenario) -> Result<Studied, ScenarioError> {
        Ok(self.studied.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        match &self.trace {
            Some(text) => Ok(Box::new(Cursor::new(text.clone().into_bytes()))),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} was not sent along"))),
        }
    }
}
