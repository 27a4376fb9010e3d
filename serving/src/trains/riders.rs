//! The sequences of a train: on which rank each sits, how far it is, what it takes along on the next ride.

use super::policy::TrainPolicy;
use crate::cost::StepShape;
use crate::request::{Request, RequestId};
use moe::stack::{Chunk, Column};
use moe::work::{Drafts, RankLoad, Reaches};
use std::collections::VecDeque;
use topology::Picos;

/// A time that isn't known yet.
pub(super) const UNKNOWN: Picos = Picos(u64::MAX);

/// A sequence under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rider {
    /// The request that sits here.
    pub request: Request,
    /// When it admitted.
    pub admitted: Picos,
    /// Tokens of the prompt that are in the cache.
    pub prefilled: u32,
    /// Of them, those that were cached before.
    pub cached: u32,
    /// Tokens of the answer.
    pub generated: u32,
    /// When the first token of the answer came.
    pub first_token: Picos,
    /// When the latest came.
    pub last_token: Picos,
    /// When what was cached is there; [`Picos`]' largest as long as nobody knows.
    pub(crate) fetched: Picos,
    /// Tokens of the prompt on this ride.
    chunk: u32,
}

impl Rider {
    /// Tokens of its answer that a step computes: the newest, and drafts that the answer has room for.
    fn computed(&self, drafts: Drafts) -> u32 {
        drafts.tokens().min(self.request.output_tokens - self.generated)
    }
}

/// A sequence whose answer is complete.
pub type Ended = Rider;

/// A token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The first, and how long it took since the request came.
    First {
        /// Time since the request came (TTFT).
        after: Picos,
    },
    /// Further ones that came equally long after those before them: of how many sequences.
    Next {
        /// Time since the token before (ITL).
        after: Picos,
        /// Sequences that got a token after this time.
        count: u64,
    },
}

/// The sequences of one rank on one train.
#[derive(Clone, Debug, Default)]
pub struct Riders {
    prefilling: VecDeque<Rider>,
    decoding: Vec<Rider>,
    /// Whether answers ride on this train: they wait for whole prompts.
    answers_ride: bool,
}

impl Riders {
    /// Number of sequences aboard.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefilling.len() + self.decoding.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn admit(&mut self, request: Request, now: Picos, cached: u32, fetched: Picos) {
        let (first_token, last_token) = (Picos::ZERO, Picos::ZERO);
        let rider = Rider {
            request,
            admitted: now,
            prefilled: cached,
            cached,
            generated: 0,
            first_token,
            last_token,
            fetched,
            chunk: 0,
        };
        self.prefilling.push_back(rider);
    }

    /// Says what each sequence takes along; returns the number of those that have new tokens, and of those that get an answer's.
    fn board(
        &mut self,
        policy: &TrainPolicy,
        now: Picos,
        answers_ride: bool,
        (load, reaches, drafts): (&mut RankLoad, &Reaches, Drafts),
        mut column: Option<&mut Column>,
    ) -> [u32; 2] {
        self.answers_ride = answers_ride;
        let mut budget = policy.max_num_batched_tokens;
        let (mut riders, mut answers) = (0, 0);
        if answers_ride {
            for rider in &self.decoding {
                // The newest token is not in the cache yet: it is the one that is computed.
                let context = u64::from(rider.request.input_tokens) + u64::from(rider.generated) - 1;
                let tokens = rider.computed(drafts);
                load.decode += reaches.of_sequence(context, tokens.into());
                answers += tokens;
                if let Some(column) = &mut column {
                    column.chunks.push(chunk(rider, context as u32, 1, true));
                }
            }
            riders += self.decoding.len() as u32;
            budget = budget.saturating_sub(answers);
        }
        for rider in &mut self.prefilling {
            let left = rider.request.input_tokens - rider.prefilled;
            let whole = policy.chunked_prefill || left <= budget;
            rider.chunk = if rider.fetched <= now && whole { left.min(budget) } else { 0 };
            if rider.chunk > 0 {
                load.prefill += reaches.of_sequence(u64::from(rider.prefilled), u64::from(rider.chunk));
                if let Some(column) = &mut column {
                    column.chunks.push(chunk(rider, rider.prefilled, rider.chunk, rider.chunk == left));
                }
                budget -= rider.chunk;
                riders += 1;
                answers += u32::from(rider.chunk == left);
            }
        }
        [riders, answers]
    }

    /// The first moment from `now` on when a sequence has something to do.
    fn ready_at(&self, now: Picos) -> Option<Picos> {
        if !self.decoding.is_empty() {
            return Some(now);
        }
        let known = self.prefilling.iter().filter(|rider| rider.fetched < UNKNOWN);
        known.map(|rider| rider.fetched.max(now)).min()
    }

    /// What `id` waits for is there at `now`.
    pub(super) fn fetched(&mut self, id: RequestId, now: Picos) {
        for rider in self.prefilling.iter_mut().filter(|rider| rider.request.id == id) {
            rider.fetched = now;
        }
    }

    /// Whether a prompt can go.
    fn has_prompt(&self, now: Picos) -> bool {
        self.prefilling.iter().any(|rider| rider.fetched <= now)
    }

    pub(super) fn arrive(
        &mut self,
        now: Picos,
        ((drafts, seed), prompts_alone): ((Drafts, u64), bool),
        on_token: &mut dyn FnMut(Token),
        ended: &mut Vec<Ended>,
    ) {
        if self.answers_ride {
            let (mut gap, mut count, mut held) = (Picos::ZERO, 0, 0);
            for rider in &mut self.decoding {
                let after = now - rider.last_token;
                if after != gap && count > 0 {
                    on_token(Token::Next { after: gap, count });
                    count = 0;
                }
                (gap, count) = (after, count + 1);
                let drafted = rider.computed(drafts) - 1;
                let more = drafts.accepted(seed, rider.request.id.0, rider.generated, drafted);
                held += u64::from(more);
                rider.generated += 1 + more;
                rider.last_token = now;
            }
            if held > 0 {
                on_token(Token::Next { after: Picos::ZERO, count: held });
            }
            if count > 0 {
                on_token(Token::Next { after: gap, count });
            }
            take_ended(&mut self.decoding, ended);
        }
        for mut rider in std::mem::take(&mut self.prefilling) {
            rider.prefilled += std::mem::take(&mut rider.chunk);
            if rider.prefilled < rider.request.input_tokens {
                self.prefilling.push_back(rider);
                continue;
            }
            (rider.generated, rider.first_token, rider.last_token) = (1, now, now);
            on_token(Token::First { after: now - rider.request.arrived });
            if prompts_alone || rider.request.output_tokens == 1 {
                ended.push(rider);
            } else {
                self.decoding.push(rider);
            }
        }
    }
}

