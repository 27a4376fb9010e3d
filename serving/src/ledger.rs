//! What lies in a rank's memory: weights, buffers and the KV cache of every sequence that sits there, against its capacity.
//!
//! A sequence sits on one index in all stages, so that its cache is spread over as many ranks as there are stages. Room for the
//! whole sequence, prompt and answer, is taken when it is admitted: nothing that was admitted has to be thrown out.

use moe::model::CacheGrowth;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What each rank of one stage holds whatever sits there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageMemory {
    /// Capacity of a rank's memory without the reserve, bytes.
    pub capacity_bytes: u64,
    /// Weights on the rank that has most, bytes.
    pub weights_bytes: u64,
    /// Rows under way and activations of the largest step, bytes.
    pub buffers_bytes: u64,
    /// Set aside for caches of ended requests, bytes.
    pub kept_bytes: u64,
    /// Cache of one sequence in this stage's layers, by its tokens.
    pub cache: CacheGrowth,
}

impl StageMemory {
    /// What is left for sequences.
    #[must_use]
    pub const fn kv_capacity_bytes(&self) -> u64 {
        let left = self.capacity_bytes.saturating_sub(self.weights_bytes);
        left.saturating_sub(self.buffers_bytes).saturating_sub(self.kept_bytes)
    }

    /// Bytes that a sequence of `tokens` takes.
    fn cache_bytes(&self, tokens: u64) -> u64 {
        self.cache.bytes(tokens).ceil() as u64
    }
}

/// Memory that doesn't suffice for the weights alone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "stage {stage}: weights ({:.1} GB) and buffers ({:.1} GB) leave no room in {:.1} GB a rank; give more ranks or stages, a smaller dtype, or fewer tokens a step",
    *weights as f64 / 1e9, *buffers as f64 / 1e9, *capacity as f64 / 1e9
)]
pub struct NoRoom {
    /// Stage without room, from 0.
    pub stage: usize,
    /// Weights of a rank.
    pub weights: u64,
    /// Buffers of a rank.
    pub buffers: u64,
    /// Memory of a rank.
    pub capacity: u64,
}

/// The memory of all ranks.
#[derive(Clone, Debug)]
pub struct Ledger {
    stages: Vec<StageMemory>,
    /// Tokens are handed out in blocks of so many.
    block_tokens: u64,
    /// Tokens of one sequence that an empty rank has room for, the tightest stage's, whole blocks.
    capacity_tokens: u64,
    /// Bytes taken, `[ranks of a stage][stages]`.
    taken: Vec<Vec<u64>>,
    /// Of the fullest rank at its fullest moment, `[stages]`.
    high_water: Vec<u64>,
}

impl Ledger {
    /// Empty memories of `ranks` ranks a stage, handed out in blocks of `block_tokens`.
    ///
    /// # Errors
    /// [`NoRoom`] if a stage has no room for one block.
    ///
    /// # Panics
    /// If there are no stages, ranks or tokens in a block.
    pub fn new(stages: Vec<StageMemory>, ranks: u32, block_tokens: u32) -> Result<Self, NoRoom> {
        assert!(!stages.is_empty() && ranks > 0 && block_tokens > 0, "a ledger has stages, ranks and blocks");
        let block_tokens = u64::from(block_tokens);
        if let Some((stage, memory)) =
            stages.iter().enumerate().find(|(_, memory)| tokens_in(memory) < block_tokens)
        {
            let &StageMemory { capacity_bytes, weights_bytes, buffers_bytes, .. } = memory;
            return Err(NoRoom {
                stage,
                weights: weights_bytes,
                buffers: buffers_bytes,
                capacity: capacity_bytes,
            });
        }
        let tokens = stages.iter().map(tokens_in).min().unwrap_or(0);
        let capacity_tokens = tokens / block_tokens * block_tokens;
        let high_water = vec![0; stages.len()];
        let taken = vec![high_water.clone(); ranks as usize];
        Ok(Self { stages, block_tokens, capacity_tokens, taken, high_water })
    }

