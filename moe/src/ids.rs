//! The two names of an expert: logical (what the gate picks) and physical (the slot that hosts a copy of it).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A logical expert: an index into the model's experts, `0..num_experts`, as the gate names it in `topk_idx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExpertId(pub u32);

/// A physical expert: a slot on some rank that holds the weights of one logical expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub u32);

impl fmt::Display for ExpertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expert {}", self.0)
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// A token's name, the same in whatever batch and on whatever rank it is: states and seeded routing follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId {
    /// The sequence.
    pub sequence: u32,
    /// Its place in the sequence, from 0.
    pub position: u32,
}
