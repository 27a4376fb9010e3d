//! The sums that a rank makes of combine rows: of its own tokens, and as a gateway what its rack owes those of other racks.

use super::error::RankError;
use crate::wire::{Origin, Phase, Row, RowData};
use moe::SlotId;
use moe::placement::Placement;
use moe::plan::{DispatchScheme, PlannedRow};
use std::collections::BTreeMap;
use topology::RankId;

/// Parts of a sum in canonical order, some of them still owed.
#[derive(Debug, Default)]
struct Gather {
    /// (who or what the part is from, its weight, its values).
    parts: Vec<(PartKey, f32, Option<RowData>)>,
    missing: usize,
}

/// Names a part of a sum: flat counts by expert, the other schemes by the rank that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartKey {
    Slot(SlotId),
    Rank(RankId),
}

impl Gather {
    fn expect(&mut self, key: PartKey, weight: f32) {
        self.parts.push((key, weight, None));
        self.missing += 1;
    }

    fn take(&mut self) -> Vec<(f32, RowData)> {
        let parts = std::mem::take(&mut self.parts).into_iter();
        parts.map(|(_, weight, data)| (weight, data.expect("a complete sum has its parts"))).collect()
    }
}

/// Which sum it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum SumOf {
    /// What the experts gave for one of the rank's own tokens.
    Own { token: u32 },
    /// What the gateway's rack gives for a token of another rack.
    Gateway { source: RankId, token: u32 },
}

/// Weights and values of a sum's parts, in canonical order.
pub(super) type Parts = Vec<(f32, RowData)>;

/// All sums of a step.
#[derive(Debug)]
pub(super) struct Sums {
    me: RankId,
    scheme: DispatchScheme,
    own: Vec<Gather>,
    gateway: BTreeMap<(RankId, u32), (Origin, Gather)>,
    /// Sums of each source that the gateway still owes, and of all of them.
    owed: BTreeMap<RankId, usize>,
    owed_in_all: usize,
    complete: Vec<(SumOf, Parts)>,
}

impl Sums {
    /// None yet.
    pub(super) fn new(me: RankId, scheme: DispatchScheme) -> Self {
        let (own, complete) = (Vec::new(), Vec::new());
        Self { me, scheme, own, gateway: BTreeMap::new(), owed: BTreeMap::new(), owed_in_all: 0, complete }
    }

    /// The parts that each of the rank's own tokens is to get: one for each row that it sends.
    pub(super) fn plan(&mut self, placement: &Placement, planned: &[PlannedRow], tokens: usize) {
        self.own.resize_with(tokens, Gather::default);
        for row in planned {
            let (key, weight) = match self.scheme {
                DispatchScheme::Flat => (PartKey::Slot(row.targets[0].slot), row.targets[0].weight),
                DispatchScheme::Dedup | DispatchScheme::Hierarchical => (PartKey::Rank(row.to), 1.0),
            };
            self.own[row.token as usize].expect(key, weight);
        }
        for sum in &mut self.own {
            // Canonical order of a token's sum: by logical expert (flat), by contributing rank (others).
            sum.parts.sort_by_key(|(key, ..)| match *key {
                PartKey::Slot(slot) => placement.expert_of(slot).0,
                PartKey::Rank(rank) => rank.0,
            });
        }
    }

    /// As the gateway of a token that came from its source: a part from each of `ranks`.
    pub(super) fn expect(
        &mut self,
        origin: Origin,
        ranks: impl Iterator<Item = RankId>,
    ) -> Result<(), RankError> {
        let Origin { source, token, .. } = origin;
        let mut gather = Gather::default();
        ranks.for_each(|rank| gather.expect(PartKey::Rank(rank), 1.0));
        match self.gateway.insert((source, token), (origin, gather)) {
            None => Ok(()),
            Some(_) => Err(RankError::Doubled { rank: self.me, from: source, source_rank: source, token }),
        }
    }

    /// Takes up the sums of tokens that get nothing, and counts what the gateway owes each of `sources`, all of whose tokens have come.
    pub(super) fn begin(&mut self, sources: &[RankId]) {
        // A token none of whose picks has weights sends nothing and waits for nothing: its sum is there.
        let none = (0..).zip(&self.own).filter(|(_, gather)| gather.parts.is_empty());
        self.complete.extend(none.map(|(token, _)| (SumOf::Own { token }, Parts::new())));
        self.owed = sources.iter().map(|&source| (source, 0)).collect();
        for (source, _) in self.gateway.keys() {
            *self.owed.entry(*source).or_default() += 1;
        }
        self.owed_in_all = self.gateway.len();
    }

    /// True if a sum of `source` is still to be sent.
    pub(super) fn owes(&self, source: RankId) -> bool {
        self.owed.get(&source).is_some_and(|&sums| sums > 0)
    }

    /// Takes in a part.
    pub(super) fn take(&mut self, from: RankId, row: Row) -> Result<(), RankError> {
        let Origin { source, token, .. } = row.origin;
        let (rank, source_rank) = (self.me, source);
        let (of, gather) = if source == self.me {
            (SumOf::Own { token }, self.own.get_mut(token as usize))
        } else {
            let gather = self.gateway.get_mut(&(source, token)).map(|(_, gather)| gather);
            (SumOf::Gateway { source, token }, gather)
        };
        let key = match (self.scheme, row.targets.first()) {
            (DispatchScheme::Flat, Some(target)) => PartKey::Slot(target.slot),
            _ => PartKey::Rank(from),
        };
        let found = gather.and_then(|gather| {
            let at = gather.parts.iter().position(|part| part.0 == key)?;
            Some((at, gather))
        });
        let (at, gather) = found.ok_or(RankError::Unexpected { rank, from, source_rank, token })?;
        if gather.parts[at].2.replace(row.data).is_some() {
            return Err(RankError::Doubled { rank, from, source_rank, token });
        }
        gather.missing -= 1;
        if gather.missing == 0 {
            let parts = gather.take();
            self.complete.push((of, parts));
        }
        Ok(())
    }

    /// Sums that have become complete.
    pub(super) fn take_complete(&mut self) -> Vec<(SumOf, Parts)> {
        std::mem::take(&mut self.complete)
    }

    /// A gateway's sum is made: where its token comes from, and whether it was the last that its source is owed.
    pub(super) fn reduced(&mut self, source: RankId, token: u32) -> (Origin, bool) {
        let owed = self.owed.get_mut(&source).expect("a gateway counts the sums it owes");
        *owed -= 1;
        self.owed_in_all -= 1;
        (self.gateway[&(source, token)].0, *owed == 0)
    }

    /// All flows have ended: whether the gateway has sent all that it owes.
    ///
    /// # Errors
    /// [`RankError::Missing`] where a part never came.
    pub(super) fn are_done(&self) -> Result<bool, RankError> {
        if self.owed_in_all > 0 {
            // The gateway's own sums are still being made from rows that have all come.
            self.check(self.gateway.iter().map(|((_, token), (_, gather))| (*token, gather.missing)))?;
            return Ok(false);
        }
        self.check((0..).zip(self.own.iter().map(|gather| gather.missing)))?;
        Ok(true)
    }

    /// Refuses sums that are missing parts: token and parts of each.
    fn check(&self, sums: impl Iterator<Item = (u32, usize)>) -> Result<(), RankError> {
        let starved: Vec<_> = sums.filter(|(_, missing)| *missing > 0).collect();
        let Some(&(token, _)) = starved.first() else { return Ok(()) };
        let missing = starved.iter().map(|(_, missing)| missing).sum();
        Err(RankError::Missing { rank: self.me, phase: Phase::Combine, missing, token })
    }
}
