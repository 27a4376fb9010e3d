//! Stations of two pools: one that computes prompts and holds their caches until they are taken, one that computes answers once they came.

use super::riders::UNKNOWN;
use super::{Queue, Station, kv_tokens};
use crate::request::{Request, RequestId};
use std::collections::BTreeMap;
use topology::Picos;

/// Where a sequence sits, or sat when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which replica.
    pub replica: usize,
    /// Which of its trains.
    pub train: usize,
    /// Which rank of each stage, or group of them.
    pub rank: usize,
    /// Tokens that it has room for.
    pub tokens: u64,
}

/// What a station serves of its requests.
#[derive(Clone, Debug)]
pub(super) enum Serves {
    /// Prompts and answers.
    Whole,
    /// Prompts: where each cache lies that was not handed over yet.
    Prompts(BTreeMap<RequestId, Seat>),
    /// Answers: who has a seat whose cache is not there yet, and who got one since that was asked for.
    Answers(BTreeMap<RequestId, Seat>, Vec<(RequestId, Seat)>),
}

impl Serves {
    /// Tokens whose caches `request` needs room for.
    pub(super) fn kv_tokens(&self, request: &Request) -> u64 {
        if self.prompts_alone() { request.input_tokens.into() } else { kv_tokens(request) }
    }

    /// What of a request its room is for, in words.
    pub(super) const fn held(&self) -> &'static str {
        if self.prompts_alone() { "the prompt, in the ranks for prompts," } else { "prompt and answer" }
    }

    pub(super) const fn prompts_alone(&self) -> bool {
        matches!(self, Self::Prompts(_))
    }

    /// Whether prompts are computed here.
    pub(super) const fn prompts(&self) -> bool {
        !matches!(self, Self::Answers(..))
    }

    /// Of one that gets `seat`: the tokens that come from another pool, and when, which nobody knows yet. `None` where nothing comes.
    pub(super) fn awaits(&mut self, request: &Request, seat: Seat) -> Option<(u32, Picos)> {
        let Self::Answers(awaited, admitted) = self else { return None };
        awaited.insert(request.id, seat);
        admitted.push((request.id, seat));
        Some((request.input_tokens - 1, UNKNOWN))
    }

    /// Whether the cache of one that has ended stays in `seat`.
    pub(super) fn holds(&mut self, request: &Request, seat: Seat) -> bool {
        let Self::Prompts(held) = self else { return false };
        held.insert(request.id, seat);
        true
    }
}

impl Station {
    /// Prompts alone: a sequence ends with its prompt, and its cache stays where it is until it [is taken](Self::taken).
    #[must_use]
    pub fn of_prompts(self) -> Self {
        Self { serves: Serves::Prompts(BTreeMap::new()), ..self }
    }

    /// Answers alone: a sequence that has a seat rides from when its cache [has come](Self::came); its prompt's last token is computed here.
    /// The queue takes whoever comes, since the memory of those who wait is bounded where they come from.
    #[must_use]
    pub fn of_answers(self) -> Self {
        let queue = Queue::new(self.policy.order, usize::MAX);
        Self { serves: Serves::Answers(BTreeMap::new(), Vec::new()), queue, ..self }
    }

    /// Where the cache of a prompt that has ended lies; `None` if it is not held.
    #[must_use]
    pub fn held(&self, id: RequestId) -> Option<Seat> {
        match &self.serves {
            Serves::Prompts(held) => held.get(&id).copied(),
            _ => None,
        }
    }

    /// The cache of `id` was taken: its room is free.
    ///
    /// # Panics
    /// If it is not held.
    pub fn taken(&mut self, id: RequestId) {
        let seat = match &mut self.serves {
            Serves::Prompts(held) => held.remove(&id),
            _ => None,
        };
        let Seat { replica, rank, tokens, .. } = seat.expect("what is taken was held");
        self.replicas[replica].give_back(rank, tokens);
    }

    /// Who got a seat since this was last asked, in order.
    pub fn newly_seated(&mut self) -> Vec<(RequestId, Seat)> {
        match &mut self.serves {
            Serves::Answers(_, admitted) => std::mem::take(admitted),
            _ => Vec::new(),
        }
    }

    /// The cache of `id` has come at `now`.
    ///
    /// # Panics
    /// If nobody waits for it.
    pub fn came(&mut self, id: RequestId, now: Picos) {
        let seat = match &mut self.serves {
            Serves::Answers(awaited, _) => awaited.remove(&id),
            _ => None,
        };
        let Seat { replica, train, rank, .. } = seat.expect("a cache that came was waited for");
        self.replicas[replica].trains[train].ranks[rank].fetched(id, now);
    }
}
