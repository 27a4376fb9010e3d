//! The cache itself: what is held where, looked up and put away on a clock that the caller keeps.

use topology::Picos;

use super::blocks::{Blocks, NONE};
use super::ladder::{recompute_cost, recompute_time};
use super::report::{CacheReport, Totals};
use super::shelf::Shelf;
use super::{CacheError, CacheSpec, LoadRule, Residence, residences};
use crate::request::Prefix;

/// The KV caches of prompts that no request is using, in tiers.
///
/// It is apart from the memory of running requests: a hit is copied there, and what is held may sink or leave meanwhile.
#[derive(Clone, Debug)]
pub struct KvStore {
    spec: CacheSpec,
    ladder: Vec<Residence>,
    pub(super) blocks: Blocks,
    /// One for each place of the ladder.
    pub(super) shelves: Vec<Shelf>,
    totals: Totals,
    now: Picos,
    /// Blocks of the prompt at hand, first block first.
    path: Vec<u32>,
}

/// What a prompt finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Tokens at the beginning of the prompt that needn't be computed; at least one is left.
    pub hit_tokens: u32,
    /// These by the cache's tiers, `[tiers]`.
    pub by_tier: Vec<u32>,
    /// Until they are loaded. Tiers read side by side, each one request after the other, and a tier that is read in place takes
    /// no time.
    pub load: Picos,
    /// How long computing them would take.
    pub recompute_saved: Picos,
    /// Tokens after them that are held, and not worth loading.
    pub declined_tokens: u32,
}

impl KvStore {
    /// An empty cache.
    ///
    /// # Errors
    /// [`CacheError::Setting`] if `spec` makes no sense.
    pub fn new(spec: CacheSpec) -> Result<Self, CacheError> {
        spec.check()?;
        let ladder = residences(&spec);
        let shelf =
            |place: &Residence| Shelf::new(spec.tiers[place.tier].capacity_bytes / spec.block_bytes());
        let shelves = ladder.iter().map(shelf).collect();
        let totals = Totals::default();
        let (blocks, path) = (Blocks::default(), Vec::new());
        Ok(Self { spec, ladder, blocks, shelves, totals, now: Picos::ZERO, path })
    }

    /// Tokens of a block.
    pub const fn block_tokens(&self) -> u32 {
        self.spec.block_tokens
    }

    /// The tiers in use, and how long a block stays in each.
    pub fn residences(&self) -> &[Residence] {
        &self.ladder
    }

    /// What a prompt of `input_tokens` finds at `now`. To be asked once for each request, when its prompt is about to be
    /// computed: tiers begin to read.
    ///
    /// As in vLLM only full blocks are found, contiguous from the first on, and at least one token is left to be computed. What is
    /// loaded counts as used.
    ///
    /// # Errors
    /// [`CacheError::BlockTokens`].
    ///
    /// # Panics
    /// If `now` is before an earlier one.
    pub fn lookup(&mut self, now: Picos, prefix: &Prefix, input_tokens: u32) -> Result<Lookup, CacheError> {
        self.check(prefix)?;
        self.advance(now);
        let limit = (input_tokens.saturating_sub(1) / self.spec.block_tokens) as usize;
        let mut path = std::mem::take(&mut self.path);
        self.blocks.walk(&prefix.blocks[..limit.min(prefix.blocks.len())], &mut path);

        let mut found = Lookup { by_tier: vec![0; self.spec.tiers.len()], ..Lookup::default() };
        let mut hits = 0;
        // Shelves only go down along a path: one run of blocks each.
        for run in path.chunk_by(|a, b| self.blocks[*a].shelf == self.blocks[*b].shelf) {
            let index = usize::from(self.blocks[run[0]].shelf);
            if !self.is_worth_loading(index, run.len(), now) {
                break;
            }
            let tier = &self.spec.tiers[self.ladder[index].tier];
            if !tier.in_place {
                let bytes = self.spec.block_bytes() * run.len() as u64;
                let loaded = self.shelves[index].read(bytes, tier.read_bytes_per_s, now);
                found.load = found.load.max(loaded - now);
            }
            self.shelves[index].counts.hits += run.len() as u64;
            found.by_tier[self.ladder[index].tier] += run.len() as u32 * self.spec.block_tokens;
            hits += run.len();
        }
        found.hit_tokens = hits as u32 * self.spec.block_tokens;
        found.declined_tokens = (path.len() - hits) as u32 * self.spec.block_tokens;
        found.recompute_saved = recompute_time(&self.spec, hits);
        for &slot in &path[hits..] {
            self.shelves[usize::from(self.blocks[slot].shelf)].counts.declined += 1;
        }
        // From the last, so that each is to leave before those it stands on.
        for &slot in path[..hits].iter().rev() {
            let index = usize::from(self.blocks[slot].shelf);
            self.shelves[index].take(&mut self.blocks, slot, now);
            self.shelves[index].push(&mut self.blocks, slot, index, now);
        }
        self.path = path;
        self.totals.lookups += 1;
        self.totals.input_tokens += u64::from(input_tokens);
        self.totals.hit_tokens += u64::from(found.hit_tokens);
        self.totals.declined_tokens += u64::from(found.declined_tokens);
        Ok(found)
    }

