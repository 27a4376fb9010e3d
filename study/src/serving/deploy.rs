//! From what an experiment says to what runs: models, links, placements, memory, the source of times.

use super::ServeError;
use super::frames::Frames;
use super::kept::{KeptLayers, OfDeployment};
use super::placements::{SharedPlacements, place_layers};
use super::spec::{CostChoice, ServeSpec};
use crate::placing::PlacementRequest;
use crate::scenario::{Place, Scenario, ScenarioError, Studied};
use moe::placement::LayerPlacements;
use moe::stack::{Stack, StackError};
use moe::{DispatchScheme, RoutingSpec};
use serving::cost::{
    Analytic, Checked, Exchange, Hops, LayerCost, MemoCheck, Memoised, Overlap, Roofline, StackCost,
};
use serving::memory::{MemoryShares, stage_memory};
use serving::{CostError, StageMemory, StepCost};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;
use topology::{Cluster, Fabric, Hardware, MAX_RANKS, Picos};

/// Steps and tokens of a rank whose routing is expected where experts are placed: batches come and go, and only the ranks' shares count.
const DEMAND_STEPS: std::ops::Range<u32> = 1..6;
const DEMAND_TOKENS: u32 = 32;

/// Where names of an experiment lead to: presets and files, unless the caller has others.
pub trait Sources: Sync {
    /// What the words of a scenario lead to.
    ///
    /// # Errors
    /// What is wrong with one of them, and what can be given.
    fn resolve(&self, scenario: &Scenario) -> Result<Studied, ScenarioError>;

    /// The file of a trace.
    ///
    /// # Errors
    /// Why it can't be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        Ok(Box::new(BufReader::new(File::open(name)?)))
    }

    /// Whether experts are placed for what is asked of them; for a check that a run can be made it is enough that they fit.
    fn know_demand(&self) -> bool {
        true
    }

    /// What runs from these sources have in common; `None` where each is on its own.
    fn shared_placements(&self) -> Option<&SharedPlacements> {
        None
    }

    /// What layers took in runs before, where remembered steps may ask it.
    fn kept_layers(&self) -> Option<&Arc<KeptLayers>> {
        None
    }
}

/// A deployment, ready to serve.
#[derive(Debug)]
pub struct Deployment {
    /// The model in stages.
    pub stack: Stack,
    /// All racks.
    pub cluster: Cluster,
    /// Racks of a stage.
    pub stage_cluster: Cluster,
    /// Experts of each layer on the ranks of a stage.
    pub placements: LayerPlacements,
    /// The accelerator, its combine's links throttled and its latencies chosen.
    pub hardware: Hardware,
    /// Links.
    pub fabric: Fabric,
    /// How rows travel.
    pub scheme: DispatchScheme,
    /// Routing.
    pub routing: RoutingSpec,
    /// Seed of routing, arrivals and lengths.
    pub seed: u64,
    /// Memory of each stage, `[stages]`.
    pub memory: Vec<StageMemory>,
    /// What was decided for the user, to be told.
    pub notes: Vec<String>,
    /// What its layers took in runs before, where steps are remembered.
    kept: Option<OfDeployment>,
}

impl Deployment {
    /// Resolves `spec`.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for the first thing that can't be.
    pub fn new(spec: &ServeSpec, sources: &dyn Sources) -> Result<Self, ServeError> {
        spec.validate()?;
        spec.validate_pools()?;
        let scenario = &spec.scenario;
        let (scheme, latency, seed) = (scenario.the_scheme()?, scenario.the_latency()?, scenario.the_seed()?);
        let studied = sources.resolve(scenario)?;
        let cluster = studied.cluster()?;
        let stack = stack(spec, &studied, &cluster)?;
        let stage_cluster = stage_cluster(&stack, &cluster);
        let placements = placements(&studied, sources, seed, (&stack, &stage_cluster))?;
        let Studied { place, routing, mut notes, rack_sizes, .. } = studied;
        notes.extend(place.told_of_domain(&rack_sizes));
        let Place { hardware, fabric, .. } = place.with_latency(latency);
        let shares = MemoryShares { used: scenario.memory_share, kept: spec.hbm_share() };
        let memory = stage_memory(&stack, &hardware, &placements, &spec.scheduler, shares);
        let mut deployment = Self {
            stack,
            cluster,
            stage_cluster,
            placements,
            hardware,
            fabric,
            scheme,
            routing,
            seed,
            memory,
            notes,
            kept: None,
        };
        deployment.check_ranks(spec)?;
        if spec.serve.cost == CostChoice::Memoised {
            let frames = deployment.frames();
            deployment.kept =
                sources.kept_layers().and_then(|kept| OfDeployment::new(kept, &frames.inputs()));
        }
        Ok(deployment)
    }

