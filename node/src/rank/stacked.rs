//! A rank's part in a whole model: the tokens that it has in hand, their states and caches, and what comes from the stage before.
//!
//! Values are touched by jobs alone: a job is handed the rank's [`LocalState`] and gives it back.

use super::error::{KV_BYTES_MAX, RankError};
use super::output::Send;
use crate::job::{ANSWER_BYTES, LocalDone, LocalState, Work};
use crate::nic::OutRow;
use crate::program::{Stop, layer_at, moe_layer};
use crate::setup::{PreparedRun, VALUES_OF_RANK_MAX};
use crate::wire::{Flow, Frame, Origin, Phase, Row, RowData};
use moe::plan::Targets;
use moe::routing::Routing;
use moe::stack::{Column, KvCache, Stack, TokenId};
use std::collections::VecDeque;
use std::sync::Arc;
use topology::{Picos, RankId};

/// What a rank has to do at a stop.
pub(super) enum Part {
    /// Nothing: its stage has no such layer, or one without experts.
    Nothing,
    /// A job of its own.
    Job { charge: Picos, work: Work },
    /// Its part of an expert-parallel layer.
    Layer,
    /// Its part of the hop.
    Hop,
}

#[derive(Debug)]
pub(super) struct Stacked {
    me: RankId,
    run: Arc<PreparedRun>,
    stage: u32,
    flow: Option<Flow>,
    /// What entered in the last steps, newest first: stage s has the s-th in hand.
    columns: VecDeque<Arc<Column>>,
    ids: Vec<TokenId>,
    /// `None` while a job has it.
    state: Option<Box<LocalState>>,
    /// From the local phase to the dispatch.
    routed: Option<(Routing, Vec<RowData>)>,
    /// What the hop takes along.
    leaving: Vec<RowData>,
    /// What the hop has brought, in the order of `expected`.
    entering: Vec<RowData>,
    expected: Vec<TokenId>,
    hopping: bool,
}

impl Stacked {
    /// The part of `me`; `None` in a run of one layer.
    pub(super) fn new(me: RankId, run: &Arc<PreparedRun>) -> Option<Self> {
        let (stack, stage) = run.stage()?;
        let layers = &stack.stages()[stage as usize].layers;
        let cache = KvCache::new(layers.end - layers.start, stack.model.hidden);
        Some(Self {
            me,
            run: Arc::clone(run),
            stage,
            flow: None,
            columns: VecDeque::new(),
            ids: Vec::new(),
            state: Some(Box::new(LocalState { cache, ..LocalState::default() })),
            routed: None,
            leaving: Vec::new(),
            entering: Vec::new(),
            expected: Vec::new(),
            hopping: false,
        })
    }

    fn stack(&self) -> &Stack {
        self.run.stage().expect("a rank of a stack").0
    }

    fn is_last(&self) -> bool {
        self.stage + 1 == self.stack().num_stages()
    }

    pub(super) fn ids(&self) -> &[TokenId] {
        &self.ids
    }

    pub(super) fn cache_mut(&mut self) -> Option<&mut KvCache> {
        self.state.as_mut().map(|state| &mut state.cache)
    }

    fn column(&self, entered: usize) -> Arc<Column> {
        self.columns.get(entered).cloned().unwrap_or_default()
    }

    /// Takes up the tokens of a step: `column` enters at the first stage, the others have what came with the last hop.
    pub(super) fn prepare(&mut self, flow: Flow, column: Column) -> Result<Work, RankError> {
        let lost = RankError::PhaseOrder { rank: self.me, phase: Phase::Local };
        let mut state = self.state.take().ok_or(lost)?;
        self.columns.push_front(Arc::new(column));
        self.columns.truncate(self.stack().num_stages() as usize);
        let column = self.column(self.stage as usize);
        self.flow = Some(flow);
        self.routed = None;
        self.leaving.clear();
        self.ids = column.ids().collect();
        if self.run.setup().payload {
            let admitted = self.admit(&column, &mut state.cache);
            if let Err(error) = admitted {
                self.state = Some(state);
                return Err(error);
            }
        }
        let rows = if self.stage == 0 { Vec::new() } else { std::mem::take(&mut self.entering) };
        self.entering.clear();
        Ok(Work::Enter { column, rows, state })
    }

    /// Forgets what has ended, and checks that the rest is there.
    fn admit(&self, column: &Column, cache: &mut KvCache) -> Result<(), RankError> {
        column.ended.iter().for_each(|&sequence| cache.forget(sequence));
        for chunk in &column.chunks {
            if chunk.context == 0 {
                cache.forget(chunk.sequence);
            }
            if let Some((layer, held)) = cache.mismatch(chunk.sequence, chunk.context) {
                let first = self.stack().stages()[self.stage as usize].layers.start;
                return Err(RankError::Cache {
                    rank: self.me,
                    sequence: chunk.sequence,
                    layer: first + layer as u32,
                    held,
                    context: chunk.context,
                });
            }
        }
        let (tokens, most) = (column.tokens(), VALUES_OF_RANK_MAX / u64::from(self.stack().model.hidden));
        if u64::from(tokens) > most {
            return Err(RankError::Tokens { rank: self.me, tokens, most });
        }
        let bytes = cache.bytes() + cache.bytes_of(column.tokens().into());
        if bytes > KV_BYTES_MAX {
            return Err(RankError::CacheFull { rank: self.me, bytes });
        }
        Ok(())
    }

