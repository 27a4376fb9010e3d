//! The state of one step on one rank: what was planned, what has arrived, what is still owed.

use super::error::RankError;
use super::output::Send;
use super::sums::Sums;
use super::weights::Weights;
use crate::job::ExpertRow;
use crate::nic::OutRow;
use crate::setup::{PreparedRun, Setup};
use crate::wire::{Flow, Frame, Origin, Phase, Row, RowData};
use moe::plan::{DispatchScheme, PlannedRow, Targets, combine_to, dispatch_rows, split_targets};
use moe::routing::Routing;
use moe::stack::TokenId;
use moe::{ExpertId, SlotId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use topology::{Picos, RankId};

/// A step under way.
#[derive(Debug)]
pub(super) struct Step {
    me: RankId,
    run: Arc<PreparedRun>,
    flow: Flow,
    phase: Option<Phase>,
    closed: bool,
    prepared: bool,
    planned: Option<Vec<PlannedRow>>,
    rows: Option<Vec<RowData>>,
    /// In a run that moves weights, this rank's part of the round.
    weights: Option<Weights>,
    /// Flows of this phase whose mark has not come.
    open: usize,
    /// Flows from other racks that a gateway still forwards.
    forwarding: usize,
    /// Dispatch rows for slots of this rank; in canonical order from the expert phase on.
    arrived: Vec<Row>,
    computed: Option<Vec<RowData>>,
    computed_at: Picos,
    sums: Sums,
    /// Names of this rank's own tokens.
    ids: Vec<TokenId>,
    outputs: Vec<Option<Vec<f32>>>,
    unfinished: usize,
    finished: bool,
}

/// Canonical order of a rank's dispatch rows: by source, token, slot.
fn canonical(row: &Row) -> (RankId, u32, SlotId) {
    (row.origin.source, row.origin.token, row.targets[0].slot)
}

impl Step {
    pub(super) fn new(me: RankId, run: Arc<PreparedRun>, flow: Flow, ids: Vec<TokenId>) -> Self {
        let tokens = ids.len();
        Self {
            me,
            weights: Weights::new(&run, me, flow.step),
            sums: Sums::new(me, run.setup().scheme),
            run,
            flow,
            phase: None,
            closed: true,
            prepared: false,
            planned: None,
            rows: None,
            open: 0,
            forwarding: 0,
            arrived: Vec::new(),
            computed: None,
            computed_at: Picos::ZERO,
            ids,
            outputs: vec![None; tokens],
            unfinished: tokens,
            finished: false,
        }
    }

    fn setup(&self) -> &Setup {
        self.run.setup()
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.phase
    }

    pub(super) fn may_begin(&self, phase: Phase) -> bool {
        let before = match phase {
            Phase::Dispatch => None,
            Phase::Expert => Some(Phase::Dispatch),
            Phase::Combine => Some(Phase::Expert),
            Phase::Local | Phase::Hop => return false,
        };
        self.prepared && self.closed && self.phase == before
    }

    pub(super) fn set_routing(&mut self, routing: &Routing) {
        let setup = self.run.setup();
        let placement = self.run.placement(self.flow.layer);
        let planned = dispatch_rows(setup.scheme, &setup.cluster, placement, self.me, routing);
        self.sums.plan(placement, &planned, self.outputs.len());
        self.planned = Some(planned);
    }

    /// The experts of a round whose weights are needed; `None` in a run of tokens.
    pub(super) fn weights_of(&self) -> Option<Vec<ExpertId>> {
        self.weights.as_ref().map(Weights::experts)
    }

    pub(super) fn set_blocks(&mut self, blocks: Vec<RowData>) {
        if let Some(weights) = &mut self.weights {
            weights.set_blocks(blocks);
            (self.planned, self.rows) = (Some(Vec::new()), Some(Vec::new()));
        }
    }

    pub(super) fn set_rows(&mut self, rows: Vec<RowData>) {
        self.rows = Some(rows);
    }

    pub(super) fn take_prepared(&mut self) -> bool {
        let now = !self.prepared && self.planned.is_some() && self.rows.is_some();
        self.prepared |= now;
        now
    }

    fn open(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.closed = false;
        self.open = self.run.peers(self.me, self.flow, phase).from.len();
    }

    pub(super) fn begin_dispatch(&mut self, sends: &mut VecDeque<Send>) -> Result<(), RankError> {
        self.open(Phase::Dispatch);
        if let Some(weights) = &self.weights {
            weights.send(sends);
            return Ok(());
        }
        let run = Arc::clone(&self.run);
        let cluster = &run.setup().cluster;
        let planned = self.planned.take().unwrap_or_default();
        let rows = self.rows.take().unwrap_or_default();
        for plan in planned {
            let TokenId { sequence, position } = self.ids[plan.token as usize];
            let origin = Origin { source: self.me, token: plan.token, sequence, position };
            let row = Row { origin, targets: plan.targets, data: rows[plan.token as usize].clone() };
            if plan.to == self.me {
                self.take_dispatch_row(Picos::ZERO, self.me, row, sends)?;
            } else {
                sends.push_back(Send::Row {
                    to: plan.to,
                    row: OutRow { row, ready: Picos::ZERO, release: None },
                });
            }
        }
        self.forwarding = run.flows(self.flow.layer).forwarded(self.me).len();
        for &to in run.flows(self.flow.layer).downstream(self.me) {
            // A gateway's flows inside its rack stay open for what it forwards.
            if self.forwarding == 0 || !cluster.same_rack(self.me, to) {
                sends.push_back(Send::Close { to, at: Picos::ZERO });
            }
        }
        Ok(())
    }

    /// Emulated charge and rows of the expert job.
    pub(super) fn begin_expert(&mut self) -> Result<(Picos, Vec<ExpertRow>), RankError> {
        self.open(Phase::Expert);
        self.arrived.shrink_to_fit();
        self.arrived.sort_unstable_by_key(canonical);
        if let Some(twice) = self.arrived.windows(2).find(|rows| canonical(&rows[0]) == canonical(&rows[1])) {
            let Origin { source, token, .. } = twice[0].origin;
            let from = combine_to(self.setup().scheme, &self.setup().cluster, self.me, source);
            return Err(RankError::Doubled { rank: self.me, from, source_rank: source, token });
        }
        let mut rows_of_slot: BTreeMap<SlotId, u64> = BTreeMap::new();
        let mut work = Vec::with_capacity(self.arrived.len());
        for row in &mut self.arrived {
            for target in &row.targets {
                *rows_of_slot.entry(target.slot).or_default() += 1;
            }
            let data = std::mem::replace(&mut row.data, RowData::Len(0));
            work.push(ExpertRow { targets: row.targets.clone(), data });
        }
        let charge = self.setup().compute_time(rows_of_slot.into_values());
        Ok((charge.map_err(|error| RankError::Hardware(error.to_string()))?, work))
    }

    pub(super) fn set_computed(&mut self, rows: Vec<RowData>, now: Picos) {
        self.computed = Some(rows);
        self.computed_at = now;
    }

    pub(super) fn begin_combine(&mut self, sends: &mut VecDeque<Send>) -> Result<(), RankError> {
        self.open(Phase::Combine);
        let run = Arc::clone(&self.run);
        let (scheme, cluster) = (run.setup().scheme, &run.setup().cluster);
        self.sums.begin(run.flows(self.flow.layer).forwarded(self.me));
        let arrived = std::mem::take(&mut self.arrived);
        let computed = self.computed.take().unwrap_or_default();
        let results = arrived.into_iter().zip(computed);
        // Rows that must still cross go first: the slower port then starts at once.
        let mut staying = Vec::new();
        for (Row { origin, targets, .. }, data) in results {
            let targets = if scheme == DispatchScheme::Flat { targets } else { Targets::new() };
            let to = combine_to(scheme, cluster, self.me, origin.source);
            let row = Row { origin, targets, data };
            if cluster.same_rack(self.me, origin.source) {
                staying.push((to, row));
            } else {
                self.send_result(to, row, sends)?;
            }
        }
        for (to, row) in staying {
            self.send_result(to, row, sends)?;
        }
        for &to in run.peers(self.me, self.flow, Phase::Combine).to {
            if !self.sums.owes(to) {
                sends.push_back(Send::Close { to, at: Picos::ZERO });
            }
        }
        Ok(())
    }

    fn send_result(&mut self, to: RankId, row: Row, sends: &mut VecDeque<Send>) -> Result<(), RankError> {
        if to == self.me {
            return self.sums.take(self.me, row);
        }
        sends.push_back(Send::Row { to, row: OutRow { row, ready: Picos::ZERO, release: None } });
        Ok(())
    }

    /// Takes in the rows of a frame; returns the bytes that can be granted again at once.
    pub(super) fn handle_rows(
        &mut self,
        now: Picos,
        frame: Frame,
        sends: &mut VecDeque<Send>,
    ) -> Result<u64, RankError> {
        let (mut consumed, from, phase) = (0, frame.source, frame.phase);
        let sizes = self.setup().row_bytes();
        let expected = if phase == Phase::Dispatch { sizes.dispatch } else { sizes.combine };
        for row in frame.rows {
            let bytes = row.charged_bytes(phase);
            if bytes != expected && self.weights.is_none() {
                return Err(RankError::RowBytes { rank: self.me, from, phase, got: bytes, expected });
            }
            if let Some(weights) = &mut self.weights {
                weights.take(from, &row)?;
                consumed += bytes;
            } else if phase == Phase::Dispatch {
                let forwarded = self.take_dispatch_row(now, from, row, sends)?;
                consumed += if forwarded { 0 } else { bytes };
            } else {
                self.sums.take(from, row)?;
                consumed += bytes;
            }
        }
        Ok(consumed)
    }

    /// Keeps the part of a row that is for this rank and forwards the rest; true if any went on.
    fn take_dispatch_row(
        &mut self,
        now: Picos,
        from: RankId,
        row: Row,
        sends: &mut VecDeque<Send>,
    ) -> Result<bool, RankError> {
        let run = Arc::clone(&self.run);
        let (placement, Setup { cluster, scheme, .. }) = (run.placement(self.flow.layer), &**run.setup());
        let Origin { source, token, .. } = row.origin;
        let misrouted = |slot| RankError::Misrouted { rank: self.me, source_rank: source, token, slot };
        let unknown = |slot: SlotId| slot.0 >= placement.num_slots();
        if let Some(target) = row.targets.iter().find(|target| unknown(target.slot)) {
            return Err(misrouted(target.slot));
        }
        // The hop before this one: the source itself, or the gateway of its rows into this rack.
        let expected = || from == source || from == combine_to(*scheme, cluster, self.me, source);
        if source.0 >= cluster.num_ranks() || row.targets.is_empty() || !expected() {
            return Err(RankError::Unexpected { rank: self.me, from, source_rank: source, token });
        }
        let parts = split_targets(placement, &row.targets);
        let is_gateway = *scheme == DispatchScheme::Hierarchical
            && from == source
            && !cluster.same_rack(source, self.me)
            && cluster.gateway(source, cluster.rack_of(self.me)) == self.me;
        for (rank, targets) in &parts {
            if *rank != self.me && !(is_gateway && cluster.same_rack(*rank, self.me)) {
                return Err(misrouted(targets[0].slot));
            }
        }
        if is_gateway {
            self.sums.expect(row.origin, parts.iter().map(|(rank, _)| *rank))?;
        }
        let onward = parts.iter().filter(|(rank, _)| *rank != self.me).count() as u64;
        // The row's credit goes back to its sender in equal shares as its copies leave.
        let mut unshared = row.charged_bytes(Phase::Dispatch);
        let mut left = onward;
        for (rank, targets) in parts {
            let copy = Row { origin: row.origin, targets, data: row.data.clone() };
            if rank == self.me {
                self.arrived.push(copy);
            } else {
                let share = unshared / left;
                unshared -= share;
                left -= 1;
                let share = u32::try_from(share).expect("a row's bytes are bounded");
                let out = OutRow { row: copy, ready: now, release: Some((from, share)) };
                sends.push_back(Send::Row { to: rank, row: out });
            }
        }
        Ok(onward > 0)
    }

    pub(super) fn sums_mut(&mut self) -> &mut Sums {
        &mut self.sums
    }

    /// A gateway's sum crosses back to its source; the flow ends with the last of them.
    pub(super) fn send_reduced(
        &mut self,
        now: Picos,
        source: RankId,
        token: u32,
        data: RowData,
        sends: &mut VecDeque<Send>,
    ) {
        let (origin, last) = self.sums.reduced(source, token);
        let row = Row { origin, targets: Targets::new(), data };
        sends.push_back(Send::Row { to: source, row: OutRow { row, ready: now, release: None } });
        if last {
            sends.push_back(Send::Close { to: source, at: now });
        }
    }

    pub(super) fn set_output(&mut self, token: u32, values: Vec<f32>) {
        let slot = &mut self.outputs[token as usize];
        self.unfinished -= usize::from(slot.is_none());
        *slot = Some(values);
    }

    /// The flow from `from` has ended. The card takes no frame of a flow after its end.
    pub(super) fn close_flow(&mut self, now: Picos, from: RankId, sends: &mut VecDeque<Send>) {
        self.open -= 1;
        let run = Arc::clone(&self.run);
        let cluster = &run.setup().cluster;
        if self.phase == Some(Phase::Dispatch) && self.forwarding > 0 && !cluster.same_rack(self.me, from) {
            self.forwarding -= 1;
            if self.forwarding > 0 {
                return;
            }
            for &to in run.flows(self.flow.layer).downstream(self.me) {
                if cluster.same_rack(self.me, to) {
                    sends.push_back(Send::Close { to, at: now });
                }
            }
        }
    }

    /// The phase that has just become complete, with its time.
    pub(super) fn take_closed(&mut self, now: Picos) -> Result<Option<(Phase, Picos)>, RankError> {
        let Some(phase) = self.phase.filter(|_| !self.closed && self.open == 0) else {
            return Ok(None);
        };
        match phase {
            Phase::Dispatch => {
                let missing = self.weights.as_ref().map_or(0, Weights::missing);
                if missing > 0 {
                    return Err(RankError::Missing {
                        rank: self.me,
                        phase,
                        missing: missing as usize,
                        token: 0,
                    });
                }
            }
            Phase::Expert if self.computed.is_none() => return Ok(None),
            Phase::Expert => {
                self.closed = true;
                return Ok(Some((phase, self.computed_at)));
            }
            Phase::Combine if !self.sums.are_done()? => return Ok(None),
            Phase::Combine => {}
            Phase::Local | Phase::Hop => return Ok(None),
        }
        self.closed = true;
        Ok(Some((phase, now)))
    }

    /// True once all outputs have been handed on.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn take_outputs(&mut self) -> Option<Vec<Vec<f32>>> {
        let last = if self.weights.is_some() { Phase::Dispatch } else { Phase::Combine };
        let done = self.phase == Some(last) && self.closed && self.unfinished == 0 && !self.finished;
        if !done {
            return None;
        }
        self.finished = true;
        Some(self.outputs.iter_mut().map(|output| output.take().unwrap_or_default()).collect())
    }
}
