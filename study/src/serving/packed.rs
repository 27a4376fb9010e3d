//! A serving run with everything that its names lead to, ready to be sent to a cluster that has none of the files.

use super::ServeError;
use super::deploy::{Deployment, Sources};
use super::live::{Live, light};
use super::record::ServeRecord;
use super::spec::ServeSpec;
use crate::placing::PlacementChoice;
use crate::scenario::Place;
use coordinator::pace::Host;
use coordinator::server::ClusterHandle;
use moe::{Model, RoutingSpec};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Cursor, Read};

/// Longest trace that is sent along, bytes.
const TRACE_BYTES_MAX: u64 = 32 << 20;

/// A run and its sources.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    spec: ServeSpec,
    model: Model,
    place: Place,
    routing: Option<RoutingSpec>,
    placement: PlacementChoice,
    trace: Option<String>,
}

impl Packed {
    /// `spec` with what `sources` have for it.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for names that lead nowhere, and for a trace that is too long to be sent.
    pub fn new(spec: &ServeSpec, sources: &dyn Sources) -> Result<Self, ServeError> {
        let setting = |what: &str, problem: String| ServeError::Setting { what: what.to_owned(), problem };
        let serve = &spec.serve;
        let place =
            sources.hardware(&serve.hardware).map_err(|problem| setting("serve.hardware", problem))?;
        let ranks = serve.racks.saturating_mul(serve.ranks_per_rack) / spec.parallel.pp.max(1);
        let routing = match serve.routing.as_str() {
            "gate" => None,
            name => Some(sources.routing(name, ranks).map_err(|problem| setting("serve.routing", problem))?),
        };
        let trace = spec.arrivals.file.as_ref().map(|name| {
            let told = |error: io::Error| setting("arrivals.file", format!("{name}: {error}"));
            let mut text = String::new();
            let mut file = sources.open(name).map_err(told)?.take(TRACE_BYTES_MAX + 1);
            file.read_to_string(&mut text).map_err(told)?;
            if text.len() as u64 > TRACE_BYTES_MAX {
                let problem = format!("{name}: longer than {TRACE_BYTES_MAX} bytes; give a part of it");
                return Err(setting("arrivals.file", problem));
            }
            Ok(text)
        });
        let placement =
            sources.placement(&serve.placement).map_err(|problem| setting("serve.placement", problem))?;
        if placement.asks() {
            // Its answers go along.
            Deployment::new(&light(spec), sources)?;
        }
        Ok(Self {
            model: sources.model(&serve.model).map_err(|problem| setting("serve.model", problem))?,
            place,
            routing,
            placement: placement.finished(),
            trace: trace.transpose()?,
            spec: spec.clone(),
        })
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
    fn model(&self, _: &str) -> Result<Model, String> {
        Ok(self.model.clone())
    }

    fn hardware(&self, _: &str) -> Result<Place, String> {
        Ok(self.place.clone())
    }

    fn routing(&self, _: &str, _: u32) -> Result<RoutingSpec, String> {
        Ok(self.routing.clone().unwrap_or(RoutingSpec::Uniform))
    }

    fn placement(&self, _: &str) -> Result<PlacementChoice, String> {
        Ok(self.placement.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        match &self.trace {
            Some(text) => Ok(Box::new(Cursor::new(text.clone().into_bytes()))),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} was not sent along"))),
        }
    }
}