    /// Keeps what layers took for the next run. Where that can't be, it is told and lost.
    pub(super) fn keep(&self) {
        if let Some(Err(error)) = self.kept.as_ref().map(OfDeployment::save) {
            tracing::warn!("what layers took is not kept for the next run: {error}");
        }
    }

    /// The ranks of all replicas of `spec`'s pool.
    #[must_use]
    pub fn all_ranks(&self, spec: &ServeSpec) -> u32 {
        self.cluster.num_ranks().saturating_mul(spec.serve.replicas)
    }

    /// Checks that all replicas together have no more ranks than can be.
    fn check_ranks(&self, spec: &ServeSpec) -> Result<(), ServeError> {
        let ranks = self.all_ranks(spec);
        if ranks <= MAX_RANKS {
            return Ok(());
        }
        Err(ServeError::setting("serve.replicas", format!("{ranks} ranks in all: at most {MAX_RANKS}")))
    }

    /// Checks that the source of times that `spec` asks for knows the routing.
    ///
    /// # Errors
    /// [`ServeError::Setting`] where it does not.
    pub fn check_times(&self, spec: &ServeSpec) -> Result<(), ServeError> {
        let routing = &spec.scenario.routing;
        let problem = match spec.serve.cost {
            CostChoice::Analytic if !matches!(self.routing, RoutingSpec::Uniform | RoutingSpec::Model) => {
                "closed forms know routing alone that has all experts alike; give model, uniform or another serve.cost"
            }
            _ if self.stack.shape().zero_experts > 0
                && !matches!(self.routing, RoutingSpec::Uniform | RoutingSpec::Model) =>
            {
                "experts that pass a token on are picked as all others are; give model or uniform"
            }
            _ if self.routing == RoutingSpec::Gate => {
                "steps about time have no hidden states; give model, uniform, zipf:S, a workload or a trace"
            }
            CostChoice::Memoised if self.routing.depends_on_step() => {
                "it changes from step to step, and remembered steps don't; give serve.cost = \"frames\""
            }
            _ => return Ok(()),
        };
        Err(ServeError::setting("serve.routing", format!("{routing}: {problem}")))
    }

    /// What tensor parallelism costs the fabric.
    fn exchange(&self) -> Exchange {
        Exchange::new(self.stack.tp, self.stack.model.hidden, self.fabric.scale_up)
    }

    fn hops(&self, spec: &ServeSpec) -> Result<Hops, ServeError> {
        let fixed = spec.parallel.hop_us.map(Picos::from_micros_f64).transpose();
        let fixed = fixed.map_err(|error| ServeError::setting("parallel.hop_us", error))?;
        Ok(Hops::new(&self.stack, &self.cluster, &self.fabric, fixed))
    }

    /// A stage's layers by their frames.
    #[must_use]
    pub fn frames(&self) -> Frames {
        Frames {
            cluster: self.stage_cluster.clone(),
            fabric: self.fabric,
            hardware: self.hardware.clone(),
            shape: self.stack.shape(),
            placements: self.placements.clone(),
            scheme: self.scheme,
            routing: self.routing.clone(),
            seed: self.seed,
            sims: Vec::new(),
            kept: self.kept.clone(),
        }
    }

