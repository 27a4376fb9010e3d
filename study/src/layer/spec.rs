//! Everything that one comparison is defined by: what the flags say, with the contents of files, ready to be sent.

use super::{BackendKind, BaseChoice, CompareError, Dilation, GateChoice, LatencyChoice};
use crate::placing::PlacementChoice;
use crate::scenario::SEEDS_MAX;
use coordinator::STEPS_MAX;
use moe::placement::{Linear, PlacementPolicy};
use moe::routing::BURST_FACTOR;
use moe::{DispatchScheme, ExpertKind, LayerShape, Model, RoutingError, RoutingSpec};
use serde::{Deserialize, Serialize};
use topology::{Cluster, ClusterError, Fabric, Fault, FaultPlan, Hardware, RankId};

/// A comparison. Equal specs give equal `analytic` and `sim` rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareSpec {
    /// Ranks of each rack of the rows over several racks.
    pub rack_sizes: Vec<u32>,
    /// What they are compared with.
    pub base: BaseChoice,
    /// The accelerator behind every rank.
    pub hardware: Hardware,
    /// Link rates, throttle applied, and preset latencies.
    pub fabric: Fabric,
    /// Latencies to run with, each a set of rows.
    pub latencies: Vec<LatencyChoice>,
    /// The model whose layer is run.
    pub model: Model,
    /// The layer, with the top-k in use.
    pub shape: LayerShape,
    /// Tokens of each rank; their mean in a workload with ragged sources.
    pub tokens: u32,
    /// Gates to have rows for; `None` is unlimited and limited to one rack, as far as routing and experts allow.
    pub gates: Option<Vec<GateChoice>>,
    /// Where routing comes from.
    pub routing: RoutingSpec,
    /// Its name: `uniform`, `gate`, `zipf:1.2`, `workload:W2`, `trace:FILE`.
    pub routing_name: String,
    /// Schemes to have rows for; `None` is all, with a limited gate hierarchical. Bases that these need come with them.
    pub schemes: Option<Vec<DispatchScheme>>,
    /// Where experts are in the rows that don't say otherwise.
    pub placement: PlacementChoice,
    /// Expert slots over all ranks in these rows; `None` is one an expert, or as many as the placement has of itself.
    pub slots: Option<u32>,
    /// Real or modelled experts.
    pub experts: ExpertKind,
    /// Backends to run, in ascending order.
    pub backends: Vec<BackendKind>,
    /// Seeds; each is a run of its own.
    pub seeds: Vec<u64>,
    /// Steps before the measured ones.
    pub warmup: u32,
    /// Measured steps a seed.
    pub rounds: u32,
    /// Wall time over emulated time.
    pub dilation: Dilation,
    /// False: rows are lengths without values, outputs are not checked. Simulator only.
    pub payload: bool,
    /// What goes wrong on purpose, in the racks that the comparison is about; bases are healthy.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Share of every link between racks that a second job takes: `fabric` is without it.
    #[serde(default)]
    pub background: f64,
    /// Whether records have a [`Detail`](super::Detail): bytes of every pair, times and rows of every rank, every round.
    #[serde(default)]
    pub detail: bool,
    /// Whether runs keep what a [timeline](super::Traced) is made of.
    #[serde(default)]
    pub timeline: bool,
    /// Most bytes of memory that the comparison may take; `None` is three quarters of what is available.
    pub memory_limit_bytes: Option<u64>,
    /// What was decided for the user, to be told.
    pub notes: Vec<String>,
    /// The command that repeats it, if one does.
    pub command: Option<String>,
}

