//! A cache that is obviously right: lists of whole paths, every question answered by looking at all of them.

use topology::Picos;

use super::super::*;

/// A block by the ids from its prompt's first block to itself.
type Path = Vec<u64>;

/// A block in a tier.
#[derive(Clone, Debug)]
struct Held {
    path: Path,
    since: Picos,
    /// Since when it costs something here; a hit in place changes `since` only.
    entered: Picos,
}

/// The slow cache.
pub(super) struct Slow {
    block_tokens: u32,
    /// Capacity in blocks and stay of each tier in use.
    tiers: Vec<(u64, Picos)>,
    /// The block to leave first is first.
    held: Vec<Vec<Held>>,
    /// Blocks times picoseconds of stays that have ended, by tier.
    ended: Vec<u128>,
    pub(super) dropped: u64,
    pub(super) stored: u64,
}

impl Slow {
    pub(super) fn new(spec: &CacheSpec) -> Self {
        let capacity = |place: &Residence| spec.tiers[place.tier].capacity_bytes / spec.block_bytes();
        let tiers: Vec<_> = residences(spec).iter().map(|place| (capacity(place), place.stay)).collect();
        let (held, ended) = (vec![Vec::new(); tiers.len()], vec![0; tiers.len()]);
        Self { block_tokens: spec.block_tokens, tiers, held, ended, dropped: 0, stored: 0 }
    }

    /// Tier of each block found from the first on.
    pub(super) fn lookup(&mut self, now: Picos, ids: &[u64], input_tokens: u32) -> Vec<usize> {
        self.advance(now);
        let limit = ids.len().min(((input_tokens - 1) / self.block_tokens) as usize);
        let found: Vec<usize> =
            (1..=limit).map_while(|length| self.find(&ids[..length]).map(|(tier, _)| tier)).collect();
        for (index, &tier) in found.iter().enumerate().rev() {
            let (_, at) = self.find(&ids[..=index]).expect("just found");
            let mut block = self.held[tier].remove(at);
            block.since = now;
            self.held[tier].push(block);
        }
        found
    }

    pub(super) fn store(&mut self, now: Picos, ids: &[u64], tokens: u32) {
        self.advance(now);
        if self.tiers.is_empty() {
            return;
        }
        let full = ids.len().min((tokens / self.block_tokens) as usize);
        for length in 1..=full {
            if let Some((tier, at)) = self.find(&ids[..length]) {
                self.leave(tier, at, now);
            } else {
                self.stored += 1;
            }
        }
        for length in (1..=full).rev() {
            self.put(0, ids[..length].to_vec(), now);
        }
    }

    /// Blocks times picoseconds in each tier up to `now`.
    pub(super) fn integrals(&mut self, now: Picos) -> Vec<u128> {
        self.advance(now);
        let running =
            |tier: &Vec<Held>| tier.iter().map(|block| u128::from((now - block.entered).0)).sum::<u128>();
        self.held.iter().zip(&self.ended).map(|(tier, ended)| ended + running(tier)).collect()
    }

    /// Paths in the order in which they leave, by tier.
    pub(super) fn paths(&self) -> Vec<Vec<Path>> {
        self.held.iter().map(|tier| tier.iter().map(|block| block.path.clone()).collect()).collect()
    }

    fn find(&self, path: &[u64]) -> Option<(usize, usize)> {
        let places = self.held.iter().enumerate();
        places
            .flat_map(|(tier, blocks)| (0..blocks.len()).map(move |at| (tier, at)))
            .find(|&(tier, at)| self.held[tier][at].path == path)
    }

    fn leave(&mut self, tier: usize, at: usize, now: Picos) -> Path {
        let block = self.held[tier].remove(at);
        self.ended[tier] += u128::from((now - block.entered).0);
        block.path
    }

    fn put(&mut self, tier: usize, path: Path, now: Picos) {
        if tier == self.tiers.len() {
            self.dropped += 1;
            return;
        }
        if self.held[tier].len() as u64 == self.tiers[tier].0 {
            let oldest = self.leave(tier, 0, now);
            self.put(tier + 1, oldest, now);
        }
        self.held[tier].push(Held { path, since: now, entered: now });
    }

    fn advance(&mut self, now: Picos) {
        loop {
            let mut due: Option<(Picos, usize)> = None;
            for (tier, &(_, stay)) in
                self.tiers.iter().enumerate().filter(|(_, (_, stay))| *stay < Picos::MAX)
            {
                // All blocks, not only the first: that the first is due first is what is tested.
                let first = self.held[tier].iter().map(|block| block.since + stay).min();
                // Of equal ones the lowest tier's is first.
                if first.is_some_and(|first| first <= now && due.is_none_or(|(other, _)| first <= other)) {
                    due = first.map(|first| (first, tier));
                }
            }
            let Some((at, tier)) = due else { return };
            let path = self.leave(tier, 0, at);
            self.put(tier + 1, path, at);
        }
    }
}
