//! From what an experiment says to what runs: models, links, placements, memory, the source of times.

use super::ServeError;
use super::frames::Frames;
use super::placements::{SharedPlacements, place_layers};
use super::spec::{CostChoice, ServeSpec};
use crate::layer::CompareSpec;
use crate::placing::PlacementChoice;
use crate::scenario::{Place, named_model, named_routing};
use moe::placement::LayerPlacements;
use moe::stack::Stack;
use moe::{Model, RoutingSpec};
use serving::cost::{Analytic, Checked, Hops, LayerCost, MemoCheck, Memoised, Overlap, Roofline, StackCost};
use serving::memory::stage_memory;
use serving::{CostError, StageMemory, StepCost, StepShape, StepTimes};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use topology::{A2aLinks, Cluster, Fabric, Hardware, Picos};

/// Where names of an experiment lead to: presets and files, unless the caller has others.
pub trait Sources: Sync {
    /// A model by its name.
    ///
    /// # Errors
    /// What is wrong, and what can be given.
    fn model(&self, name: &str) -> Result<Model, String> {
        named_model(Some(name)).map_err(|error| error.to_string())
    }

    /// An accelerator and its links by its name.
    ///
    /// # Errors
    /// As [`Self::model`].
    fn hardware(&self, name: &str) -> Result<Place, String> {
        Place::named(Some(name)).map_err(|error| error.to_string())
    }

    /// Routing by its name, for `ranks` ranks.
    ///
    /// # Errors
    /// As [`Self::model`].
    fn routing(&self, name: &str, ranks: u32) -> Result<RoutingSpec, String> {
        named_routing(name, ranks)
    }

    /// A placement by its name.
    ///
    /// # Errors
    /// As [`Self::model`].
    fn placement(&self, name: &str) -> Result<PlacementChoice, String>;

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
    /// Routing.
    pub routing: RoutingSpec,
    /// Memory of each stage, `[stages]`.
    pub memory: Vec<StageMemory>,
}

impl Deployment {
    /// Resolves `spec`.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for the first thing that can't be.
    pub fn new(spec: &ServeSpec, sources: &dyn Sources) -> Result<Self, ServeError> {
        let serve = &spec.serve;
        let setting = |what: &str, problem: String| ServeError::Setting { what: what.to_owned(), problem };
        let model = sources.model(&serve.model).map_err(|problem| setting("serve.model", problem))?;
        let place =
            sources.hardware(&serve.hardware).map_err(|problem| setting("serve.hardware", problem))?;
        let place =
            place.throttled(serve.throttle).map_err(|error| setting("serve.throttle", error.to_string()))?;
        let latency = spec.latency().map_err(|problem| setting("serve.latency", problem))?;
        let price = serve.usd_per_rank_hour;
        if !(0.0..=1e6).contains(&price) {
            return Err(setting(
                "serve.usd_per_rank_hour",
                format!("{price}: give dollars from 0 to 1000000"),
            ));
        }
        let limits = [("ttft", spec.slo.ttft_ms), ("tpot", spec.slo.tpot_ms), ("e2el", spec.slo.e2el_ms)];
        if let Some((name, Some(ms))) =
            limits.into_iter().find(|(_, ms)| ms.is_some_and(|ms| !(ms.is_finite() && ms > 0.0)))
        {
            return Err(setting(&format!("slo.{name}_ms"), format!("{ms}: give milliseconds above 0")));
        }
        let Place { hardware, fabric, .. } = place.with_latency(latency);
        let cluster = Cluster::uniform(serve.racks, serve.ranks_per_rack)
            .map_err(|error| setting("serve.racks", error.to_string()))?;
        let stack =
            Stack::new(model, serve.dtype, serve.kv_dtype, serve.common_weights, spec.parallel.pp, &cluster)
                .map_err(|error| setting("parallel.pp", error.to_string()))?;
        hardware.flops(serve.dtype).map_err(|error| setting("serve.dtype", error.to_string()))?;
        let columns = stack.columns();
        if let Some(ep) = spec.parallel.ep.filter(|&ep| ep != columns) {
            let ranks = cluster.num_ranks();
            let problem =
                format!("{ep}: {ranks} ranks in {} stages are groups of {columns}", spec.parallel.pp);
            return Err(setting("parallel.ep", problem));
        }
        if !(1..=1_024).contains(&spec.micro_batches()) {
            let problem = format!("{}: give 1 to 1024", spec.micro_batches());
            return Err(setting("parallel.micro_batches", problem));
        }
        let stage_cluster = stage_cluster(&stack, &cluster);
        let routing =
            sources.routing(&serve.routing, columns).map_err(|problem| setting("serve.routing", problem))?;
        if serve.cost == CostChoice::Analytic && routing != RoutingSpec::Uniform {
            let problem = format!(
                "{}: closed forms know uniform routing alone; give it, or another serve.cost",
                serve.routing
            );
            return Err(setting("serve.routing", problem));
        }
        if matches!(routing, RoutingSpec::Gate) {
            let problem =
                "gate: steps about time have no hidden states; give uniform, zipf:S, a workload or a trace";
            return Err(setting("serve.routing", problem.to_owned()));
        }
        if serve.cost == CostChoice::Memoised && routing.depends_on_step() {
            let problem = format!(
                "{}: it changes from step to step, and remembered steps don't; give serve.cost = \"frames\"",
                serve.routing
            );
            return Err(setting("serve.routing", problem));
        }
        let choice =
            sources.placement(&serve.placement).map_err(|problem| setting("serve.placement", problem))?;
        let mut compare = CompareSpec::new(stack.model.clone(), hardware.clone());
        compare.shape = stack.shape();
        compare.routing = if sources.know_demand() { routing.clone() } else { RoutingSpec::Uniform };
        compare.placement = choice.clone();
        compare.slots = serve.slots;
        compare.seeds = vec![serve.seed];
        let make = || place_layers(&compare, &choice, &stage_cluster).map_err(|error| error.to_string());
        let placements = match sources.shared_placements() {
            Some(shared) => shared.of(spec, make),
            None => make(),
        };
        let placements = placements.map_err(|problem| setting("serve.placement", problem))?;
        let share = spec.cache.as_ref().map_or(0.0, |cache| cache.hbm_share);
        if !(0.0..=0.95).contains(&share) {
            return Err(setting("cache.hbm_share", format!("{share}: give a share from 0 to 0.95")));
        }
        spec.scheduler.validate().map_err(|error| setting("scheduler", error.to_string()))?;
        let memory = stage_memory(&stack, &hardware, &placements, &spec.scheduler, share);
        Ok(Self { stack, cluster, stage_cluster, placements, hardware, fabric, routing, memory })
    }

