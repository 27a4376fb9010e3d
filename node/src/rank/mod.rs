//! One rank of one expert-parallel layer, as a state machine that performs no I/O and reads no clock.
//!
//! Methods by role. Commands: [`Rank::prepare`], [`Rank::begin`]. Inputs: [`Rank::handle_frame`], [`Rank::handle_done`]; an
//! input's stamp is its `now`, so that forwarding adds no lateness. Outputs, to poll in this order until all say `None`:
//! [`Rank::poll_send`], [`Rank::poll_job`], [`Rank::poll_event`].
//!
//! A step goes through the stops of its run's program ([`crate::program`]): of one layer, of a round of weight moves, or of all layers of
//! a model, where what a layer gives is what the next one takes.
//!
//! A layer is three phases. Dispatch: rows go to the ranks that host their experts, in the hierarchical scheme through the
//! gateway of the destination rack. Expert: one grouped job. Combine: results go back, in the hierarchical scheme summed
//! in the rack before they cross. Every flow ends with a mark, so a phase closes without a barrier; phases are opened by
//! command, so that all ranks can open them at one instant.

mod error;
mod output;
mod stacked;
mod step;
mod sums;
mod weights;

pub use error::RankError;
pub use output::{Event, Send};

use crate::job::{Job, JobId, JobOutput, Work};
use crate::program::Stop;
use crate::setup::PreparedRun;
use crate::wire::{Flow, Frame, Phase};
use moe::stack::{Column, KvCache, TokenId};
use stacked::{Part, Stacked};
use std::collections::VecDeque;
use std::sync::Arc;
use step::Step;
use sums::SumOf;
use topology::{Picos, RankId};

/// The state machine.
#[derive(Debug)]
pub struct Rank {
    id: RankId,
    run: Arc<PreparedRun>,
    step: Option<Step>,
    /// In a run of a whole model.
    stacked: Option<Stacked>,
    sends: VecDeque<Send>,
    jobs: VecDeque<Job>,
    events: VecDeque<Event>,
    /// Jobs under way, in the order in which they were asked for, in which they mostly end.
    waiting: VecDeque<(JobId, Ticket)>,
    next_job: JobId,
}

/// Room for sends that a rank keeps.
const SENDS_KEPT: usize = 16;

/// What the output of a job is for.
#[derive(Clone, Copy, Debug)]
enum Ticket {
    Gate,
    Quantise,
    Weights,
    Enter,
    Local,
    Leave,
    Expert,
    Sum(SumOf),
}

impl Rank {
    /// A rank without a step.
    #[must_use]
    pub fn new(id: RankId, run: Arc<PreparedRun>) -> Self {
        Self {
            id,
            stacked: Stacked::new(id, &run),
            run,
            step: None,
            sends: VecDeque::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            waiting: VecDeque::new(),
            next_job: 0,
        }
    }

    /// This rank's seat.
    #[must_use]
    pub fn id(&self) -> RankId {
        self.id
    }

    /// Command: take up a step. In a whole model `column` enters the first stage, and states and caches of earlier steps stay; otherwise
    /// what an earlier step left behind is forgotten.
    ///
    /// # Errors
    /// When a cache is not what the batch says.
    pub fn prepare(&mut self, flow: Flow, column: Column) -> Result<(), RankError> {
        self.forget();
        self.step = None;
        if let Some(stacked) = &mut self.stacked {
            let work = stacked.prepare(flow, column)?;
            self.ask(Picos::ZERO, Picos::ZERO, Ticket::Enter, work);
            return Ok(());
        }
        let setup = Arc::clone(self.run.setup());
        let tokens = setup.program.tokens_of(self.id);
        let first = if tokens > 0 { self.run.first_token(self.id) } else { 0 };
        let ids = (first..first.saturating_add(tokens))
            .map(|sequence| TokenId { sequence, position: flow.step })
            .collect();
        let step = self.step.insert(Step::new(self.id, Arc::clone(&self.run), flow, ids));
        if let Some(experts) = step.weights_of() {
            self.ask(Picos::ZERO, Picos::ZERO, Ticket::Weights, Work::Weights(experts));
            return Ok(());
        }
        let step = setup.first_step.saturating_add(flow.step);
        self.ask(Picos::ZERO, Picos::ZERO, Ticket::Gate, Work::Gate { step });
        self.ask(Picos::ZERO, Picos::ZERO, Ticket::Quantise, Work::Quantise);
        Ok(())
    }

