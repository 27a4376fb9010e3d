//! Weights on their way: the rows of a round of moves, which take the place of a step's tokens.
//!
//! An expert travels as rows of 64 KiB, each a frame of its own, with its number as their sequence and the row's as their token.
//! What they hold is a block made from (seed, layer, expert), which the receiver makes too and compares.

use super::error::RankError;
use super::output::Send;
use crate::nic::OutRow;
use crate::program::Program;
use crate::setup::{PreparedRun, WEIGHT_ROW_BYTES};
use crate::wire::{Origin, Row, RowData};
use moe::ExpertId;
use moe::placement::WeightMove;
use moe::plan::Targets;
use std::collections::{BTreeMap, VecDeque};
use topology::{Picos, RankId};

/// One rank's part of a round.
#[derive(Debug)]
pub(super) struct Weights {
    me: RankId,
    step: u32,
    expert_bytes: u64,
    outgoing: Vec<WeightMove>,
    incoming: Option<WeightMove>,
    rows_taken: u32,
    /// Blocks of the experts that this rank sends or receives.
    blocks: BTreeMap<ExpertId, RowData>,
}

impl Weights {
    /// The part of `me` in round `step` of the run; `None` in a run of tokens.
    pub(super) fn new(run: &PreparedRun, me: RankId, step: u32) -> Option<Self> {
        let Program::Moves(moves) = &run.setup().program else { return None };
        let round = moves.rounds.get(step as usize).map_or(&[][..], Vec::as_slice);
        Some(Self {
            me,
            step,
            expert_bytes: moves.shape.expert_weight_bytes(),
            outgoing: round.iter().copied().filter(|weights| weights.from == me).collect(),
            incoming: round.iter().copied().find(|weights| weights.to == me),
            rows_taken: 0,
            blocks: BTreeMap::new(),
        })
    }

    /// Experts whose blocks are needed.
    pub(super) fn experts(&self) -> Vec<ExpertId> {
        self.outgoing.iter().chain(&self.incoming).map(|weights| weights.expert).collect()
    }

    pub(super) fn set_blocks(&mut self, blocks: Vec<RowData>) {
        self.blocks = self.experts().into_iter().zip(blocks).collect();
    }

    /// Sends what others are to have.
    pub(super) fn send(&self, sends: &mut VecDeque<Send>) {
        for &WeightMove { to, expert, .. } in &self.outgoing {
            for token in 0..self.num_rows() {
                let origin = Origin { source: self.me, token, sequence: expert.0, position: self.step };
                let row = Row { origin, targets: Targets::new(), data: self.row(expert, token) };
                sends.push_back(Send::Row { to, row: OutRow { row, ready: Picos::ZERO, release: None } });
            }
            sends.push_back(Send::Close { to, at: Picos::ZERO });
        }
    }

    /// Takes a row in.
    pub(super) fn take(&mut self, from: RankId, row: &Row) -> Result<(), RankError> {
        let Origin { source, token, sequence, .. } = row.origin;
        let unexpected = RankError::Unexpected { rank: self.me, from, source_rank: source, token };
        let Some(incoming) = self.incoming.filter(|weights| weights.from == from) else {
            return Err(unexpected);
        };
        if sequence != incoming.expert.0 || token != self.rows_taken || token >= self.num_rows() {
            return Err(unexpected);
        }
        if row.data != self.row(incoming.expert, token) {
            return Err(RankError::Weights { rank: self.me, from, expert: incoming.expert, row: token });
        }
        self.rows_taken += 1;
        Ok(())
    }

    /// Rows that have not come though every flow has ended.
    pub(super) fn missing(&self) -> u32 {
        if self.incoming.is_some() { self.num_rows() - self.rows_taken } else { 0 }
    }

    fn num_rows(&self) -> u32 {
        u32::try_from(self.expert_bytes.div_ceil(WEIGHT_ROW_BYTES)).expect("an expert's weights are bounded")
    }

    /// The values of a row: the expert's block, or its beginning in the last row.
    fn row(&self, expert: ExpertId, token: u32) -> RowData {
        let bytes = (self.expert_bytes - u64::from(token) * WEIGHT_ROW_BYTES).min(WEIGHT_ROW_BYTES);
        match &self.blocks[&expert] {
            RowData::Bytes(block) => block.slice(..bytes as usize).into(),
            RowData::Len(_) => RowData::Len(bytes as u32),
        }
    }
}
