//! Everything a rank must know before its first step, pushed by the coordinator and equal on every rank.

mod prepared;

pub use prepared::PreparedRun;

use crate::nic::{NicConfig, credit_window};
use crate::wire::{Phase, TrafficClass};
use moe::experts::ExpertKind;
use moe::model::LayerShape;
use moe::placement::{Placement, WeightMove};
use moe::plan::{DispatchScheme, Flows, RowBytes};
use moe::routing::{GateLimit, RoutingSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;
use topology::{A2aLinks, Cluster, Fabric, Hardware, PhaseLinks, Picos};

/// One configuration: model layer, racks, placement, scheme, inputs. Serialised as a control message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSetup {
    /// Random number of the cluster, on every frame.
    pub cluster_id: u64,
    /// Number of this run, on every frame: frames of an aborted run are recognised and dropped.
    pub run: u64,
    /// Membership epoch in which the ranks were seated.
    pub epoch: u32,
    /// Racks of ranks.
    pub cluster: Cluster,
    /// Port rates and latencies of this run; of its dispatch alone where `hardware.kernels` has others for the combine.
    pub fabric: Fabric,
    /// Whose roofline charges the experts' compute time.
    pub hardware: Hardware,
    /// The layer's shape.
    pub shape: LayerShape,
    /// Which slot holds which expert; in a stage of a whole model, of its first layer.
    pub placement: Placement,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// Where routing comes from.
    pub routing: RoutingSpec,
    /// Racks a token may use, by expert group.
    pub gate_limit: Option<GateLimit>,
    /// Tokens of each rank, `[num_ranks]`.
    pub tokens: Vec<u32>,
    /// Seed of hidden states, routing and weights.
    pub seed: u64,
    /// Layer whose seeds are used.
    pub layer: u16,
    /// Real or modelled experts.
    pub experts: ExpertKind,
    /// Most rows in one frame.
    pub chunk_rows: u32,
    /// False in simulations that are about time only: rows are lengths.
    pub payload: bool,
    /// Number of the run's first step in the routing: what a longer run would have done before.
    pub first_step: u32,
    /// Rounds of weight moves. With any, the run moves weights and nothing else: its step i sends round i in the place of a dispatch,
    /// no rank has tokens, and a frame carries one row of [`WEIGHT_ROW_BYTES`].
    pub moves: Vec<Vec<WeightMove>>,
}

/// Bytes of an expert's weights in one row.
pub const WEIGHT_ROW_BYTES: u64 = 64 << 10;

/// A setup that can't be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// Vectors of different lengths.
    #[error("{what} has {got} entries for {ranks} ranks")]
    Ranks {
        /// Which vector.
        what: &'static str,
        /// Its length.
        got: usize,
        /// Ranks of the cluster.
        ranks: u32,
    },
    /// Layers, stages or placements of a whole model that don't fit each other.
    #[error("{0}")]
    Stack(String),
    /// Weight moves that can't be made.
    #[error("{problem}")]
    Moves {
        /// What is wrong, and what to give.
        problem: String,
    },
    /// A placement made for other racks.
    #[error(
        "the placement chooses replicas for other racks than the {racks} of the cluster: make it for this cluster"
    )]
    Racks {
        /// Racks of the cluster.
        racks: u32,
    },
    /// Sizes outside the limits.
    #[error("{what} is {got}, allowed is {allowed}")]
    Size {
        /// Which number.
        what: &'static str,
        /// Its value.
        got: u64,
        /// Its range.
        allowed: &'static str,
    },
}

/// Most bytes that one row may have.
const MAX_HIDDEN: u32 = 1 << 20;
/// Most tokens of one rank in one step.
const MAX_TOKENS_PER_RANK: u32 = 1 << 20;

impl RunSetup {
    /// Which ranks may send to which.
    ///
    /// # Panics
    /// If the placement was made for another number of ranks: see [`Self::validate`].
    #[must_use]
    pub fn flows(&self) -> Flows {
        Flows::new(self.scheme, &self.cluster, &self.placement)
    }

    /// Row sizes on the wire.
    #[must_use]
    pub fn row_bytes(&self) -> RowBytes {
        RowBytes::new(self.shape.hidden)
    }

