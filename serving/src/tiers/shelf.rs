//! The blocks of one tier in the order in which they will leave it, and the counts of what happened there.

use topology::{Picos, Rate};

use super::blocks::{Blocks, NONE};

/// One tier in use.
///
/// Blocks are a list from the one idle for longest. A block is behind the blocks of its prompt that come before it, or on a
/// lower shelf; so it leaves the cache before them.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    /// The block idle for longest, or [`NONE`].
    pub(super) oldest: u32,
    newest: u32,
    pub(super) blocks: u64,
    /// Blocks that fit.
    pub(super) capacity: u64,
    /// When the port has read all that was asked of it.
    port_free: Picos,
    /// Blocks times picoseconds up to `changed`.
    held: u128,
    changed: Picos,
    pub(super) counts: Counts,
}

/// What happened on a shelf, in blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Most blocks held at any one time.
    pub(super) high_water: u64,
    /// Loaded or read in place.
    pub(super) hits: u64,
    /// Held, and computed again by choice.
    pub(super) declined: u64,
    /// Put here, from wherever.
    pub(super) arrived: u64,
    /// Gone up, as their request ended.
    pub(super) raised: u64,
    /// Gone down to make room.
    pub(super) evicted: u64,
    /// Gone down since they were idle for too long.
    pub(super) demoted: u64,
    /// How long the port read.
    pub(super) busy: Picos,
}

impl Shelf {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            oldest: NONE,
            newest: NONE,
            blocks: 0,
            capacity,
            port_free: Picos::ZERO,
            held: 0,
            changed: Picos::ZERO,
            counts: Counts::default(),
        }
    }

    /// Puts a block at the end of those that leave.
    pub(super) fn push(&mut self, blocks: &mut Blocks, slot: u32, index: usize, now: Picos) {
        self.integrate(now);
        self.blocks += 1;
        self.counts.high_water = self.counts.high_water.max(self.blocks);
        let block = &mut blocks[slot];
        block.shelf = index as u8;
        block.since = now;
        block.older = self.newest;
        block.newer = NONE;
        match self.newest {
            NONE => self.oldest = slot,
            newest => blocks[newest].newer = slot,
        }
        self.newest = slot;
    }

    /// Takes a block off.
    pub(super) fn take(&mut self, blocks: &mut Blocks, slot: u32, now: Picos) {
        self.integrate(now);
        self.blocks -= 1;
        let (older, newer) = (blocks[slot].older, blocks[slot].newer);
        match older {
            NONE => self.oldest = newer,
            older => blocks[older].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => blocks[newer].older = older,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.blocks >= self.capacity
    }

    /// When the port would have read `bytes` that are asked for at `now`.
    pub(super) fn read_by(&self, bytes: u64, rate: Rate, now: Picos) -> Picos {
        self.port_free.max(now).saturating_add(rate.transfer(bytes))
    }

    /// Reads `bytes` after what was asked for before.
    pub(super) fn read(&mut self, bytes: u64, rate: Rate, now: Picos) -> Picos {
        self.port_free = self.read_by(bytes, rate, now);
        self.counts.busy = self.counts.busy.saturating_add(rate.transfer(bytes));
        self.port_free
    }

    /// Blocks times picoseconds up to `now`.
    pub(super) fn held(&self, now: Picos) -> u128 {
        self.held + u128::from(self.blocks) * u128::from((now - self.changed).0)
    }

    fn integrate(&mut self, now: Picos) {
        self.held = self.held(now);
        self.changed = now;
    }

    /// From the block that leaves first.
    #[cfg(test)]
    pub(super) fn in_order<'a>(&self, blocks: &'a Blocks) -> impl Iterator<Item = u32> + use<'a> {
        let next = |slot: u32| (slot != NONE).then_some(slot);
        std::iter::successors(next(self.oldest), move |&slot| next(blocks[slot].newer))
    }
}
