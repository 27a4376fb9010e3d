//! Jobs on a rank's own tokens in a run of a whole model: entering, a layer up to its experts, leaving.

use super::values::{bytes_of, lengths, narrow_row, quantised};
use crate::setup::Setup;
use crate::wire::RowData;
use bytes::Bytes;
use moe::routing::{Router, Routing};
use moe::rows;
use moe::stack::{Column, KvCache, LocalLayer, Stack, TokenId, add_routed, answers, fill_embedding};

/// What a rank of a whole model keeps of its tokens; all empty in a run without payload.
#[derive(Debug, Default)]
pub struct LocalState {
    /// States of the tokens in hand, `[tokens, hidden]`.
    pub states: Vec<f32>,
    /// What the routed experts of the last layer gave, yet to be added.
    pub routed: Vec<Vec<f32>>,
    /// The caches of the rank's sequences, for the layers of its stage.
    pub cache: KvCache,
}

/// What a job on a [`LocalState`] yields.
#[derive(Debug, Default)]
pub struct LocalDone {
    /// As it was handed over, gone through what was asked for.
    pub state: Box<LocalState>,
    /// Experts of each token, in a layer that has them.
    pub routing: Option<Routing>,
    /// Rows for the experts (FP8), for the next stage (BF16), or for the first one (4 bytes for each token that is answered).
    pub rows: Vec<RowData>,
    /// What the model answers for each token, on the last stage; empty rows without payload.
    pub outputs: Vec<Vec<f32>>,
}

/// Bytes of what stands for an answered token on its way to the first stage.
pub(crate) const ANSWER_BYTES: usize = 4;

/// The layers of a stage, without their routed experts.
#[derive(Debug)]
pub(super) struct OwnLayers {
    stack: Stack,
    stage: u32,
    /// From the stage's first layer on; none without payload.
    layers: Vec<LocalLayer>,
    payload: bool,
    seed: u64,
}

impl OwnLayers {
    pub(super) fn new(setup: &Setup, stack: &Stack, stage: u32) -> Self {
        let layers = stack.stages()[stage as usize].layers.clone().filter(|_| setup.payload);
        let layers = layers.map(|layer| LocalLayer::new(stack, setup.experts, setup.seed, layer)).collect();
        Self { stack: stack.clone(), stage, layers, payload: setup.payload, seed: setup.seed }
    }

    fn hidden(&self) -> usize {
        self.stack.model.hidden as usize
    }

    /// Gives tokens their states: as they enter the first layer, or as the stage before sent them.
    pub(super) fn enter(&self, column: &Column, rows: &[RowData], mut state: Box<LocalState>) -> LocalDone {
        if self.payload {
            state.routed.clear();
            state.states.clear();
            state.states.resize(column.tokens() as usize * self.hidden(), 0.0);
            let states = state.states.chunks_exact_mut(self.hidden());
            if self.stage == 0 {
                states.zip(column.ids()).for_each(|(state, id)| fill_embedding(self.seed, id, state));
            } else {
                states.zip(rows).for_each(|(state, row)| rows::from_bf16(bytes_of(row), state));
            }
        }
        LocalDone { state, ..LocalDone::default() }
    }

    /// Takes tokens through a layer up to its experts, if it has any: `router` is theirs, `step` the batch's number.
    pub(super) fn local(
        &self,
        layer: u32,
        router: Option<&Router>,
        step: u32,
        column: &Column,
        mut state: Box<LocalState>,
    ) -> LocalDone {
        let hidden = self.hidden();
        let mut entering = None;
        if self.payload {
            self.add_pending(&mut state);
            let index = (layer - self.stack.stages()[self.stage as usize].layers.start) as usize;
            let LocalState { states, cache, .. } = &mut *state;
            entering = self.layers[index].run(&column.chunks, states, cache, index);
        }
        let Some(router) = router else { return LocalDone { state, ..LocalDone::default() } };
        let ids: Vec<TokenId> = column.ids().collect();
        let entering = entering.unwrap_or_default();
        let routing = Some(router.route_tokens(step, &ids, &entering));
        let rows = if self.payload {
            quantised(&entering, hidden)
        } else {
            lengths(ids.len(), rows::fp8_row_bytes(hidden) - rows::ORIGIN_BYTES)
        };
        LocalDone { state, routing, rows, outputs: Vec::new() }
    }

    /// Ends a stage: rows for the next one, or on the last one the answers and what the first one is told of them.
    pub(super) fn leave(&self, column: &Column, mut state: Box<LocalState>) -> LocalDone {
        let hidden = self.hidden();
        let last = self.stage + 1 == self.stack.num_stages();
        let tokens = column.tokens() as usize;
        self.add_pending(&mut state);
        let states = std::mem::take(&mut state.states);
        let (rows, outputs) = match (self.payload, last) {
            (false, true) => (lengths(column.answered().count(), ANSWER_BYTES), vec![Vec::new(); tokens]),
            (false, false) => (lengths(tokens, rows::bf16_row_bytes(hidden)), Vec::new()),
            (true, true) => {
                let outputs = answers(&states, hidden);
                (picked(column, &outputs), outputs)
            }
            (true, false) => (states.chunks_exact(hidden).map(narrow_row).collect(), Vec::new()),
        };
        LocalDone { state, routing: None, rows, outputs }
    }

    /// Ends the layer before: adds what its experts gave, if it had any.
    fn add_pending(&self, state: &mut LocalState) {
        let routed = std::mem::take(&mut state.routed);
        let states = state.states.chunks_exact_mut(self.hidden());
        states.zip(&routed).for_each(|(state, routed)| add_routed(state, routed));
    }
}

/// What stands for the tokens that the head picks: four bytes of each answer that is asked for.
fn picked(column: &Column, outputs: &[Vec<f32>]) -> Vec<RowData> {
    let mut rows = Vec::new();
    let mut end = 0;
    for chunk in &column.chunks {
        end += chunk.tokens as usize;
        if chunk.sample {
            let picked: [u8; ANSWER_BYTES] = outputs[end - 1][0].to_le_bytes();
            rows.push(Bytes::copy_from_slice(&picked).into());
        }
    }
    rows
}
