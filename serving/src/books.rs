//! The books of a run: what came, what was refused, what steps carried, what their time was spent on.

use crate::arrivals::{ArrivalError, Arrivals};
use crate::cost::{StepShape, StepTimes};
use crate::error::{DriveError, STEPS_MAX};
use crate::ledger::StageReport;
use crate::metrics::Meter;
use crate::over_time::{OverTime, Sampler};
use crate::request::Request;
use crate::trace::{Standing, YardTrace};
use crate::track::Span;
use crate::trains::{Departure, Ended, PrefixCache, Refusal, Station};
use topology::Picos;

/// Where all ranks' time went, summed over steps and stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Stages at work, all parts below together.
    pub total: Picos,
    /// Attention, dense and shared blocks, head.
    pub local: Picos,
    /// Routed experts.
    pub experts: Picos,
    /// Dispatch and combine.
    pub all_to_all: Picos,
    /// Hops between stages.
    pub hops: Picos,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Latencies and counts, as requests experienced them.
    pub meter: Meter,
    /// From the first arrival to the last token.
    pub duration: Picos,
    /// Time of the last token, from the start of the clock.
    pub ended: Picos,
    /// Requests that came, those refused among them.
    pub arrived: u64,
    /// Requests refused, by reason: too long for a rank, too long for a step, queue full.
    pub refused: [u64; 3],
    /// The first refusal, for people.
    pub first_refusal: Option<String>,
    /// Steps of all trains.
    pub steps: u64,
    /// New tokens of all steps: of answers, of prompts.
    pub tokens: [u64; 2],
    /// Sequences that had new tokens, summed over steps.
    pub riders: u64,
    /// Most sequences aboard at once.
    pub aboard_max: usize,
    /// Most requests that waited at once.
    pub waiting_max: usize,
    /// Time that each stage worked, `[stages]`, replica by replica.
    pub busy: Vec<Picos>,
    /// What stages spent their time on.
    pub spent: Spent,
    /// Memory of each stage's fullest rank at its fullest moment, `[stages]`.
    pub memory: Vec<StageReport>,
    /// What waited, sat and rode over time; `None` if nothing came.
    pub over_time: Option<OverTime>,
    /// What stages did first; empty where they go in step.
    pub spans: Vec<Span>,
    /// What was kept for a timeline, if it was asked for.
    pub trace: Option<Box<YardTrace>>,
}

/// A station with what is noted of it.
pub(crate) struct Books<'a> {
    pub(crate) station: Station,
    cache: &'a mut (dyn PrefixCache + Send),
    progress: &'a mut (dyn FnMut(u64) + Send),
    began: Option<Picos>,
    /// Trains under way.
    riding: u64,
    sampler: Sampler,
    outcome: Outcome,
}

