//! A set of small numbers that finds its next member from any point on, round and round: whose turn it is at a port.

/// Members below a fixed bound, a bit each.
#[derive(Debug)]
pub(super) struct ReadySet {
    words: Vec<u64>,
    count: u32,
}

impl ReadySet {
    /// An empty set of numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        Self { words: vec![0; bound.div_ceil(64)], count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn insert(&mut self, member: usize) {
        let (word, bit) = (&mut self.words[member / 64], 1 << (member % 64));
        self.count += u32::from(*word & bit == 0);
        *word |= bit;
    }

    /// Takes out the first member that is at least `from`, else the first of all.
    pub(super) fn take_from(&mut self, from: usize) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let first = (from / 64).min(self.words.len());
        let rest_of_first = self.words.get(first).map_or(0, |word| word & (u64::MAX << (from % 64)));
        let found = if rest_of_first != 0 {
            (first, rest_of_first)
        } else {
            let after = (first + 1).min(self.words.len());
            // The word with `from` comes last again: its lower bits are the end of the round.
            let round = (after..self.words.len()).chain(0..after);
            round.map(|at| (at, self.words[at])).find(|(_, word)| *word != 0)?
        };
        let (at, word) = found;
        self.words[at] &= !(word & word.wrapping_neg());
        self.count -= 1;
        Some(at * 64 + word.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_takes_what_an_ordered_set_would(
            bound in 1usize..300, steps in prop::collection::vec((any::<bool>(), 0usize..300, 0usize..320), 0..200),
        ) {
            let (mut set, mut model) = (ReadySet::new(bound), BTreeSet::new());
            for (insert, member, from) in steps {
                if insert {
                    set.insert(member % bound);
                    model.insert(member % bound);
                } else {
                    let expected = model.range(from..).chain(model.iter()).next().copied();
                    prop_assert_eq!(set.take_from(from), expected);
                    expected.map(|member| model.remove(&member));
                }
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
        }
    }
}