impl CompareSpec {
    /// The default comparison of `model` on `hardware`: two racks of 8, 32 tokens a rank, throttle as the hardware has it,
    /// uniform routing, all schemes, both latencies, all backends, seed 1, 1 warm-up step and 5 rounds.
    #[must_use]
    pub fn new(model: Model, hardware: Hardware) -> Self {
        Self {
            rack_sizes: vec![8, 8],
            base: BaseChoice::Ranks,
            fabric: hardware.fabric(),
            hardware,
            latencies: vec![LatencyChoice::Zero, LatencyChoice::Preset],
            shape: model.layer(),
            model,
            tokens: 32,
            gates: None,
            routing: RoutingSpec::Uniform,
            routing_name: "uniform".to_owned(),
            schemes: None,
            placement: PlacementChoice::named(Linear.name()),
            slots: None,
            experts: ExpertKind::Modelled,
            backends: BackendKind::ALL.to_vec(),
            seeds: vec![1],
            warmup: 1,
            rounds: 5,
            dilation: Dilation::Auto,
            payload: true,
            faults: Vec::new(),
            background: 0.0,
            detail: false,
            timeline: false,
            memory_limit_bytes: None,
            notes: Vec::new(),
            command: None,
        }
    }

    /// The schemes to have rows for.
    #[must_use]
    pub fn schemes(&self) -> &[DispatchScheme] {
        self.schemes.as_deref().unwrap_or(&DispatchScheme::ALL)
    }

    /// The racks of the rows over several racks.
    ///
    /// # Errors
    /// [`ClusterError`] for impossible sizes.
    pub fn cluster(&self) -> Result<Cluster, ClusterError> {
        Cluster::new(&self.rack_sizes)
    }

    /// The same comparison without some ranks: racks become smaller, and one that is empty is none. `None` where fewer than two are left.
    #[must_use]
    pub fn without(&self, ranks: &[u32]) -> Option<Self> {
        let cluster = self.cluster().ok()?;
        let mut sizes = self.rack_sizes.clone();
        for rank in ranks.iter().filter(|&&rank| rank < cluster.num_ranks()) {
            sizes[cluster.rack_of(RankId(*rank)).0 as usize] -= 1;
        }
        sizes.retain(|&size| size > 0);
        let left: u32 = sizes.iter().sum();
        (left >= 2 && left < cluster.num_ranks()).then(|| Self {
            rack_sizes: sizes,
            faults: Vec::new(),
            ..self.clone()
        })
    }

    /// The racks of the base rows.
    ///
    /// # Errors
    /// [`ClusterError`] for impossible sizes.
    pub fn base_cluster(&self) -> Result<Cluster, ClusterError> {
        let all = self.cluster()?;
        match self.base {
            BaseChoice::Ranks => Cluster::new(&[all.num_ranks()]),
            BaseChoice::Rack => Cluster::new(&all.rack_sizes()[..1]),
        }
    }

    /// Tokens of each of `ranks` ranks, the same at every step: [`Self::tokens`] unless a workload shares them out otherwise.
    #[must_use]
    pub fn rank_tokens(&self, ranks: u32, seed: u64) -> Vec<u32> {
        self.routing.tokens(ranks, self.tokens, seed, 0)
    }

    /// Steps of a run that may differ in what they yield: 1 where routing is the same at every step.
    #[must_use]
    pub fn distinct_steps(&self) -> u32 {
        if self.routing.depends_on_step() { self.warmup + self.rounds } else { 1 }
    }

    /// True if a trace is replayed.
    #[must_use]
    pub fn is_trace(&self) -> bool {
        matches!(self.routing, RoutingSpec::Rows(_))
    }

