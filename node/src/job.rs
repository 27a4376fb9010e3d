//! Work that touches row values: asked for by the rank, done by the shell.

mod expert;
mod local;
mod values;

pub(crate) use local::ANSWER_BYTES;
pub use local::{LocalDone, LocalState};

use crate::program::{LayerProgram, MoveProgram, Program, StackProgram};
use crate::setup::{Setup, SetupError, WEIGHT_ROW_BYTES};
use crate::trace::JobKind;
use crate::wire::RowData;
use bytes::Bytes;
use local::OwnLayers;
use moe::ExpertId;
use moe::experts::{Experts, WEIGHT_CACHE_BYTES, weight_block};
use moe::placement::Placement;
use moe::plan::Targets;
use moe::routing::{Router, Routing};
use moe::stack::Column;
use moe::{hidden, rows};
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Picos, RankId};
use values::{bytes_of, lengths, narrow_row, quantised};

/// Name of a job within its rank.
pub type JobId = u64;

/// A job with the emulated time that it is charged.
#[derive(Debug)]
pub struct Job {
    /// Name to give back with the output.
    pub id: JobId,
    /// Emulated time at which it can begin.
    pub ready: Picos,
    /// Emulated time that it takes; real time beyond it is lateness.
    pub charge: Picos,
    /// What to do.
    pub work: Work,
}

/// One token's expert work on a rank: a row in, a row out.
#[derive(Debug)]
pub struct ExpertRow {
    /// Slots of this rank that compute it, ascending by logical expert.
    pub targets: Targets,
    /// FP8 values.
    pub data: RowData,
}

/// What a job does.
#[derive(Debug)]
pub enum Work {
    /// Pick experts for the step's tokens.
    Gate {
        /// Which step.
        step: u32,
    },
    /// Quantise the step's hidden states to FP8 rows.
    Quantise,
    /// Make a block of each expert's weights.
    Weights(Vec<ExpertId>),
    /// Run the experts of this rank, weights charged once an expert; one BF16 row comes back for each row.
    Expert {
        /// Whose experts.
        layer: u16,
        /// What came.
        rows: Vec<ExpertRow>,
    },
    /// Give the tokens of a step of a whole model their states: as they enter the first layer, or as the hop brought them.
    Enter {
        /// The tokens.
        column: Arc<Column>,
        /// States of the stage before, BF16; none on the first one.
        rows: Vec<RowData>,
        /// The rank's.
        state: Box<LocalState>,
    },
    /// Take a rank's tokens through a layer up to its routed experts; where there are any, route and quantise.
    Local {
        /// The layer.
        layer: u32,
        /// Number of the batch in its run, for routing that depends on it.
        step: u32,
        /// The tokens.
        column: Arc<Column>,
        /// The rank's.
        state: Box<LocalState>,
    },
    /// After a stage's last layer: BF16 rows for the next stage, or on the last one what the model answers.
    Leave {
        /// The tokens.
        column: Arc<Column>,
        /// The rank's.
        state: Box<LocalState>,
    },
    /// Weighted sum of BF16 rows in the order given, to BF16 (`narrow`) or to f32.
    Reduce {
        /// Weight and values of each part, in canonical order.
        parts: Vec<(f32, RowData)>,
        /// True on a gateway, whose sum travels on as BF16.
        narrow: bool,
    },
}

impl Work {
    /// Its kind, as a timeline has it.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Gate { .. } => JobKind::Gate,
            Self::Quantise => JobKind::Quantise,
            Self::Weights(_) => JobKind::Weights,
            Self::Expert { .. } => JobKind::Expert,
            Self::Enter { .. } => JobKind::Enter,
            Self::Local { .. } => JobKind::Local,
            Self::Leave { .. } => JobKind::Leave,
            Self::Reduce { .. } => JobKind::Sum,
        }
    }
}

/// What a job yields.
#[derive(Debug)]
pub enum JobOutput {
    /// What a rank's own tokens have become.
    Local(Box<LocalDone>),
    /// Experts and weights of each token.
    Routing(Routing),
    /// One row a token, or one a row of work.
    Rows(Vec<RowData>),
    /// A finished token, f32 values as bytes are never sent anywhere.
    Token(Vec<f32>),
}

/// Does jobs: holds the gate and the weights, shared by all ranks of a process.
#[derive(Debug)]
pub struct JobRunner {
    setup: Arc<Setup>,
    /// Layers with experts that this process may work on, by index.
    layers: BTreeMap<u16, MoeLayer>,
    /// In a run of a whole model.
    own: Option<OwnLayers>,
}

#[derive(Debug)]
struct MoeLayer {
    router: Router,
    /// None without payload, where nothing is computed.
    experts: Option<Experts>,
    placement: Arc<Placement>,
}

impl JobRunner {
    /// Prepares the gates and the experts of a setup, for the ranks of a stage; of all programs but a whole model's there is stage 0 alone.
    ///
    /// # Errors
    /// Where the routing can't be made.
    pub fn new(setup: Arc<Setup>, stage: u32) -> Result<Self, SetupError> {
        let (mut layers, mut own) = (BTreeMap::new(), None);
        match &setup.program {
            Program::Layer(LayerProgram { layer, placement, .. }) => {
                let placement = Arc::clone(placement);
                layers.insert(*layer, MoeLayer::new(&setup, *layer, placement, WEIGHT_CACHE_BYTES)?);
            }
            Program::Moves(_) => {}
            Program::Stack(StackProgram { stack, placements, .. }) => {
                let cache_bytes = WEIGHT_CACHE_BYTES / stack.model.num_layers() as usize;
                let of_stage = stack.stages()[stage as usize].layers.clone();
                for layer in of_stage.filter(|&layer| stack.model.is_moe_layer(layer)) {
                    let placement = Arc::clone(placements.of(layer));
                    let layer = u16::try_from(layer).expect("layers are bounded");
                    layers.insert(layer, MoeLayer::new(&setup, layer, placement, cache_bytes)?);
                }
                own = Some(OwnLayers::new(&setup, stack, stage));
            }
        }
        Ok(Self { setup, layers, own })
    }

