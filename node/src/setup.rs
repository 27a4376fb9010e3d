//! Everything a rank must know before its first step, pushed by the coordinator and equal on every rank.

mod checks;
mod prepared;

pub use checks::SetupError;
pub(crate) use checks::VALUES_OF_RANK_MAX;
pub use prepared::PreparedRun;

use crate::nic::{NicConfig, credit_window};
use crate::program::{LayerProgram, Program, StackProgram};
use crate::trace::Tracing;
use crate::wire::{Phase, TrafficClass};
use moe::experts::ExpertKind;
use moe::plan::{DispatchScheme, RowBytes};
use moe::reference::StackReference;
use moe::routing::{GateLimit, RoutingError, RoutingSpec};
use serde::{Deserialize, Serialize};
use topology::{A2aLinks, Cluster, Fabric, FaultPlan, Hardware, PhaseLinks, Picos};

/// One configuration: racks, links, inputs, and the program that is run on them. Serialised as a control message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Random number of the cluster, on every frame.
    pub cluster_id: u64,
    /// Number of this run, on every frame: frames of an aborted run are recognised and dropped.
    pub run: u64,
    /// Membership epoch in which the ranks were seated.
    pub epoch: u32,
    /// Racks of ranks.
    pub cluster: Cluster,
    /// Port rates and latencies of this run.
    pub fabric: Fabric,
    /// What the all-to-all's phases meet instead, where kernels were measured.
    pub kernels: Option<A2aLinks>,
    /// Whose roofline charges everything that is computed.
    pub hardware: Hardware,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// Where routing comes from.
    pub routing: RoutingSpec,
    /// Racks a token may use, by expert group.
    pub gate_limit: Option<GateLimit>,
    /// Seed of states, routing and weights.
    pub seed: u64,
    /// Real or modelled experts and blocks.
    pub experts: ExpertKind,
    /// Most rows in one frame.
    pub chunk_rows: u32,
    /// False in simulations that are about time only: rows are lengths, and there are no caches.
    pub payload: bool,
    /// Number of the run's first step in the routing of a layer: what a longer run would have done before.
    pub first_step: u32,
    /// What goes wrong on purpose; steps count from the run's first.
    pub faults: FaultPlan,
    /// What is kept for a timeline, if there is to be one.
    pub tracing: Option<Tracing>,
    /// What is run.
    pub program: Program,
}

/// Bytes of an expert's weights in one row.
pub const WEIGHT_ROW_BYTES: u64 = 64 << 10;

/// Most rows in one frame: an eighth of a rank's tokens, so that hierarchical dispatch pipelines (chunks of at most
/// T/8 rows keep the quantisation within a few percent), and at most 8, so that a frame stays near 100 KB.
#[must_use]
pub fn chunk_rows(tokens: u32) -> u32 {
    (tokens / 8).clamp(1, 8)
}

impl Setup {
    /// `program` at the rates of `hardware`: hierarchical, uniform routing, seed 0, modelled experts, 8 rows a frame (1 of weights), with
    /// values.
    #[must_use]
    pub fn new(cluster: Cluster, hardware: Hardware, program: Program) -> Self {
        Self {
            cluster_id: 0,
            run: 0,
            epoch: 0,
            cluster,
            fabric: hardware.fabric(),
            kernels: None,
            hardware,
            scheme: DispatchScheme::Hierarchical,
            routing: RoutingSpec::Uniform,
            gate_limit: None,
            seed: 0,
            experts: ExpertKind::Modelled,
            chunk_rows: if matches!(program, Program::Moves(_)) { 1 } else { 8 },
            payload: true,
            first_step: 0,
            faults: FaultPlan::default(),
            tracing: None,
            program,
        }
    }

    /// As it is told to the ranks of `stage`: without placements of others' layers.
    ///
    /// # Panics
    /// If there is no such stage, or one of its layers has no placement.
    #[must_use]
    pub fn for_stage(&self, stage: u32) -> Self {
        let mut own = self.clone();
        if let Program::Stack(StackProgram { stack, placements, .. }) = &mut own.program {
            *placements = placements.part(stack.stages()[stage as usize].layers.clone());
        }
        own
    }

