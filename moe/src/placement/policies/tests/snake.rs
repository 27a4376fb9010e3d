//! Experts by load, hottest first, dealt to the ranks to and fro.

use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementPolicy};
use topology::Cluster;

/// The policy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Snake;

impl PlacementPolicy for Snake {
    fn name(&self) -> &str {
        "snake"
    }

    fn help(&self) -> &str {
        "experts by load, hottest first, dealt to the ranks to and fro; slots left over repeat the hottest"
    }

    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let (experts, ranks) = (demand.num_experts(), cluster.num_ranks());
        let mut hottest: Vec<u32> = (0..experts).collect();
        hottest.sort_by_key(|&expert| std::cmp::Reverse(demand.load()[expert as usize]));
        let mut held = vec![Vec::new(); ranks as usize];
        for (turn, &expert) in (0..slots).zip(hottest.iter().cycle()) {
            let (round, at) = (turn / ranks, turn % ranks);
            let rank = if round % 2 == 0 { at } else { ranks - 1 - at };
            held[rank as usize].push(ExpertId(expert));
        }
        let counts: Vec<u32> = held.iter().map(|experts| experts.len() as u32).collect();
        Placement::from_parts(cluster, held.concat(), &counts, experts, self.name())
    }
}
