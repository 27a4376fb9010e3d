//! Which layer is of which kind, as a pattern that is repeated.

use serde::{Deserialize, Serialize};

/// The kinds of a model's layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Number of layers.
    pub layers: u32,
    /// So many layers of a kind (an index into [`super::Model::kinds`]), run after run, as `[kind, layers]`; from the beginning again until
    /// there are [`Self::layers`].
    pub runs: Vec<(u16, u32)>,
}

impl Order {
    /// The shortest pattern that gives `kinds`, one entry a layer.
    #[must_use]
    pub fn of(kinds: &[u16]) -> Self {
        let repeats = |period: usize| kinds.iter().zip(&kinds[period..]).all(|(a, b)| a == b);
        let period = (1..kinds.len()).find(|&period| repeats(period)).unwrap_or(kinds.len());
        let mut runs: Vec<(u16, u32)> = Vec::new();
        for &kind in &kinds[..period] {
            match runs.last_mut() {
                Some((last, count)) if *last == kind => *count += 1,
                _ => runs.push((kind, 1)),
            }
        }
        Self { layers: kinds.len() as u32, runs }
    }

    /// Layers of the pattern.
    pub(super) fn period(&self) -> u64 {
        self.runs.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// The kind of layer `index`, from 0.
    ///
    /// # Panics
    /// If there are no runs.
    #[must_use]
    pub fn kind(&self, index: u32) -> u16 {
        let mut left = u64::from(index) % self.period();
        for &(kind, count) in &self.runs {
            match left.checked_sub(count.into()) {
                Some(more) => left = more,
                None => return kind,
            }
        }
        unreachable!("{index} is within the pattern")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_as_short_as_they_can_be() {
        assert_eq!(Order::of(&[0, 0, 0, 1, 1]).runs, [(0, 3), (1, 2)]);
        assert_eq!(Order::of(&[2, 0, 2, 0, 2]).runs, [(2, 1), (0, 1)]);
        assert_eq!(Order::of(&[1; 7]).runs, [(1, 1)]);
    }

    proptest! {
        #[test]
        fn every_layer_keeps_its_kind(kinds in prop::collection::vec(0_u16..4, 1..40)) {
            let order = Order::of(&kinds);
            let read: Vec<u16> = (0..order.layers).map(|layer| order.kind(layer)).collect();
            prop_assert_eq!(read, kinds);
        }
    }
}