    /// The same with an equal share of its rack's uplink as each rank's port: ranks in processes of their own know nothing of each other's
    /// frames.
    #[must_use]
    pub fn in_equal_shares(mut self) -> Self {
        self.fabric = self.fabric.in_equal_shares();
        self.kernels = self.kernels.map(|mut links| {
            for phase in [&mut links.dispatch, &mut links.combine] {
                phase.fabric = phase.fabric.in_equal_shares();
            }
            links
        });
        self
    }

    /// The one layer that is run, if it is one.
    #[must_use]
    pub fn layer(&self) -> Option<&LayerProgram> {
        if let Program::Layer(layer) = &self.program { Some(layer) } else { None }
    }

    /// The same, to be changed.
    pub fn layer_mut(&mut self) -> Option<&mut LayerProgram> {
        if let Program::Layer(layer) = &mut self.program { Some(layer) } else { None }
    }

    /// What steps of a whole model must answer; `None` for another program.
    ///
    /// # Errors
    /// Where the routing can't be made.
    pub fn reference(&self) -> Result<Option<StackReference>, RoutingError> {
        let Program::Stack(StackProgram { stack, placements, .. }) = &self.program else { return Ok(None) };
        let reference = StackReference::new(
            stack,
            &self.cluster,
            placements,
            self.scheme,
            &self.routing,
            self.gate_limit.as_ref(),
            self.experts,
            self.seed,
        );
        reference.map(Some)
    }

    /// Row sizes on the wire.
    #[must_use]
    pub fn row_bytes(&self) -> RowBytes {
        RowBytes::new(self.program.shape().hidden)
    }

    /// Bytes of one full chunk, for the larger of the two row kinds.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        let rows = self.row_bytes();
        let row = match self.program {
            Program::Moves(_) => WEIGHT_ROW_BYTES,
            Program::Layer(_) | Program::Stack(_) => rows.combine.max(rows.dispatch),
        };
        u64::from(self.chunk_rows) * row
    }

    /// Links of both phases.
    #[must_use]
    pub fn links(&self) -> A2aLinks {
        self.kernels.unwrap_or_else(|| A2aLinks::nominal(self.fabric))
    }

    /// Links of `phase`.
    #[must_use]
    pub fn phase_links(&self, phase: Phase) -> PhaseLinks {
        match phase {
            Phase::Combine => self.links().combine,
            // A copy from one rank to one other is no all-to-all.
            Phase::Hop => PhaseLinks { fabric: self.fabric, floor: Picos::ZERO },
            Phase::Dispatch | Phase::Expert | Phase::Local => self.links().dispatch,
        }
    }

    /// Port settings of `phase`.
    #[must_use]
    pub fn nic_config(&self, phase: Phase) -> NicConfig {
        let fabric = self.phase_links(phase).fabric;
        let chunk_bytes = self.chunk_bytes();
        let class = match (&self.program, phase) {
            (_, Phase::Hop) => TrafficClass::Activations,
            (Program::Moves(_), _) => TrafficClass::Bulk,
            (Program::Layer(_) | Program::Stack(_), _) => TrafficClass::Tokens,
        };
        NicConfig {
            fabric,
            class,
            chunk_rows: self.chunk_rows,
            credit_bytes: credit_window(&fabric, chunk_bytes),
            chunk_bytes,
            horizon: Picos::ZERO,
            resolution: Picos::ZERO,
        }
    }

    /// Emulated compute time of a rank whose slots got `rows` rows each: every touched expert's weights are read once.
    ///
    /// # Errors
    /// When the hardware has no rate for the layer's dtype.
    pub fn compute_time(
        &self,
        rows: impl IntoIterator<Item = u64>,
    ) -> Result<Picos, topology::HardwareError> {
        let shape = self.program.shape();
        let products = rows.into_iter().filter(|&rows| rows > 0).try_fold(Picos::ZERO, |sum, rows| {
            let (flops, bytes) = (shape.expert_flops(rows), shape.expert_weight_bytes() as f64);
            let time = self.hardware.expert_time(flops, shape.expert_flops(1), bytes, shape.dtype)?;
            Ok(sum.saturating_add(time))
        })?;
        Ok(if products == Picos::ZERO {
            products
        } else {
            products.saturating_add(self.hardware.experts_start())
        })
    }
}
