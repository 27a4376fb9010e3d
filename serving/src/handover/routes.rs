//! Which rank sends which part of a cache to which, between two pools that divide layers and heads in their own ways.

use super::ports::Lane;
use crate::trains::Seat;
use moe::model::CacheGrowth;
use moe::stack::Stack;

/// Layers that one stage of the pool of prompts has, and one stage of the pool of answers.
#[derive(Clone, Debug)]
struct Part {
    /// First rank of each of the two stages, in its replica.
    first: [usize; 2],
    /// What each receiving rank gets.
    cache: CacheGrowth,
}

/// The ways of caches from any seat to any other.
#[derive(Clone, Debug)]
pub struct Routes {
    parts: Vec<Part>,
    /// Ranks of a replica of either pool.
    ranks: [usize; 2],
    /// Ranks of a group of either pool.
    tp: [u64; 2],
}

impl Routes {
    /// Between replicas of `stacks`, prompts first, of one model.
    #[must_use]
    pub fn new(stacks: [&Stack; 2]) -> Self {
        let [from, to] = stacks;
        let mut parts = Vec::new();
        let last = |stack: &Stack, at: usize| at + 1 == stack.stages().len();
        for (i, sends) in from.stages().iter().enumerate() {
            for (j, gets) in to.stages().iter().enumerate() {
                let layers = sends.layers.start.max(gets.layers.start)..sends.layers.end.min(gets.layers.end);
                let mut cache =
                    to.model.cache_growth(layers.start..layers.end.max(layers.start), to.kv_dtype, to.tp);
                if last(from, i) && last(to, j) {
                    cache.add_all(&to.model.draft_held(to.drafts, &to.part()).2);
                }
                parts.push(Part { first: [sends.ranks.start as usize, gets.ranks.start as usize], cache });
            }
        }
        let ranks = stacks.map(|stack| (stack.columns() * stack.num_stages()) as usize);
        Self { parts, ranks, tp: stacks.map(|stack| u64::from(stack.tp)) }
    }

    /// Replicas of one rank, whose caches take `bytes` a token.
    #[cfg(test)]
    pub(crate) fn of_single_ranks(bytes: f64, ranks: [usize; 2]) -> Self {
        let part = Part { first: [0, 0], cache: CacheGrowth::linear(bytes) };
        Self { parts: vec![part], ranks, tp: [1, 1] }
    }

    /// Ranks of a replica of either pool.
    #[must_use]
    pub const fn ranks(&self) -> [usize; 2] {
        self.ranks
    }

    /// The lanes of a cache of `tokens` from the first seat to the second. The ranks of a group have equal parts of its heads, in order, or all of
    /// them everything: either way each receiver's bytes come from the senders at its part.
    #[must_use]
    pub fn lanes(&self, seats: [Seat; 2], tokens: u64) -> Vec<Lane> {
        let [sends, gets] = self.tp;
        let group = |side: usize, part: &Part| {
            let Seat { replica, rank, .. } = seats[side];
            replica * self.ranks[side] + part.first[side] + rank * self.tp[side] as usize
        };
        let mut lanes = Vec::new();
        for part in &self.parts {
            let each = part.cache.bytes(tokens).ceil() as u64;
            if each == 0 {
                continue;
            }
            // Of all bytes that the group gets, each sender has a run, and each receiver.
            let all = each * gets;
            for i in 0..sends {
                for j in 0..gets {
                    let begin = (all * i / sends).max(each * j);
                    let end = (all * (i + 1) / sends).min(each * (j + 1));
                    if begin < end {
                        let (from, to) = (group(0, part) + i as usize, group(1, part) + j as usize);
                        lanes.push(Lane { from, to, bytes: end - begin });
                    }
                }
            }
        }
        lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moe::Model;
    use moe::work::CommonWeights;
    use topology::{Cluster, Dtype};

    fn stack(stages: u32, tp: u32, racks: u32) -> Stack {
        let (model, cluster) = (Model::preset("qwen3-30b-a3b").unwrap(), Cluster::uniform(racks, 8).unwrap());
        Stack::new(model, Dtype::Bf16, Dtype::Bf16, (CommonWeights::Replicated, tp), stages, &cluster)
            .unwrap()
    }

    const fn seat(replica: usize, rank: usize) -> Seat {
        Seat { replica, train: 0, rank, tokens: 0 }
    }

    /// What the pool of answers holds of a prompt is what it gets, whatever the two layouts.
    #[test]
    fn every_receiver_gets_its_cache() {
        for (from, to) in [
            (stack(1, 1, 1), stack(1, 1, 1)),
            (stack(2, 4, 1), stack(1, 2, 1)),
            (stack(1, 2, 1), stack(4, 1, 2)),
            (stack(2, 1, 2), stack(2, 8, 2)),
        ] {
            let routes = Routes::new([&from, &to]);
            let lanes = routes.lanes([seat(1, 0), seat(2, 0)], 1_000);
            let mut got = vec![0; routes.ranks()[1]];
            for lane in &lanes {
                assert_eq!((lane.from / routes.ranks()[0], lane.to / routes.ranks()[1]), (1, 2));
                got[lane.to % routes.ranks()[1]] += lane.bytes;
            }
            for stage in to.stages() {
                let growth = to.model.cache_growth(stage.layers.clone(), to.kv_dtype, to.tp);
                for rank in stage.ranks.clone() {
                    let held =
                        if rank - stage.ranks.start < to.tp { growth.bytes(1_000).ceil() as u64 } else { 0 };
                    // A byte a pair of stages, where layers don't end in whole ones.
                    assert!((got[rank as usize] as i64 - held as i64).abs() <= 4, "{rank}: {got:?}, {held}");
                }
            }
        }
    }
}
