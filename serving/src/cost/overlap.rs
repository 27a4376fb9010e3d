//! What of a stage goes on at the same time: nothing, the communication of one half batch beside the computing of the other, or all.

use super::LayerTimes;
use serde::{Deserialize, Serialize};
use topology::Picos;

/// Which parts of a step hide behind which others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// One part after the other, layer by layer.
    #[default]
    None,
    /// Two half batches: while one computes, the other communicates. Each reads the weights for itself. Source: ISCA and INF on
    /// dual micro-batch overlap.
    TwoBatch,
    /// Everything: the larger of arithmetic, memory traffic and communication of the whole step. The equations' lower bound (T, the core
    /// model), which no schedule reaches; for closed forms alone.
    Full,
}

/// One layer of one half batch: what its ranks do by themselves, then dispatch, experts and combine where it has experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfLayer {
    /// Attention, dense and shared blocks.
    pub local: Picos,
    /// `None` in a dense layer.
    pub routed: Option<LayerTimes>,
}

/// Two half batches that take turns on two resources, the arithmetic and the network: each part begins once the part before it of its own
/// half and the part before it on its resource have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    compute: Picos,
    network: Picos,
    ready: [Picos; 2],
}

impl Timeline {
    /// Adds the next part on a resource, that of `half` (0 or 1).
    ///
    /// # Panics
    /// If there is no such half.
    pub fn add(&mut self, half: usize, computes: bool, time: Picos) {
        self.add_until(half, computes, self.start(half, computes) + time);
    }

    /// When the next part can begin.
    ///
    /// # Panics
    /// If there is no such half.
    #[must_use]
    pub fn start(&self, half: usize, computes: bool) -> Picos {
        self.ready[half].max(if computes { self.compute } else { self.network })
    }

    /// Adds the next part by its end.
    ///
    /// # Panics
    /// If there is no such half.
    pub fn add_until(&mut self, half: usize, computes: bool, end: Picos) {
        let resource = if computes { &mut self.compute } else { &mut self.network };
        (*resource, self.ready[half]) = (end, end);
    }

    /// When all parts so far have ended.
    #[must_use]
    pub fn end(&self) -> Picos {
        self.ready[0].max(self.ready[1])
    }
}

/// `layers` with two half batches (`[layers][2]`) that take turns on two resources, the arithmetic and the network.
///
/// Work is done in a fixed order on each, the first half's part before the second's: local, local, dispatch of each, experts of each,
/// combine of each, layer by layer; a part begins when what it needs and its resource are there.
#[must_use]
pub fn two_batches(layers: &[[HalfLayer; 2]]) -> Timeline {
    let mut timeline = Timeline::default();
    for halves in layers {
        for (half, layer) in halves.iter().enumerate() {
            timeline.add(half, true, layer.local);
        }
        let phases: [fn(LayerTimes) -> Picos; 3] =
            [|times| times.dispatch, |times| times.experts, |times| times.combine];
        for (phase, time) in phases.into_iter().enumerate() {
            for (half, layer) in halves.iter().enumerate() {
                if let Some(routed) = layer.routed {
                    timeline.add(half, phase == 1, time(routed));
                }
            }
        }
    }
    timeline
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half(local: u64, dispatch: u64, experts: u64, combine: u64) -> HalfLayer {
        let routed =
            LayerTimes { dispatch: Picos(dispatch), experts: Picos(experts), combine: Picos(combine) };
        HalfLayer { local: Picos(local), routed: Some(routed) }
    }

    #[test]
    fn communication_hides_behind_the_other_half() {
        // Equal parts: the second half is one part behind, and one part remains.
        let layer = [half(10, 10, 10, 10); 2];
        assert_eq!(two_batches(&[layer]).end(), Picos(50));
        assert_eq!(two_batches(&[layer; 10]).end(), Picos(10 * 40 + 10));
        // One after the other: 80 a layer.
    }

    proptest! {
        #[test]
        fn between_the_busier_resource_and_one_after_the_other(
            layers in proptest::collection::vec([(0_u64..50, 0_u64..50, 0_u64..50, 0_u64..50), (0_u64..50, 0_u64..50, 0_u64..50, 0_u64..50)], 1..8)
        ) {
            let halves: Vec<[HalfLayer; 2]> =
                layers.iter().map(|pair| pair.map(|(l, d, e, c)| half(l, d, e, c))).collect();
            let parts = layers.iter().flatten();
            let (compute, network) = parts.fold((0, 0), |sum, (l, d, e, c)| (sum.0 + l + e, sum.1 + d + c));
            let time = two_batches(&halves).end().0;
            prop_assert!(time >= compute.max(network) && time <= compute + network);
        }
    }
}