    /// What an earlier step left behind.
    fn forget(&mut self) {
        self.sends.clear();
        self.jobs.clear();
        self.events.clear();
        self.waiting.clear();
    }

    /// Command: open a stop; its clock starts at zero. `flow` is what its frames carry.
    ///
    /// # Errors
    /// When no step is prepared, or the stop before is not complete.
    pub fn begin(&mut self, stop: Stop, flow: Flow) -> Result<(), RankError> {
        let lost = RankError::PhaseOrder { rank: self.id, phase: stop.phase };
        let owing = self.step.as_ref().is_some_and(|step| !step.is_finished());
        let Some(stacked) = &mut self.stacked else { return self.begin_phase(stop.phase) };
        match stacked.begin(stop)? {
            Part::Nothing => {
                self.events.push_back(Event::Closed { phase: stop.phase, at: Picos::ZERO });
                Ok(())
            }
            Part::Job { .. } if owing => Err(lost),
            Part::Job { charge, work } => {
                let leaves = matches!(work, Work::Leave { .. });
                let ticket = if leaves { Ticket::Leave } else { Ticket::Local };
                self.ask(Picos::ZERO, charge, ticket, work);
                Ok(())
            }
            Part::Layer => {
                if stop.phase == Phase::Dispatch {
                    let (routing, rows) = stacked.take_routed().ok_or(lost)?;
                    let ids = stacked.ids().to_vec();
                    let mut step = Step::new(self.id, Arc::clone(&self.run), flow, ids);
                    step.set_routing(&routing);
                    step.set_rows(rows);
                    step.take_prepared();
                    self.step = Some(step);
                }
                self.begin_phase(stop.phase)
            }
            Part::Hop => {
                stacked.send_hop(&mut self.sends);
                Ok(())
            }
        }
    }

    /// The cache of a rank of a whole model, for tests that spoil it; `None` while a job has it.
    pub fn cache_mut(&mut self) -> Option<&mut KvCache> {
        self.stacked.as_mut()?.cache_mut()
    }

    /// Opens a phase of a layer.
    fn begin_phase(&mut self, phase: Phase) -> Result<(), RankError> {
        let step = self.step.as_mut().filter(|step| step.may_begin(phase));
        let step = step.ok_or(RankError::PhaseOrder { rank: self.id, phase })?;
        match phase {
            Phase::Dispatch => step.begin_dispatch(&mut self.sends)?,
            Phase::Expert => {
                let (charge, rows) = step.begin_expert()?;
                let layer = step.flow().layer;
                self.ask(Picos::ZERO, charge, Ticket::Expert, Work::Expert { layer, rows });
            }
            Phase::Combine => step.begin_combine(&mut self.sends)?,
            Phase::Local | Phase::Hop => return Err(RankError::PhaseOrder { rank: self.id, phase }),
        }
        self.advance(Picos::ZERO)
    }

    /// Input: a frame, at the emulated time of its delivery.
    ///
    /// # Errors
    /// A [`RankError`] that names the row: misrouted, doubled, unexpected or missing.
    pub fn handle_frame(&mut self, now: Picos, frame: Frame) -> Result<(), RankError> {
        if let (Phase::Hop, Some(stacked)) = (frame.phase, &mut self.stacked) {
            let from = frame.source;
            let (bytes, ends) = stacked.handle_hop(frame)?;
            if bytes > 0 {
                self.sends.push_back(Send::Grant { to: from, bytes, at: now });
            }
            if ends {
                self.events.push_back(Event::Closed { phase: Phase::Hop, at: now });
            }
            return Ok(());
        }
        let open =
            self.step.as_mut().filter(|step| step.flow() == frame.flow && step.phase() == Some(frame.phase));
        let step = open.ok_or(RankError::PhaseOrder { rank: self.id, phase: frame.phase })?;
        let (source, ends) = (frame.source, frame.last.is_some());
        let consumed = step.handle_rows(now, frame, &mut self.sends)?;
        if consumed > 0 {
            self.sends.push_back(Send::Grant { to: source, bytes: consumed, at: now });
        }
        if ends {
            step.close_flow(now, source, &mut self.sends);
        }
        self.advance(now)
    }