    fn links(&self) -> A2aLinks {
        A2aLinks::new(self.fabric, self.hardware.kernels)
    }

    fn hops(&self, spec: &ServeSpec) -> Result<Hops, ServeError> {
        let fixed = spec.parallel.hop_us.map(Picos::from_micros_f64).transpose().map_err(|error| {
            ServeError::Setting { what: "parallel.hop_us".to_owned(), problem: error.to_string() }
        })?;
        Ok(Hops::new(&self.stack, &self.cluster, &self.fabric, fixed))
    }

    /// A stage's layers by their frames.
    #[must_use]
    pub fn frames(&self, spec: &ServeSpec) -> Frames {
        Frames {
            cluster: self.stage_cluster.clone(),
            fabric: self.fabric,
            hardware: self.hardware.clone(),
            shape: self.stack.shape(),
            placements: self.placements.clone(),
            scheme: spec.serve.scheme,
            routing: self.routing.clone(),
            seed: spec.serve.seed,
        }
    }

    /// The source of times that `spec` asks for.
    ///
    /// # Errors
    /// [`ServeError::Setting`] where closed forms don't know the placement, or everything is to overlap with frames.
    pub fn cost(&self, spec: &ServeSpec) -> Result<Cost, ServeError> {
        let setting = |what: &str, problem: String| ServeError::Setting { what: what.to_owned(), problem };
        let (choice, overlap) = (spec.serve.cost, spec.parallel.overlap);
        let (stack, hardware, hops) = (self.stack.clone(), self.hardware.clone(), self.hops(spec)?);
        if choice == CostChoice::Analytic {
            let layers = Analytic::new(
                &self.stage_cluster,
                self.links(),
                &self.hardware,
                self.stack.shape(),
                &self.placements,
                spec.serve.scheme,
            );
            let layers = layers.map_err(|problem| setting("serve.cost", problem))?;
            return Ok(if overlap == Overlap::Full {
                Cost::Roofline(Box::new(Roofline::new(stack, hardware, hops, layers)))
            } else {
                Cost::Parts(Box::new(StackCost::new(stack, hardware, overlap, hops, Box::new(layers))))
            });
        }
        if overlap == Overlap::Full {
            let problem =
                "full: frames can't all overlap; give none or two_batch, or serve.cost = \"analytic\"";
            return Err(setting("parallel.overlap", problem.to_owned()));
        }
        let frames = self.frames(spec);
        Ok(if choice == CostChoice::Frames {
            Cost::Parts(Box::new(StackCost::new(stack, hardware, overlap, hops, Box::new(frames))))
        } else {
            let columns = self.stack.columns();
            let layers = Memoised::new(frames, self.alike_layers(), columns);
            let cost = StackCost::new(stack, hardware, overlap, hops, layers);
            Cost::Memoised(Box::new(Checked::new(cost, spec.serve.seed)))
        })
    }
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
#[derive(Debug)]
pub enum Cost {
    /// One roofline.
    Roofline(Box<Roofline>),
    /// Parts, each computed.
    Parts(Box<StackCost<Box<dyn Layers>>>),
    /// Parts, layers remembered.
    Memoised(Box<Checked<Frames>>),
}

/// A [`LayerCost`] that can be shown.
pub trait Layers: LayerCost + std::fmt::Debug {}

impl<L: LayerCost + std::fmt::Debug> Layers for L {}

impl Cost {
    /// How far remembered layers were off; `None` where none are remembered.
    ///
    /// # Errors
    /// As the source of times.
    pub fn check(&mut self) -> Result<Option<MemoCheck>, CostError> {
        match self {
            Self::Memoised(cost) => cost.check().map(Some),
            _ => Ok(None),
        }
    }
}

impl StepCost for Cost {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        match self {
            Self::Roofline(cost) => cost.step(shape),
            Self::Parts(cost) => cost.step(shape),
            Self::Memoised(cost) => cost.step(shape),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Roofline(cost) => cost.name(),
            Self::Parts(cost) => cost.name(),
            Self::Memoised(cost) => cost.name(),
        }
    }
}
