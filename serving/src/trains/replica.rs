//! One of like deployments behind a station's queue: its memory, its trains, and what is noted of them.

use super::riders::Train;
use crate::ledger::Ledger;
use moe::stack::Halves;
use topology::Picos;

/// A deployment.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) ledger: Ledger,
    pub(super) trains: Vec<Train>,
    /// Tokens that room is taken for: of prompts and answers in hand.
    pub(super) tokens: u64,
    /// When the latest train left.
    pub(super) left_at: Option<Picos>,
    /// Whether departures say what each sequence takes along, and then who ended since the last one, `[ranks of a stage]`.
    pub(super) ended: Option<Vec<Vec<u32>>>,
    /// Whether departures say what each half takes along, and then who is in which.
    pub(super) halves: Option<Halves>,
}

impl Replica {
    pub(super) fn new(ledger: Ledger, ranks: usize, trains: u32) -> Self {
        let trains = (0..trains).map(|_| Train::new(ranks)).collect();
        Self { ledger, trains, tokens: 0, left_at: None, ended: None, halves: None }
    }

    /// Ranks of a stage, or groups of them.
    pub(super) fn ranks(&self) -> usize {
        self.trains.first().map_or(0, |train| train.ranks.len())
    }

    /// Takes room for a sequence of `tokens`.
    pub(super) fn take(&mut self, rank: usize, tokens: u64) {
        self.ledger.take(rank, tokens);
        self.tokens += tokens;
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self, rank: usize, tokens: u64) {
        self.ledger.give_back(rank, tokens);
        self.tokens -= tokens;
    }
}
