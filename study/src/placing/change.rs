//! What a change of placements moves, how long that takes, and after how many steps it has paid.

use blackboard::CopiesPerToken;
use blackboard::scale_up::{A2aGroup, a2a_time_on};
use blackboard::units::Tokens;
use moe::evaluation::Evaluation;
use moe::placement::{move_traffic, weight_moves};
use moe::{DispatchScheme, LayerShape, Placement, PlacementError, RowBytes};
use topology::{A2aLinks, Cluster, Fabric, Hardware, HardwareError, LinkClass, fluid_bound};

/// Weights that travel from one placement of some layers to another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Experts that travel, replicas included.
    pub experts: u64,
    /// Rounds, one after the other, each with at most one expert to a rank.
    pub rounds: u32,
    /// Bytes that each rank sends, `[ranks]`, on scale-up and scale-out ports.
    pub sent: [Vec<u64>; 2],
    /// Bytes that each rank receives, likewise.
    pub received: [Vec<u64>; 2],
    /// From the first byte to the last: the busiest port of each round, microseconds.
    pub time_us: f64,
}

impl Change {
    /// Of no layer yet.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let none = || vec![0; cluster.num_ranks() as usize];
        Self { sent: [none(), none()], received: [none(), none()], ..Self::default() }
    }

    /// Adds a layer, whose rounds come after those of the others: tokens wait, as in [`crate::rebalance`].
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if a rank has another number of slots than before.
    pub fn add(
        &mut self,
        cluster: &Cluster,
        fabric: &Fabric,
        expert_bytes: u64,
        [before, after]: [&Placement; 2],
    ) -> Result<(), PlacementError> {
        let other = cluster.ranks().find(|&rank| before.slots_of(rank).len() != after.slots_of(rank).len());
        if let Some(rank) = other {
            let [had, has] = [before, after].map(|placement| placement.slots_of(rank).len());
            let problem =
                format!("rank {} has {had} slots before and {has} after: give --slots as before", rank.0);
            return Err(PlacementError::Refused { origin: "change of placements".to_owned(), problem });
        }
        for round in weight_moves(cluster, before, after).iter().filter(|round| !round.moves.is_empty()) {
            let traffic = move_traffic(cluster, &round.moves, expert_bytes);
            self.experts += round.moves.len() as u64;
            self.rounds += 1;
            self.time_us += fluid_bound(&traffic, cluster, fabric).as_micros_f64();
            for moved in &round.moves {
                let class = usize::from(cluster.link_class(moved.from, moved.to) == LinkClass::ScaleOut);
                self.sent[class][moved.from.0 as usize] += expert_bytes;
                self.received[class][moved.to.0 as usize] += expert_bytes;
            }
        }
        Ok(())
    }

    /// Bytes on scale-up and on scale-out ports.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        [0, 1].map(|class: usize| self.sent[class].iter().sum())
    }
}

/// A layer's step as it is priced: closed forms for the mean port, and the fullest rank on the roofline.
#[derive(Clone, Copy, Debug)]
pub struct StepPrice<'a> {
    /// The layer.
    pub shape: &'a LayerShape,
    /// Its links and arithmetic.
    pub hardware: &'a Hardware,
    /// Its ranks.
    pub cluster: &'a Cluster,
    /// How rows travel.
    pub scheme: DispatchScheme,
    /// Tokens of each rank.
    pub tokens: u32,
}

impl StepPrice<'_> {
    /// Dispatch, experts and combine of a layer that is judged so, microseconds.
    ///
    /// # Errors
    /// [`HardwareError`] if the hardware has no arithmetic in the layer's format.
    pub fn step_us(&self, placement: &Placement, judged: &Evaluation) -> Result<f64, HardwareError> {
        let at = DispatchScheme::ALL.iter().position(|&scheme| scheme == self.scheme).unwrap_or(0);
        let copies = CopiesPerToken { intra: judged.copies[at].intra, inter: judged.copies[at].inter };
        let bytes = RowBytes::new(self.shape.hidden);
        let tokens = Tokens(f64::from(self.tokens));
        let rule = self.shape.selection();
        let ranks = A2aGroup::of(self.cluster, self.scheme, &rule, self.shape.hidden);
        let links = ranks.links(self.hardware, &self.hardware.fabric(), tokens);
        let links = links.unwrap_or_else(|_| A2aLinks::nominal(self.hardware.fabric()));
        let all_to_all = a2a_time_on(self.scheme, copies, tokens, bytes, &links).total();
        // Experts without tokens aren't told apart: every slot's weights are read.
        let rows = f64::from(self.tokens) * f64::from(self.shape.top_k) / judged.chosen_balancedness;
        let (slots, row) = (f64::from(placement.max_slots_per_rank()), self.shape.expert_flops(1));
        let weights = slots * self.shape.expert_weight_bytes() as f64;
        let experts = self.hardware.expert_time(row * rows, row * slots, weights, self.shape.dtype)?;
        let experts = experts + self.hardware.experts_start();
        Ok(self.hardware.layer_time(all_to_all.as_micros(), experts.as_micros_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::{LinkSpec, Picos, Rate};

    #[test]
    fn two_experts_that_change_racks_take_the_slow_port_once() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        let place = |map: &str| Placement::from_json(map, "test", &cluster, 4).unwrap();
        let before = place(r#"{"physical_to_logical_map": [0, 1, 2, 3]}"#);
        let after = place(r#"{"physical_to_logical_map": [2, 1, 0, 3]}"#);
        let link = |rate| LinkSpec { rate: Rate::new(rate).unwrap(), latency: Picos(1_000_000) };
        let fabric = Fabric::new(link(800_000_000), link(100_000_000));
        let mut change = Change::new(&cluster);
        change.add(&cluster, &fabric, 1000, [&before, &after]).unwrap();
        assert_eq!((change.experts, change.rounds, change.bytes()), (2, 1, [0, 2000]));
        assert_eq!(
            (&change.sent[1], &change.received[1]),
            (&vec![1000, 0, 1000, 0], &vec![1000, 0, 1000, 0])
        );
        // 1000 B at 100 MB/s, and a microsecond on the way.
        assert!((change.time_us - 11.0).abs() < 1e-9, "{}", change.time_us);
        change.add(&cluster, &fabric, 1000, [&before, &before]).unwrap();
        assert_eq!(change.experts, 2);
        let more = place(r#"{"physical_to_logical_map": [0, 1, 2, 3, 0]}"#);
        let error = change.add(&cluster, &fabric, 1000, [&before, &more]).unwrap_err().to_string();
        assert!(error.contains("rank 0 has 1 slots before and 2 after"), "{error}");
    }
}