    /// Routing of one rank's tokens at a step of a run of one layer.
    ///
    /// # Panics
    /// In another run.
    #[must_use]
    pub fn route(&self, step: u32, rank: RankId) -> Routing {
        let layer = self.setup.layer().expect("one layer has tokens of its own");
        self.layer().router.route_shares(step, &layer.shares_of(rank))
    }

    /// The experts of a run of one layer, for the reference.
    ///
    /// # Panics
    /// In another run, or without payload.
    #[must_use]
    pub fn experts(&self) -> &Experts {
        self.layer().experts.as_ref().expect("a run with payload has experts")
    }

    fn layer(&self) -> &MoeLayer {
        self.layers.values().next().expect("a run of one layer has it")
    }

    fn own(&self) -> &OwnLayers {
        self.own.as_ref().expect("local work is of a whole model")
    }

    /// Does one job of `rank`. A [`LocalState`] in it moves on into the output.
    #[must_use]
    pub fn run(&self, rank: RankId, work: &mut Work) -> JobOutput {
        let width = self.setup.program.shape().hidden as usize;
        let combine_bytes = u32::try_from(rows::bf16_row_bytes(width)).expect("hidden is bounded");
        match work {
            Work::Gate { step } => JobOutput::Routing(self.route(*step, rank)),
            Work::Weights(experts) => {
                JobOutput::Rows(experts.iter().map(|&expert| self.weights(expert)).collect())
            }
            Work::Quantise => JobOutput::Rows(self.quantise(rank, width)),
            Work::Expert { layer, rows } if self.setup.payload => {
                let MoeLayer { experts, placement, .. } = &self.layers[layer];
                let experts = experts.as_ref().expect("a run with payload has experts");
                JobOutput::Rows(expert::expert(experts, placement, self.setup.scheme, rows, width))
            }
            Work::Expert { rows, .. } => JobOutput::Rows(vec![RowData::Len(combine_bytes); rows.len()]),
            Work::Enter { column, rows, state } => {
                JobOutput::Local(Box::new(self.own().enter(column, rows, std::mem::take(state))))
            }
            Work::Local { layer, step, column, state } => {
                let moe = u16::try_from(*layer).ok().and_then(|layer| self.layers.get(&layer));
                let (router, state) = (moe.map(|moe| &moe.router), std::mem::take(state));
                JobOutput::Local(Box::new(self.own().local(*layer, router, *step, column, state)))
            }
            Work::Leave { column, state } => {
                JobOutput::Local(Box::new(self.own().leave(column, std::mem::take(state))))
            }
            Work::Reduce { narrow: true, .. } if !self.setup.payload => {
                JobOutput::Rows(vec![RowData::Len(combine_bytes)])
            }
            Work::Reduce { narrow: false, .. } if !self.setup.payload => JobOutput::Token(Vec::new()),
            Work::Reduce { parts, narrow } => {
                let mut sum = vec![0.0; width];
                for (weight, part) in parts {
                    rows::add_bf16(bytes_of(part), *weight, &mut sum);
                }
                if *narrow { JobOutput::Rows(vec![narrow_row(&sum)]) } else { JobOutput::Token(sum) }
            }
        }
    }

    fn weights(&self, expert: ExpertId) -> RowData {
        let Program::Moves(MoveProgram { shape, layer, .. }) = &self.setup.program else {
            panic!("weights travel in runs of moves")
        };
        let bytes = WEIGHT_ROW_BYTES.min(shape.expert_weight_bytes());
        if !self.setup.payload {
            return RowData::Len(bytes as u32);
        }
        Bytes::from(weight_block(self.setup.seed, (*layer).into(), expert, bytes as usize)).into()
    }

    fn quantise(&self, rank: RankId, width: usize) -> Vec<RowData> {
        let own = self.setup.layer().expect("one layer has tokens of its own");
        let LayerProgram { tokens, layer, shape, .. } = own;
        let tokens = tokens[rank.0 as usize];
        if !self.setup.payload {
            return lengths(tokens as usize, rows::fp8_row_bytes(width) - rows::ORIGIN_BYTES);
        }
        let layer = u32::from(*layer);
        let states = hidden::hidden_states_of(self.setup.seed, layer, &own.shares_of(rank), shape.hidden);
        quantised(&states, width)
    }
}

impl MoeLayer {
    fn new(
        setup: &Setup,
        layer: u16,
        placement: Arc<Placement>,
        cache_bytes: usize,
    ) -> Result<Self, SetupError> {
        let (shape, seed, index) = (setup.program.shape(), setup.seed, u32::from(layer));
        let router = Router::new(&shape, &setup.routing, setup.gate_limit.as_ref(), seed, index)
            .map_err(SetupError::new)?;
        let make = || Experts::new(setup.experts, &shape, seed, index).with_cache_limit(cache_bytes);
        let experts = setup.payload.then(make);
        Ok(Self { router, experts, placement })
    }
}