    /// Bytes of one full chunk, for the larger of the two row kinds.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        let rows = self.row_bytes();
        let row = if self.moves.is_empty() { rows.combine.max(rows.dispatch) } else { WEIGHT_ROW_BYTES };
        u64::from(self.chunk_rows) * row
    }

    /// Links of both phases.
    #[must_use]
    pub fn links(&self) -> A2aLinks {
        A2aLinks::new(self.fabric, self.hardware.kernels)
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
        let class = match phase {
            Phase::Hop => TrafficClass::Activations,
            _ if self.moves.is_empty() => TrafficClass::Tokens,
            _ => TrafficClass::Bulk,
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
        rows.into_iter().filter(|&rows| rows > 0).try_fold(Picos::ZERO, |sum, rows| {
            let time = self.hardware.time(
                self.shape.expert_flops(rows),
                self.shape.expert_weight_bytes() as f64,
                self.shape.dtype,
            )?;
            Ok(sum + time)
        })
    }

    /// Bytes that one rank's rows of a phase may need at most, for the memory estimate before anything is allocated.
    #[must_use]
    pub fn estimated_bytes(&self) -> u64 {
        let tokens: u64 = self.tokens.iter().map(|&tokens| u64::from(tokens)).sum();
        let copies = u64::from(self.shape.top_k);
        let rows = self.row_bytes();
        let held =
            if self.payload { rows.dispatch + rows.combine + 4 * u64::from(self.shape.hidden) } else { 64 };
        tokens.saturating_mul(copies).saturating_mul(held)
    }

    /// Checks sizes against each other and against the limits.
    ///
    /// # Errors
    /// A [`SetupError`] that names the number and its range.
    pub fn validate(&self) -> Result<(), SetupError> {
        let ranks = self.cluster.num_ranks();
        if self.tokens.len() != ranks as usize {
            return Err(SetupError::Ranks { what: "tokens", got: self.tokens.len(), ranks });
        }
        self.validate_placement(&self.placement)?;
        let size = |what, got: u64, allowed, ok: bool| {
            if ok { Ok(()) } else { Err(SetupError::Size { what, got, allowed }) }
        };
        let hidden = self.shape.hidden;
        size("hidden", hidden.into(), "1 to 1,048,576", (1..=MAX_HIDDEN).contains(&hidden))?;
        size("chunk_rows", self.chunk_rows.into(), "1 to 1,024", (1..=1024).contains(&self.chunk_rows))?;
        let most = self.tokens.iter().copied().max().unwrap_or(0);
        self.validate_moves(most)?;
        size("tokens of a rank", most.into(), "0 to 1,048,576", most <= MAX_TOKENS_PER_RANK)
    }

    /// Whether `placement` is one of these racks.
    pub(crate) fn validate_placement(&self, placement: &Placement) -> Result<(), SetupError> {
        let (ranks, got) = (self.cluster.num_ranks(), placement.num_ranks() as usize);
        if got != ranks as usize {
            return Err(SetupError::Ranks { what: "placement", got, ranks });
        }
        if placement.fits(&self.cluster) {
            Ok(())
        } else {
            Err(SetupError::Racks { racks: self.cluster.num_racks() })
        }
    }

    /// A round moves one expert to a rank at most: that is all that ranks have room for.
    fn validate_moves(&self, most_tokens: u32) -> Result<(), SetupError> {
        let refuse = |problem: String| Err(SetupError::Moves { problem });
        if !self.moves.is_empty() && (most_tokens > 0 || self.chunk_rows != 1) {
            return refuse("a run that moves weights has no tokens, and one row a frame".to_owned());
        }
        for (round, moves) in self.moves.iter().enumerate() {
            let mut receivers = BTreeSet::new();
            for &WeightMove { from, to, expert } in moves {
                let known = from.0.max(to.0) < self.cluster.num_ranks() && expert.0 < self.shape.num_experts;
                if !known || from == to || !receivers.insert(to) {
                    return refuse(format!(
                        "round {round} moves {expert} from {from} to {to}: give ranks and experts that there are, and each rank one expert a round"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Bytes charged for a row of `phase`.
    #[must_use]
    pub fn charged_row_bytes(&self, phase: Phase) -> u64 {
        if phase == Phase::Combine { self.row_bytes().combine } else { self.row_bytes().dispatch }
    }
}