    /// The source of times that `spec` asks for.
    ///
    /// # Errors
    /// [`ServeError::Setting`] where closed forms don't know the placement, or everything is to overlap with frames.
    pub fn cost(&self, spec: &ServeSpec) -> Result<Box<dyn Cost>, ServeError> {
        let (choice, overlap) = (spec.serve.cost, spec.parallel.overlap);
        let (stack, hardware, hops) = (self.stack.clone(), self.hardware.clone(), self.hops(spec)?);
        let exchange = self.exchange();
        if choice == CostChoice::Analytic {
            let mut shape = self.stack.shape();
            if self.routing == RoutingSpec::Uniform {
                shape.gate = shape.gate.unlimited();
            }
            let layers = Analytic::new(
                &self.stage_cluster,
                self.fabric,
                &self.hardware,
                shape,
                &self.placements,
                self.scheme,
            );
            let layers = layers.map_err(|problem| ServeError::setting("serve.cost", problem))?;
            return Ok(if overlap == Overlap::Full {
                Box::new(Roofline::new(stack, hardware, hops, exchange, layers)) as Box<dyn Cost>
            } else {
                Box::new(StackCost::new(stack, hardware, overlap, (hops, exchange), layers))
            });
        }
        if overlap == Overlap::Full {
            let problem =
                "full: frames can't all overlap; give none or two_batch, or serve.cost = \"analytic\"";
            return Err(ServeError::setting("parallel.overlap", problem));
        }
        let frames = self.frames();
        Ok(if choice == CostChoice::Frames {
            Box::new(StackCost::new(stack, hardware, overlap, (hops, exchange), frames)) as Box<dyn Cost>
        } else {
            let columns = self.stack.columns();
            let layers = Memoised::new(frames, self.alike_layers(), columns);
            let cost = StackCost::new(stack, hardware, overlap, (hops, exchange), layers);
            Box::new(Checked::new(cost, self.seed))
        })
    }
}

/// The model in stages, with as many columns as `spec` counts on.
fn stack(spec: &ServeSpec, studied: &Studied, cluster: &Cluster) -> Result<Stack, ServeError> {
    let Scenario { pp, tp, .. } = &spec.scenario;
    let weights = (studied.common, *tp);
    let stack = Stack::new(studied.model.clone(), studied.dtype, studied.kv_dtype, weights, *pp, cluster);
    let stack = stack.map_err(|error| {
        let word = match error {
            StackError::Model(_) => "serve.model",
            StackError::Groups { .. } => "parallel.tp",
            _ => "parallel.pp",
        };
        ServeError::setting(word, error)
    })?;
    let columns = stack.columns();
    let stack = stack
        .with_drafts(spec.scenario.drafts()?.depth)
        .map_err(|error| ServeError::setting("serve.mtp_depth", error))?;
    match spec.parallel.ep.filter(|&ep| ep != columns) {
        Some(ep) => {
            let ranks = cluster.num_ranks();
            let problem = format!("{ep}: {ranks} ranks in {pp} stages are groups of {columns}");
            Err(ServeError::setting("parallel.ep", problem))
        }
        None => Ok(stack),
    }
}

/// Experts on the ranks of a stage; what other runs from these sources have made is used again.
fn placements(
    studied: &Studied,
    sources: &dyn Sources,
    seed: u64,
    (stack, cluster): (&Stack, &Cluster),
) -> Result<LayerPlacements, ServeError> {
    // Of a gate, hidden states decide, which nobody knows before.
    let known = sources.know_demand() && studied.routing != RoutingSpec::Gate;
    let routing = if known { &studied.routing } else { &RoutingSpec::Uniform };
    let steps = if routing.depends_on_step() { DEMAND_STEPS } else { 0..1 };
    let asked = PlacementRequest {
        shape: &stack.shape(),
        routing,
        tokens: DEMAND_TOKENS,
        seeds: &[seed],
        steps,
        slots: studied.slots,
    };
    let make =
        || place_layers(&asked, &stack.model, &studied.placement, cluster).map_err(|error| error.to_string());
    let placements = match sources.shared_placements() {
        Some(shared) => shared.of(studied, make),
        None => make(),
    };
    placements.map_err(|problem| ServeError::setting("serve.placement", problem))
}

/// The racks of one stage, or its part of one.
fn stage_cluster(stack: &Stack, cluster: &Cluster) -> Cluster {
    let columns = stack.columns();
    let mut left = columns;
    let sizes: Vec<u32> = cluster
        .rack_sizes()
        .iter()
        .map_while(|&size| {
            let part = size.min(left);
            left -= part;
            (part > 0).then_some(part)
        })
        .collect();
    Cluster::new(&sizes).expect("a part of a cluster is one")
}

/// A source of times.
pub trait Cost: StepCost + std::fmt::Debug {
    /// How far remembered layers were off; `None` where none are remembered.
    ///
    /// # Errors
    /// As the source of times.
    fn check(&mut self) -> Result<Option<MemoCheck>, CostError> {
        Ok(None)
    }
}

impl Cost for Roofline {}

impl<L: LayerCost + std::fmt::Debug> Cost for StackCost<L> {}

impl Cost for Checked<Frames> {
    fn check(&mut self) -> Result<Option<MemoCheck>, CostError> {
        Self::check(self).map(Some)
    }
}
