//! What the caches of a whole model hold, by the batches that have gone through it: enough to compute them again.

use moe::stack::{Chunk, Column, StepBatch};
use std::collections::BTreeMap;

/// Tokens of each sequence, `[columns]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caches {
    columns: Vec<BTreeMap<u32, u32>>,
}

/// Most tokens of a column in a step that computes caches again: a step's memory grows with them.
const REBUILT_TOKENS_MAX: u32 = 4096;

impl Caches {
    /// A batch has gone through all stages.
    pub(super) fn apply(&mut self, batch: &StepBatch) {
        let columns = batch.columns.len().max(self.columns.len());
        self.columns.resize_with(columns, BTreeMap::new);
        for (held, column) in self.columns.iter_mut().zip(&batch.columns) {
            for ended in &column.ended {
                held.remove(ended);
            }
        }
        for (at, column) in batch.columns.iter().enumerate() {
            for chunk in &column.chunks {
                if chunk.context == 0 {
                    // It begins anew, elsewhere perhaps.
                    for held in &mut self.columns {
                        held.remove(&chunk.sequence);
                    }
                }
                self.columns[at].insert(chunk.sequence, chunk.context.saturating_add(chunk.tokens));
            }
        }
    }

    /// Batches that fill empty caches so far: each sequence's tokens in order, none of them asked for an answer.
    pub(super) fn rebuild(&self) -> Vec<StepBatch> {
        let mut batches: Vec<StepBatch> = Vec::new();
        for (at, held) in self.columns.iter().enumerate() {
            let (mut step, mut room) = (0, REBUILT_TOKENS_MAX);
            for (&sequence, &length) in held {
                let mut context = 0;
                while context < length {
                    if room == 0 {
                        (step, room) = (step + 1, REBUILT_TOKENS_MAX);
                    }
                    if step == batches.len() {
                        batches.push(StepBatch { columns: vec![Column::default(); self.columns.len()] });
                    }
                    let tokens = (length - context).min(room);
                    let chunk = Chunk { sequence, context, tokens, sample: false };
                    batches[step].columns[at].chunks.push(chunk);
                    context += tokens;
                    room -= tokens;
                }
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(chunks: &[(u32, u32, u32)], ended: &[u32]) -> Column {
        let chunk = |&(sequence, context, tokens)| Chunk { sequence, context, tokens, sample: true };
        Column { chunks: chunks.iter().map(chunk).collect(), ended: ended.to_vec() }
    }

    #[test]
    fn what_has_ended_or_began_anew_is_not_computed_again() {
        let mut caches = Caches::default();
        caches.apply(&StepBatch { columns: vec![column(&[(1, 0, 5), (2, 0, 3)], &[]), column(&[], &[])] });
        caches.apply(&StepBatch { columns: vec![column(&[(1, 5, 1)], &[2]), column(&[(2, 0, 7)], &[])] });
        let rebuilt = caches.rebuild();
        assert_eq!(rebuilt.len(), 1);
        let lengths = rebuilt[0].columns.iter().map(|column| {
            column.chunks.iter().map(|chunk| (chunk.sequence, chunk.tokens)).collect::<Vec<_>>()
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [vec![(1, 6)], vec![(2, 7)]]);
        assert!(rebuilt[0].columns.iter().all(|column| column.answered().next().is_none()));
    }

    proptest! {
        #[test]
        fn rebuilt_caches_are_the_caches(lengths in proptest::collection::vec(1u32..9000, 0..12)) {
            let mut caches = Caches::default();
            let chunks: Vec<_> = (0..).zip(&lengths).map(|(sequence, &tokens)| (sequence, 0, tokens)).collect();
            let (left, right) = chunks.split_at(chunks.len() / 2);
            caches.apply(&StepBatch { columns: vec![column(left, &[]), column(right, &[])] });
            let mut again = Caches { columns: vec![BTreeMap::new(); 2] };
            for batch in caches.rebuild() {
                batch.validate(2).unwrap();
                for (held, column) in again.columns.iter().zip(&batch.columns) {
                    prop_assert!(column.tokens() <= REBUILT_TOKENS_MAX);
                    for chunk in &column.chunks {
                        prop_assert_eq!(held.get(&chunk.sequence).copied().unwrap_or(0), chunk.context);
                    }
                }
                again.apply(&batch);
            }
            prop_assert_eq!(again, caches);
        }
    }
}
