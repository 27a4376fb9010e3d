//! What a layer takes where its ranks really run: every frame on the simulator's virtual clock, rows without values.

use super::kept::OfDeployment;
use crate::layer::chunk_rows;
use blackboard::scale_up::A2aGroup;
use blackboard::units::Tokens;
use coordinator::run::RunRequest;
use coordinator::sim::SimRunner;
use moe::placement::LayerPlacements;
use moe::stack::StepBatch;
use moe::{DispatchScheme, LayerShape, RoutingSpec};
use node::control::PhaseReport;
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::sim::{cores, on_threads};
use node::wire::Phase;
use serde::Serialize;
use serving::cost::{AskedLayer, CostError, LayerCost, LayerTimes, RankTokens};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use topology::{A2aLinks, Cluster, Fabric, Hardware};

/// Layers by their frames, on the ranks of one stage.
#[derive(Debug)]
pub struct Frames {
    /// Racks of a stage.
    pub cluster: Cluster,
    /// Links.
    pub fabric: Fabric,
    /// The accelerator.
    pub hardware: Hardware,
    /// The layer.
    pub shape: LayerShape,
    /// Experts of each layer on the ranks of a stage.
    pub placements: LayerPlacements,
    /// How rows travel.
    pub scheme: DispatchScheme,
    /// Where routing comes from.
    pub routing: RoutingSpec,
    /// Its seed.
    pub seed: u64,
    /// The simulators, one a core that is used.
    pub sims: Vec<SimRunner>,
    /// What layers took in runs before.
    pub kept: Option<OfDeployment>,
}

/// Most rows of a frame: with many tokens a rank a frame of 8 rows would be one of thousands, and more of them tell no more.
const CHUNK_ROWS_MAX: u32 = 64;

impl Frames {
    /// All that a layer's times depend on, but its tokens and its step.
    pub(super) fn inputs(&self) -> impl Serialize + use<> {
        let (links, layer) = ((self.cluster.clone(), self.fabric, self.hardware.clone()), self.shape);
        (links, layer, self.placements.clone(), self.scheme, self.routing.clone(), self.seed)
    }

    /// An eighth of the mean flow's rows at least, so that hierarchical dispatch still pipelines.
    fn chunk_rows(&self, tokens: &RankTokens) -> u32 {
        let mean = tokens.mean() as u32;
        chunk_rows(mean).max((mean / 64).min(CHUNK_ROWS_MAX))
    }

    /// Routing with all experts alike has nothing to keep, so that each step may have tokens of its own. Where experts are popular they stay so: these
    /// follow from seed and layer, and what changes from step to step does so by the step's number.
    fn seed_of(&self, step: u32) -> u64 {
        match self.routing {
            RoutingSpec::Uniform | RoutingSpec::Model => self.seed.wrapping_add(u64::from(step) << 20),
            _ => self.seed,
        }
    }

    /// What measured kernels make of the links with so many tokens a rank.
    fn kernels(&self, tokens: &RankTokens) -> Option<A2aLinks> {
        self.hardware.kernels.as_ref()?;
        let rule = self.shape.selection();
        let ranks = A2aGroup::of(&self.cluster, self.scheme, &rule, self.shape.hidden);
        ranks.links(&self.hardware, &self.fabric, Tokens(tokens.mean())).ok()
    }

    fn setup(&self, layer: u32, step: u32, tokens: &RankTokens) -> Setup {
        let placement = Arc::clone(self.placements.of(layer));
        let program = LayerProgram {
            layer: u16::try_from(layer).unwrap_or(u16::MAX),
            ..LayerProgram::new(self.shape, placement, tokens.ranks().to_vec())
        };
        Setup {
            fabric: self.fabric,
            kernels: self.kernels(tokens),
            scheme: self.scheme,
            routing: self.routing.clone(),
            seed: self.seed_of(step),
            chunk_rows: self.chunk_rows(tokens),
            payload: false,
            first_step: step,
            ..Setup::new(self.cluster.clone(), self.hardware.clone(), Program::Layer(program))
        }
    }
}

impl Frames {
    /// What a layer takes by one of the simulators.
    fn simulate(&self, sim: &mut SimRunner, asked: &AskedLayer) -> Result<LayerTimes, CostError> {
        let AskedLayer { layer, step, tokens } = asked;
        if tokens.total() == 0 {
            return Ok(LayerTimes::default());
        }
        let request = RunRequest::new(self.setup(*layer, *step, tokens));
        let done = sim.open_blocking(&request).and_then(|()| sim.step_blocking(&StepBatch::default()));
        let done = done.map_err(|error| CostError { step: *step, problem: error.to_string() })?;
        let [dispatch, experts, combine] = [Phase::Dispatch, Phase::Expert, Phase::Combine]
            .map(|phase| PhaseReport::slowest(done.reports(phase)));
        Ok(LayerTimes { dispatch, experts, combine })
    }

    /// What layers take, on all cores.
    fn simulate_all(&mut self, asked: &[AskedLayer]) -> Result<Vec<LayerTimes>, CostError> {
        let cores = cores().min(asked.len());
        let mut sims = std::mem::take(&mut self.sims);
        sims.resize_with(cores.max(sims.len()), SimRunner::default);
        let (next, this) = (AtomicUsize::new(0), &*self);
        // Each takes the next that nobody has taken: what a layer takes is its own, whoever simulates it.
        let done = on_threads(sims.iter_mut().take(cores), |sim| -> Vec<_> {
            let mine = std::iter::repeat_with(|| next.fetch_add(1, Relaxed));
            let mine = mine.map_while(|at| Some((at, asked.get(at)?)));
            mine.map(|(at, asked)| (at, this.simulate(sim, asked))).collect()
        });
        let mut done = done.concat();
        self.sims = sims;
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, times)| times).collect()
    }
}

impl LayerCost for Frames {
    fn layer(&mut self, layer: u32, step: u32, tokens: &RankTokens) -> Result<LayerTimes, CostError> {
        let asked = AskedLayer { layer, step, tokens: tokens.clone() };
        self.layers(std::slice::from_ref(&asked)).map(|times| times[0])
    }

    fn layers(&mut self, asked: &[AskedLayer]) -> Result<Vec<LayerTimes>, CostError> {
        let Some(kept) = self.kept.clone() else { return self.simulate_all(asked) };
        let mut known = kept.find(asked);
        let unknown = asked.iter().zip(&known).filter(|(_, times)| times.is_none());
        let unknown: Vec<AskedLayer> = unknown.map(|(asked, _)| asked.clone()).collect();
        let times = self.simulate_all(&unknown)?;
        kept.add(&unknown, &times);
        known
            .iter_mut()
            .filter(|times| times.is_none())
            .zip(times)
            .for_each(|(known, times)| *known = Some(times));
        Ok(known.into_iter().flatten().collect())
    }

    fn repeats(&self) -> bool {
        !matches!(self.routing, RoutingSpec::Uniform | RoutingSpec::Model) && !self.routing.depends_on_step()
    }

    fn name(&self) -> &'static str {
        "frames"
    }
}