impl<'a> Books<'a> {
    pub(crate) fn new(
        station: Station,
        meter: Meter,
        cache: &'a mut (dyn PrefixCache + Send),
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> Self {
        let outcome = Outcome {
            meter,
            duration: Picos::ZERO,
            ended: Picos::ZERO,
            arrived: 0,
            refused: [0; 3],
            first_refusal: None,
            steps: 0,
            tokens: [0; 2],
            riders: 0,
            aboard_max: 0,
            waiting_max: 0,
            busy: Vec::new(),
            spent: Spent::default(),
            memory: Vec::new(),
            over_time: None,
            spans: Vec::new(),
            trace: None,
        };
        Self { station, cache, progress, began: None, riding: 0, sampler: Sampler::default(), outcome }
    }

    /// Notes how things stand.
    fn sample(&mut self, now: Picos) {
        let since = now - self.began.unwrap_or(now);
        let counts = [self.station.waiting() as u64, self.station.aboard() as u64, self.riding];
        self.sampler.note(since, counts);
        let Some(trace) = &mut self.outcome.trace else { return };
        let [waiting, seated, riding] = counts;
        trace.stand(Standing { at: now, waiting, seated, taken_bytes: self.station.fullest(), riding });
    }

    /// Keeps what a timeline is made of, at most about `most` of everything.
    pub(crate) fn keep_trace(&mut self, most: Option<usize>) {
        self.outcome.trace = most.map(|most| Box::new(YardTrace::new(most)));
    }

    /// What is kept for a timeline, if it is.
    pub(crate) fn trace(&mut self) -> Option<&mut YardTrace> {
        self.outcome.trace.as_deref_mut()
    }

    /// A train is back; who has ended.
    pub(crate) fn arrive(&mut self, train: usize, now: Picos) -> Vec<Ended> {
        let meter = &mut self.outcome.meter;
        let ended = self.station.arrive(train, now, self.cache, &mut |token| meter.token(token));
        for rider in &ended {
            meter.ended(rider);
        }
        if !ended.is_empty() {
            (self.progress)(meter.completed);
        }
        self.outcome.duration = now - self.began.unwrap_or(now);
        self.outcome.ended = now;
        self.riding = self.riding.saturating_sub(1);
        self.sample(now);
        ended
    }

    /// The next request comes, to this station or to the one `ahead` of it.
    pub(crate) fn offer(
        &mut self,
        now: Picos,
        arrivals: &mut dyn Arrivals,
        ahead: Option<&mut Self>,
    ) -> Result<(), ArrivalError> {
        let Some(request) = arrivals.take_next()? else { return Ok(()) };
        self.began.get_or_insert(now);
        self.outcome.arrived += 1;
        let id = request.id;
        let offered = match ahead {
            None => self.station.offer(request),
            Some(ahead) => self.station.check(&request).and_then(|()| ahead.queue(now, request)),
        };
        if let Err(refusal) = offered {
            let reason = match refusal {
                Refusal::TooLong { .. } => 0,
                Refusal::TooLongForAStep { .. } => 1,
                Refusal::QueueFull { .. } => 2,
            };
            self.outcome.refused[reason] += 1;
            self.outcome.first_refusal.get_or_insert_with(|| format!("{id}: {refusal}"));
            arrivals.ended(id, now);
        }
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.station.waiting());
        self.sample(now);
        Ok(())
    }

    /// A request comes to a pool that computes prompts alone.
    fn queue(&mut self, now: Picos, request: Request) -> Result<(), Refusal> {
        self.began.get_or_insert(now);
        self.station.offer(request)?;
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.station.waiting());
        self.sample(now);
        Ok(())
    }

    /// A train leaves, if one has anything to do.
    pub(crate) fn depart(&mut self, now: Picos, replica: usize) -> Option<Departure> {
        let departure = self.station.depart(now, replica, self.cache)?;
        self.riding += 1;
        self.sample(now);
        Some(departure)
    }

    /// Adds a step's tokens and times; an error once there were too many steps.
    pub(crate) fn count(
        &mut self,
        shape: &StepShape,
        riders: u32,
        times: &StepTimes,
    ) -> Result<(), DriveError> {
        let outcome = &mut self.outcome;
        outcome.steps += 1;
        outcome.riders += u64::from(riders);
        outcome.aboard_max = outcome.aboard_max.max(self.station.aboard());
        let [answers, prompts] = shape.new_tokens();
        outcome.tokens[0] += answers;
        outcome.tokens[1] += prompts;
        let spent = &mut outcome.spent;
        for stage in &times.stages {
            spent.total += stage.total;
            spent.local += stage.local;
            spent.experts += stage.experts;
            spent.all_to_all += stage.all_to_all;
        }
        spent.hops += times.hops.iter().copied().sum();
        if outcome.steps > STEPS_MAX { Err(DriveError::Steps) } else { Ok(()) }
    }

    /// What came of the run, in which stages worked for `busy`.
    pub(crate) fn close(mut self, busy: Vec<Picos>) -> Outcome {
        self.outcome.busy = busy;
        self.outcome.memory = self.station.memory();
        self.outcome.over_time = self.sampler.close();
        if let Some(trace) = &mut self.outcome.trace {
            trace.close();
        }
        self.outcome
    }
}