    /// Tokens that `tokens` take: whole blocks.
    #[must_use]
    pub const fn rounded(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.block_tokens) * self.block_tokens
    }

    /// Tokens of one sequence that an empty rank has room for.
    #[must_use]
    pub const fn capacity_tokens(&self) -> u64 {
        self.capacity_tokens
    }

    /// Bytes taken on `rank`, all stages.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn taken(&self, rank: usize) -> u64 {
        self.taken[rank].iter().sum()
    }

    /// Bytes taken on the fullest rank, all stages.
    #[must_use]
    pub fn fullest(&self) -> u64 {
        (0..self.taken.len()).map(|rank| self.taken(rank)).max().unwrap_or(0)
    }

    /// Whether a sequence of `tokens` more fits on `rank`.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn fits(&self, rank: usize, tokens: u64) -> bool {
        let tokens = self.rounded(tokens);
        let mut stages = self.stages.iter().zip(&self.taken[rank]);
        stages.all(|(memory, taken)| memory.cache_bytes(tokens) <= memory.kv_capacity_bytes() - taken)
    }

    /// Takes room for a sequence of `tokens` on `rank`.
    ///
    /// # Panics
    /// If it does not fit: ask [`Self::fits`] first.
    pub fn take(&mut self, rank: usize, tokens: u64) {
        assert!(self.fits(rank, tokens), "rank {rank} has no room for {tokens} tokens");
        let tokens = self.rounded(tokens);
        for (stage, memory) in self.stages.iter().enumerate() {
            self.taken[rank][stage] += memory.cache_bytes(tokens);
            self.high_water[stage] = self.high_water[stage].max(self.taken[rank][stage]);
        }
    }

    /// Gives the room of a sequence of `tokens` back.
    ///
    /// # Panics
    /// If so much was not taken.
    pub fn give_back(&mut self, rank: usize, tokens: u64) {
        let tokens = self.rounded(tokens);
        for (memory, taken) in self.stages.iter().zip(&mut self.taken[rank]) {
            *taken =
                taken.checked_sub(memory.cache_bytes(tokens)).expect("only what was taken is given back");
        }
    }

    /// What the fullest rank of each stage held at the fullest moment.
    #[must_use]
    pub fn report(&self) -> Vec<StageReport> {
        let report = |(memory, &kv_bytes_max): (&StageMemory, &u64)| StageReport {
            capacity_bytes: memory.capacity_bytes,
            weights_bytes: memory.weights_bytes,
            buffers_bytes: memory.buffers_bytes,
            kept_bytes: memory.kept_bytes,
            kv_bytes_max,
            kv_capacity_bytes: memory.kv_capacity_bytes(),
        };
        self.stages.iter().zip(&self.high_water).map(report).collect()
    }
}

/// The tokens of one sequence that fit in what is left.
fn tokens_in(memory: &StageMemory) -> u64 {
    memory.cache.tokens_in(memory.kv_capacity_bytes() as f64)
}

/// The memory of a stage's fullest rank at its fullest moment, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// Memory of the rank.
    pub capacity_bytes: u64,
    /// Weights that lie on it all the time.
    pub weights_bytes: u64,
    /// Rows under way, activations.
    pub buffers_bytes: u64,
    /// Set aside for caches of ended requests.
    pub kept_bytes: u64,
    /// Room taken by sequences.
    pub kv_bytes_max: u64,
    /// Room that there is for them.
    pub kv_capacity_bytes: u64,
}

impl StageReport {
    /// All that is taken or set aside.
    #[must_use]
    pub const fn used_bytes(&self) -> u64 {
        self.weights_bytes + self.buffers_bytes + self.kept_bytes + self.kv_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(weights_bytes: u64, bytes_per_token: u32) -> StageMemory {
        StageMemory {
            capacity_bytes: 1_000,
            weights_bytes,
            buffers_bytes: 100,
            kept_bytes: 0,
            cache: CacheGrowth::linear(bytes_per_token.into()),
        }
    }

    #[test]
    fn the_tightest_stage_decides_and_tokens_go_in_blocks() {
        let mut ledger = Ledger::new(vec![memory(100, 2), memory(500, 4)], 2, 16).unwrap();
        assert_eq!(ledger.capacity_tokens(), 96); // 100 of the second stage, in whole blocks
        ledger.take(0, 17);
        assert_eq!(ledger.taken(0), 32 * 6);
        assert!(ledger.fits(0, 64) && !ledger.fits(0, 65) && ledger.fits(1, 96));
        ledger.take(0, 64);
        ledger.give_back(0, 17);
        assert_eq!(ledger.taken(0), 64 * 6);
        let full = ledger.report()[1];
        assert_eq!((full.kv_bytes_max, full.kv_capacity_bytes), (96 * 4, 400));
    }

    #[test]
    fn weights_that_fill_the_memory_are_refused() {
        let error = Ledger::new(vec![memory(0, 1), memory(890, 1)], 1, 16).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "stage 1: weights (0.0 GB) and buffers (0.0 GB) leave no room in 0.0 GB a rank; give"
            ),
            "{error}"
        );
    }
}