/// The number by which a request's sequence is called in batches.
pub(super) const fn sequence_of(request: &Request) -> u32 {
    request.id.0 as u32
}

const fn chunk(rider: &Rider, context: u32, tokens: u32, sample: bool) -> Chunk {
    Chunk { sequence: sequence_of(&rider.request), context, tokens, sample }
}

/// Moves complete sequences out, in their order.
fn take_ended(riders: &mut Vec<Rider>, ended: &mut Vec<Ended>) {
    let complete = |rider: &Rider| rider.generated == rider.request.output_tokens;
    if riders.iter().any(complete) {
        let (done, left): (Vec<Rider>, Vec<Rider>) = riders.drain(..).partition(complete);
        *riders = left;
        ended.extend(done);
    }
}

/// A batch that rides together.
#[derive(Clone, Debug)]
pub(super) struct Train {
    /// Its sequences, `[ranks of a stage]`.
    pub(super) ranks: Vec<Riders>,
    /// Whether it is under way.
    pub(super) riding: bool,
    /// When it last came back.
    pub(super) back_at: Picos,
}

impl Train {
    pub(super) fn new(ranks: usize) -> Self {
        Self { ranks: vec![Riders::default(); ranks], riding: false, back_at: Picos::ZERO }
    }

    /// Sequences that ride on this train.
    pub(super) fn aboard(&self) -> usize {
        self.ranks.iter().map(Riders::len).sum()
    }

    /// The first moment from `now` on when one of its sequences has something to do; `None` if it has none.
    pub(super) fn ready_at(&self, now: Picos) -> Option<Picos> {
        self.ranks.iter().filter_map(|riders| riders.ready_at(now)).min()
    }

    /// As [`Riders::board`] for all ranks. Without chunks answers ride only where no prompt goes: a step is one or the other.
    pub(super) fn board(
        &mut self,
        policy: &TrainPolicy,
        now: Picos,
        (reaches, drafts): (&Reaches, Drafts),
        shape: &mut StepShape,
    ) -> u32 {
        let prompts = self.ranks.iter().any(|riders| riders.has_prompt(now));
        let answers_ride = policy.chunked_prefill || !prompts;
        let mut all = 0;
        for (rank, riders) in self.ranks.iter_mut().enumerate() {
            let column = shape.batch.as_mut().map(|batch| {
                batch.columns.push(Column::default());
                &mut batch.columns[rank]
            });
            let [count, answers] =
                riders.board(policy, now, answers_ride, (&mut shape.ranks[rank], reaches, drafts), column);
            shape.answers[rank] = answers.into();
            all += count;
        }
        all
    }
}