    /// Input: a job's output, at its ready time plus its charge.
    ///
    /// # Errors
    /// When the output is of another kind than the job asked for. A job of a forgotten step is ignored.
    pub fn handle_done(&mut self, now: Picos, job: JobId, output: JobOutput) -> Result<(), RankError> {
        let at = self.waiting.iter().position(|(id, _)| *id == job);
        let Some((_, ticket)) = at.and_then(|at| self.waiting.remove(at)) else { return Ok(()) };
        let output = match (ticket, output, &mut self.stacked) {
            (Ticket::Enter, JobOutput::Local(done), Some(stacked)) => {
                stacked.take_done(*done);
                self.events.push_back(Event::Prepared);
                return Ok(());
            }
            (Ticket::Local | Ticket::Leave, JobOutput::Local(done), Some(stacked)) => {
                let outputs = stacked.take_done(*done);
                self.events.push_back(Event::Closed { phase: Phase::Local, at: now });
                if matches!(ticket, Ticket::Leave) {
                    self.events.push_back(Event::Finished { outputs });
                }
                return Ok(());
            }
            (_, output, _) => output,
        };
        let step = self.step.as_mut().ok_or(RankError::Job { rank: self.id, job })?;
        match (ticket, output) {
            (Ticket::Gate, JobOutput::Routing(routing)) => step.set_routing(&routing),
            (Ticket::Quantise, JobOutput::Rows(rows)) => step.set_rows(rows),
            (Ticket::Weights, JobOutput::Rows(blocks)) => step.set_blocks(blocks),
            (Ticket::Expert, JobOutput::Rows(rows)) => step.set_computed(rows, now),
            (Ticket::Sum(SumOf::Gateway { source, token }), JobOutput::Rows(mut rows)) => {
                let row = rows.pop().ok_or(RankError::Job { rank: self.id, job })?;
                step.send_reduced(now, source, token, row, &mut self.sends);
            }
            (Ticket::Sum(SumOf::Own { token }), JobOutput::Token(values)) => step.set_output(token, values),
            _ => return Err(RankError::Job { rank: self.id, job }),
        }
        self.advance(now)
    }

    /// Output: the next thing for the card.
    pub fn poll_send(&mut self) -> Option<Send> {
        let send = self.sends.pop_front();
        if send.is_none() {
            // The rows of a whole step pass through here at once: a thousand ranks don't keep room for them.
            self.sends.shrink_to(SENDS_KEPT);
        }
        send
    }

    /// Output: the next job.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// Output: the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn ask(&mut self, ready: Picos, charge: Picos, ticket: Ticket, work: Work) {
        let id = self.next_job;
        self.next_job += 1;
        self.waiting.push_back((id, ticket));
        self.jobs.push_back(Job { id, ready, charge, work });
    }

    /// Turns what the step has completed into jobs and events.
    fn advance(&mut self, now: Picos) -> Result<(), RankError> {
        let Some(step) = self.step.as_mut() else {
            return Ok(());
        };
        let sums = step.sums_mut().take_complete();
        if step.take_prepared() && self.stacked.is_none() {
            self.events.push_back(Event::Prepared);
        }
        if let Some((phase, at)) = step.take_closed(now)? {
            self.events.push_back(Event::Closed { phase, at });
        }
        if let Some(outputs) = step.take_outputs() {
            match &mut self.stacked {
                Some(stacked) => stacked.set_outputs(outputs),
                None => self.events.push_back(Event::Finished { outputs }),
            }
        }
        for (of, parts) in sums {
            let narrow = matches!(of, SumOf::Gateway { .. });
            self.ask(now, Picos::ZERO, Ticket::Sum(of), Work::Reduce { parts, narrow });
        }
        Ok(())
    }
}
