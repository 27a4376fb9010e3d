//! Blocks in a prefix tree: each is held once, and found by the block before it and its own id.

use std::collections::BTreeMap;

use topology::Picos;

use super::{CacheError, MAX_BLOCKS};

/// No block: before the first of a prompt, and at the ends of a shelf.
pub(super) const NONE: u32 = u32::MAX;

/// A block that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    parent: u32,
    id: u64,
    /// Which shelf it stands on.
    pub(super) shelf: u8,
    /// Since when it has been idle there.
    pub(super) since: Picos,
    /// Neighbours on its shelf.
    pub(super) older: u32,
    pub(super) newer: u32,
}

/// All blocks, by numbers that are used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    slots: Vec<Block>,
    free: Vec<u32>,
    /// By (the block before, id).
    children: BTreeMap<(u32, u64), u32>,
}

impl Blocks {
    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Writes to `path` the longest beginning of `ids` that is held.
    pub(super) fn walk(&self, ids: &[u64], path: &mut Vec<u32>) {
        path.clear();
        let mut at = NONE;
        for &id in ids {
            let Some(&child) = self.children.get(&(at, id)) else { break };
            path.push(child);
            at = child;
        }
    }

    /// Makes room in the numbers for `blocks` more.
    ///
    /// # Errors
    /// [`CacheError::Blocks`].
    pub(super) fn reserve(&self, blocks: usize) -> Result<(), CacheError> {
        if self.held() + blocks > MAX_BLOCKS { Err(CacheError::Blocks) } else { Ok(()) }
    }

    /// A new block after `parent`, on no shelf yet.
    pub(super) fn insert(&mut self, parent: u32, id: u64) -> u32 {
        let block = Block { parent, id, shelf: 0, since: Picos::ZERO, older: NONE, newer: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = block;
                slot
            }
            None => {
                self.slots.push(block);
                self.slots.len() as u32 - 1
            }
        };
        self.children.insert((parent, id), slot);
        slot
    }

    /// Forgets a block that stands on no shelf and has no children.
    pub(super) fn remove(&mut self, slot: u32) {
        let Block { parent, id, .. } = self[slot];
        self.children.remove(&(parent, id));
        self.free.push(slot);
    }

    /// (The block before, id, block) of every block.
    #[cfg(test)]
    pub(super) fn edges(&self) -> impl Iterator<Item = (u32, u64, u32)> {
        self.children.iter().map(|(&(parent, id), &child)| (parent, id, child))
    }
}

impl std::ops::Index<u32> for Blocks {
    type Output = Block;

    fn index(&self, slot: u32) -> &Block {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<u32> for Blocks {
    fn index_mut(&mut self, slot: u32) -> &mut Block {
        &mut self.slots[slot as usize]
    }
}