    /// What there is to do at a stop.
    pub(super) fn begin(&mut self, stop: Stop) -> Result<Part, RankError> {
        let lost = RankError::PhaseOrder { rank: self.me, phase: stop.phase };
        let flow = self.flow.ok_or_else(|| lost.clone())?;
        let column = self.column(self.stage as usize);
        let stack = self.stack();
        match stop.phase {
            Phase::Local => {
                let layer = layer_at(stack, self.stage, stop.layer);
                let leaves = u32::from(stop.layer) == stack.longest();
                if layer.is_none() && !leaves {
                    return Ok(Part::Nothing);
                }
                let charge = self.charge(layer, &column)?;
                let step = flow.step.saturating_sub(self.stage);
                let state = self.state.take().ok_or(lost)?;
                let work = match layer {
                    Some(layer) => Work::Local { layer, step, column, state },
                    None => Work::Leave { column, state },
                };
                Ok(Part::Job { charge, work })
            }
            Phase::Dispatch | Phase::Expert | Phase::Combine => {
                let layer = moe_layer(stack, self.stage, stop.layer);
                Ok(if layer.is_some() { Part::Layer } else { Part::Nothing })
            }
            Phase::Hop => {
                // What the stage before has in hand is next here; the first stage hears what the last one answers.
                let before = if self.stage == 0 { stack.num_stages() } else { self.stage } - 1;
                let coming = self.column(before as usize);
                self.expected =
                    if self.stage == 0 { coming.answered().collect() } else { coming.ids().collect() };
                self.hopping = true;
                Ok(Part::Hop)
            }
        }
    }

    /// Emulated time of a local phase: that of its kernels, one after the other.
    fn charge(&self, layer: Option<u32>, column: &Column) -> Result<Picos, RankError> {
        let (stack, hardware) = (self.stack(), &self.run.setup().hardware);
        let kernels = match layer {
            Some(layer) => stack.local_work(layer, &column.load(&stack.reaches())).to_vec(),
            None if self.is_last() => vec![stack.head_work(column.answered().count() as u64)],
            None => Vec::new(),
        };
        kernels.iter().try_fold(Picos::ZERO, |sum, work| {
            let time = hardware.time(work.flops, work.bytes(), stack.dtype);
            Ok(sum.saturating_add(time.map_err(|error| RankError::Hardware(error.to_string()))?))
        })
    }

    /// Takes back what a job was handed, with what it made of it. Returns the answers.
    pub(super) fn take_done(&mut self, done: LocalDone) -> Vec<Vec<f32>> {
        self.state = Some(done.state);
        match done.routing {
            Some(routing) => self.routed = Some((routing, done.rows)),
            None => self.leaving = done.rows,
        }
        done.outputs
    }

    /// Experts and rows of the tokens in hand, once.
    pub(super) fn take_routed(&mut self) -> Option<(Routing, Vec<RowData>)> {
        self.routed.take()
    }

    /// Keeps what the routed experts gave until the next job adds it up.
    pub(super) fn set_outputs(&mut self, outputs: Vec<Vec<f32>>) {
        if let Some(state) = &mut self.state {
            state.routed = outputs;
        }
    }

    /// Sends states to the next stage, or answers to the first one.
    pub(super) fn send_hop(&mut self, sends: &mut VecDeque<Send>) {
        let answered;
        let ids = if self.is_last() {
            answered = self.column(self.stage as usize).answered().collect::<Vec<_>>();
            &answered
        } else {
            &self.ids
        };
        let Some(flow) = self.flow else { return };
        for &to in self.run.peers(self.me, flow, Phase::Hop).to {
            for (token, (id, data)) in (0..).zip(ids.iter().zip(self.leaving.drain(..))) {
                let TokenId { sequence, position } = *id;
                let origin = Origin { source: self.me, token, sequence, position };
                let row = Row { origin, targets: Targets::new(), data };
                sends.push_back(Send::Row { to, row: OutRow { row, ready: Picos::ZERO, release: None } });
            }
            sends.push_back(Send::Close { to, at: Picos::ZERO });
        }
    }

    /// Takes the rows of a hop; returns their bytes, and whether the hop is over.
    pub(super) fn handle_hop(&mut self, frame: Frame) -> Result<(u64, bool), RankError> {
        let (from, phase) = (frame.source, Phase::Hop);
        if !self.hopping {
            return Err(RankError::PhaseOrder { rank: self.me, phase });
        }
        let (bytes, ends) = (frame.charged_bytes(), frame.last.is_some());
        let expected =
            if self.stage == 0 { ANSWER_BYTES as u64 } else { self.run.setup().row_bytes().combine };
        for row in frame.rows {
            let got = row.data.len();
            if got != expected {
                return Err(RankError::RowBytes { rank: self.me, from, phase, got, expected });
            }
            let Origin { source, token, sequence, position } = row.origin;
            if self.expected.get(self.entering.len()) != Some(&TokenId { sequence, position }) {
                return Err(RankError::Unexpected { rank: self.me, from, source_rank: source, token });
            }
            self.entering.push(row.data);
        }
        let missing = self.expected.len() - self.entering.len();
        if ends && missing > 0 {
            let token = u32::try_from(self.entering.len()).expect("tokens are bounded");
            return Err(RankError::Missing { rank: self.me, phase, missing, token });
        }
        self.hopping &= !ends;
        Ok((bytes, ends))
    }
}