    /// Checks numbers and lists against their limits and each other; sizes of racks and experts are checked where rows
    /// are made of them.
    ///
    /// # Errors
    /// [`CompareError::Spec`] with the remedy, or what the layer's shape says.
    pub fn validate(&self) -> Result<(), CompareError> {
        let refuse = |problem: &str| Err(CompareError::Spec(problem.to_owned()));
        self.shape.validate()?;
        if self.seeds.is_empty() || self.seeds.len() > SEEDS_MAX {
            return refuse("give between 1 and 1000 seeds");
        }
        if self.rounds == 0 || self.warmup.saturating_add(self.rounds) > STEPS_MAX {
            return refuse("give at least 1 round, and at most 10000 rounds and warm-up steps together");
        }
        for (empty, problem) in [
            (self.tokens == 0, "tokens = 0: nothing would be sent; give at least 1 token a rank"),
            (self.latencies.is_empty(), "no latency to run with; give zero, preset or two numbers"),
            (self.schemes().is_empty(), "no scheme to run; give flat, dedup or hierarchical"),
            (self.backends.is_empty(), "no backend to run; give analytic, sim, quic or all"),
            (self.gates.as_ref().is_some_and(Vec::is_empty), "no gate to run; give unlimited or limit:M"),
        ] {
            if empty {
                return refuse(problem);
            }
        }
        let alike = matches!(self.routing, RoutingSpec::Uniform | RoutingSpec::Model);
        if self.shape.zero_experts > 0 && !alike {
            return Err(RoutingError::ZeroExperts.into());
        }
        if !self.payload && self.backends.contains(&BackendKind::Quic) {
            return refuse("rows without payload are for the simulator alone; add --backend sim");
        }
        if !self.payload && matches!(self.routing, RoutingSpec::Gate) {
            return refuse(
                "a gate needs hidden states, which rows without payload don't have; use another routing",
            );
        }
        if let RoutingSpec::Workload { workload, .. } = self.routing
            && workload.tokens_vary()
        {
            return Err(CompareError::Spec(format!(
                "workload {workload} changes the tokens of a rank from step to step, and a comparison has the same in each; \
                 compare workload:W0 with --tokens {} and with --tokens {}",
                self.tokens,
                self.tokens.saturating_mul(BURST_FACTOR)
            )));
        }
        // What is hot in a routing is drawn from the seed, and a row has one placement for all seeds.
        let seedless = matches!(
            self.routing,
            RoutingSpec::Uniform | RoutingSpec::Model | RoutingSpec::Loads(_) | RoutingSpec::Rows(_)
        );
        if self.placement.is_for_demand() && self.seeds.len() > 1 && !seedless {
            return Err(CompareError::Spec(format!(
                "placement {} is made for one seed's demand; give one seed, or an experiment file, where each seed is a point",
                self.placement.name()
            )));
        }
        let limited = self.gates.iter().flatten().any(|gate| matches!(gate, GateChoice::Limit(_)));
        self.check_faults()?;
        if self.is_trace() && limited {
            return refuse(
                "a recorded trace can't be gated again: leave out --gate limit:M, or route by gate, uniform or zipf",
            );
        }
        Ok(())
    }

    /// Whether all faults can strike.
    fn check_faults(&self) -> Result<(), CompareError> {
        let plan = FaultPlan { faults: self.faults.clone(), ..FaultPlan::default() };
        plan.check(&self.cluster()?).map_err(CompareError::Spec)?;
        let steps = self.warmup.saturating_add(self.rounds);
        if let Some(fault) =
            self.faults.iter().find(|fault| fault.when.step.is_some_and(|step| step >= steps))
        {
            return Err(CompareError::Spec(format!(
                "fault `{fault}`: there are steps 0 to {}, warm-up steps first; give one of them, or more rounds",
                steps - 1
            )));
        }
        let strange = |fault: &&Fault| fault.when.phase.is_some_and(|phase| !phase.is_of_layer());
        if let Some(fault) = self.faults.iter().find(strange) {
            let problem = "a layer has no such phase; give dispatch, expert or combine";
            return Err(CompareError::Spec(format!("fault `{fault}`: {problem}")));
        }
        if !self.faults.is_empty() && self.backends.contains(&BackendKind::Analytic) {
            let problem = "closed forms know no faults; give the backends sim, quic or both";
            return Err(CompareError::Spec(problem.to_owned()));
        }
        Ok(())
    }

    /// Width of a token's state: of its rows, unless the model's experts take narrower ones.
    pub(super) fn state_width(&self) -> u32 {
        if self.shape.hidden == self.model.row_width() { self.model.hidden } else { self.shape.hidden }
    }

    /// Rows of the trace, if one is replayed.
    #[must_use]
    pub fn trace_rows(&self) -> Option<usize> {
        match &self.routing {
            RoutingSpec::Rows(rows) => Some(rows.rows()),
            _ => None,
        }
    }
}