    /// Puts away the first `tokens` of a request that ended at `now`, as full blocks, into the first tier; what is held already
    /// is raised to it. Where it is full the blocks idle for longest go a tier down, and so on.
    ///
    /// `prefix` names the blocks of the prompt. A caller that knows the names of the answer's gives them as well, and counts its
    /// tokens.
    ///
    /// # Errors
    /// [`CacheError::BlockTokens`], [`CacheError::Blocks`]; nothing is changed but the time.
    ///
    /// # Panics
    /// If `now` is before an earlier one.
    pub fn store(&mut self, now: Picos, prefix: &Prefix, tokens: u32) -> Result<(), CacheError> {
        self.check(prefix)?;
        self.advance(now);
        if self.shelves.is_empty() {
            return Ok(());
        }
        let full = (tokens / self.spec.block_tokens) as usize;
        let ids = &prefix.blocks[..full.min(prefix.blocks.len())];
        let mut path = std::mem::take(&mut self.path);
        self.blocks.walk(ids, &mut path);
        let known = path.len();
        if let Err(error) = self.blocks.reserve(ids.len() - known) {
            self.path = path;
            return Err(error);
        }

        // All of them are in hand before any is put down: making room for one must not drop another.
        for &slot in &path {
            let index = usize::from(self.blocks[slot].shelf);
            self.shelves[index].take(&mut self.blocks, slot, now);
            self.shelves[index].counts.raised += u64::from(index > 0);
        }
        for &id in &ids[known..] {
            let parent = path.last().copied().unwrap_or(NONE);
            path.push(self.blocks.insert(parent, id));
        }
        self.totals.stored_blocks += (ids.len() - known) as u64;
        for (place, &slot) in path.iter().enumerate().rev() {
            self.make_room(now);
            self.shelves[0].counts.arrived += u64::from(place >= known || self.blocks[slot].shelf > 0);
            self.shelves[0].push(&mut self.blocks, slot, 0, now);
        }
        self.path = path;
        Ok(())
    }

    /// What happened up to `now`.
    ///
    /// # Panics
    /// If `now` is before an earlier one.
    pub fn report(&mut self, now: Picos) -> CacheReport {
        self.advance(now);
        CacheReport::of(&self.spec, &self.ladder, &self.shelves, &self.totals, now)
    }

    fn check(&self, prefix: &Prefix) -> Result<(), CacheError> {
        let (got, block_tokens) = (prefix.block_tokens, self.spec.block_tokens);
        if got == block_tokens || prefix.blocks.is_empty() {
            Ok(())
        } else {
            Err(CacheError::BlockTokens { got, block_tokens })
        }
    }

    fn is_worth_loading(&self, index: usize, blocks: usize, now: Picos) -> bool {
        let place = &self.ladder[index];
        let tier = &self.spec.tiers[place.tier];
        match self.spec.load {
            LoadRule::Always => true,
            LoadRule::Cheaper => place.read < recompute_cost(&self.spec),
            LoadRule::Faster => {
                let bytes = self.spec.block_bytes() * blocks as u64;
                let loaded = self.shelves[index].read_by(bytes, tier.read_bytes_per_s, now);
                tier.in_place || loaded - now < recompute_time(&self.spec, blocks)
            }
        }
    }

    /// Lets idle blocks sink up to `now`, each at its time.
    fn advance(&mut self, now: Picos) {
        assert!(now >= self.now, "the cache's clock ran backwards, from {} to {now}", self.now);
        while let Some((due, index)) = self.next_due().filter(|(due, _)| *due <= now) {
            self.shelves[index].counts.demoted += 1;
            if index + 1 < self.shelves.len() {
                self.make_room_on(index + 1, due);
            }
            self.sink(index, due);
        }
        self.now = now;
    }

    /// When the next block sinks, and from which shelf. Of those at the same time the lowest shelf's is first: it makes room.
    fn next_due(&self) -> Option<(Picos, usize)> {
        let due = |(index, (shelf, place)): (usize, (&Shelf, &Residence))| {
            let stays = shelf.oldest != NONE && place.stay < Picos::MAX;
            stays.then(|| (self.blocks[shelf.oldest].since.saturating_add(place.stay), index))
        };
        let dues = self.shelves.iter().zip(&self.ladder).enumerate().filter_map(due);
        dues.min_by_key(|&(due, index)| (due, std::cmp::Reverse(index)))
    }

    fn make_room(&mut self, now: Picos) {
        self.make_room_on(0, now);
    }

    /// If shelf `index` is full, moves a block down from it and from every full shelf below, the lowest first.
    fn make_room_on(&mut self, index: usize, now: Picos) {
        let full = self.shelves[index..].iter().take_while(|shelf| shelf.is_full()).count();
        for index in (index..index + full).rev() {
            self.shelves[index].counts.evicted += 1;
            self.sink(index, now);
        }
    }

    /// Moves the block that is idle for longest a shelf down, where there is room, or out.
    fn sink(&mut self, index: usize, now: Picos) {
        let slot = self.shelves[index].oldest;
        self.shelves[index].take(&mut self.blocks, slot, now);
        if let Some(below) = self.shelves.get_mut(index + 1) {
            below.counts.arrived += 1;
            below.push(&mut self.blocks, slot, index + 1, now);
        } else {
            self.blocks.remove(slot);
            self.totals.dropped_blocks += 1;
        }
    }
}
