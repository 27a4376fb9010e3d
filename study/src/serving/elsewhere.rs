//! Caches that a serving run gets from elsewhere, on ranks that compute: from another deployment's prefill, or from a tier.
//!
//! What comes is what the model makes of those tokens, which only ranks that have been through them have. So they go through them off the
//! clock, in steps of their own before the step that needs them. Every token of these is checked too.

use moe::stack::{Chunk, StepBatch};
use std::collections::BTreeMap;

/// What ranks hold, and what they were given.
#[derive(Debug)]
pub(super) struct Elsewhere {
    /// Most tokens of a column in a step.
    tokens_max: u32,
    /// Tokens in the cache of each sequence.
    held: BTreeMap<u32, u32>,
    given: u64,
}

impl Elsewhere {
    pub(super) fn new(tokens_max: u32) -> Self {
        Self { tokens_max: tokens_max.max(1), held: BTreeMap::new(), given: 0 }
    }

    /// Steps after which ranks hold what `batch` takes for granted; it is counted as done. Whoever has ended leaves with the first of them.
    pub(super) fn before(&mut self, batch: &mut StepBatch) -> Vec<StepBatch> {
        let mut steps = Vec::new();
        for sequence in batch.columns.iter().flat_map(|column| &column.ended) {
            self.held.remove(sequence);
        }
        for (at, column) in batch.columns.iter().enumerate() {
            let (mut step, mut room) = (0, self.tokens_max);
            for chunk in &column.chunks {
                let mut held = self.held.get(&chunk.sequence).copied().unwrap_or(0).min(chunk.context);
                while held < chunk.context {
                    if room == 0 {
                        (step, room) = (step + 1, self.tokens_max);
                    }
                    if step == steps.len() {
                        steps.push(StepBatch { columns: vec![Default::default(); batch.columns.len()] });
                    }
                    let tokens = room.min(chunk.context - held);
                    let computed = Chunk { sequence: chunk.sequence, context: held, tokens, sample: false };
                    steps[step].columns[at].chunks.push(computed);
                    self.given += u64::from(tokens);
                    (held, room) = (held + tokens, room - tokens);
                }
                self.held.insert(chunk.sequence, chunk.context + chunk.tokens);
            }
        }
        if let Some(first) = steps.first_mut() {
            for (early, column) in first.columns.iter_mut().zip(&mut batch.columns) {
                early.ended = std::mem::take(&mut column.ended);
            }
        }
        steps
    }

    /// For people; `None` if nothing came from elsewhere.
    pub(super) fn note(&self) -> Option<String> {
        let given = self.given;
        (given > 0).then(|| {
            format!("{given} tokens of caches from elsewhere were computed on their ranks off the clock")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(chunks: &[(u32, u32, u32)], ended: &[u32]) -> StepBatch {
        let mut batch = StepBatch::empty(2);
        for &(sequence, context, tokens) in chunks {
            batch.columns[1].chunks.push(Chunk { sequence, context, tokens, sample: true });
        }
        batch.columns[1].ended.extend(ended);
        batch
    }

    #[test]
    fn what_is_not_held_is_computed_in_steps_of_their_own() {
        let mut elsewhere = Elsewhere::new(4);
        let chunks = |steps: Vec<StepBatch>| -> Vec<Vec<(u32, u32, u32)>> {
            let of = |chunk: &Chunk| (chunk.sequence, chunk.context, chunk.tokens);
            steps.iter().map(|step| step.columns[1].chunks.iter().map(of).collect()).collect()
        };
        assert_eq!(
            chunks(elsewhere.before(&mut batch(&[(1, 5, 1), (2, 0, 3), (3, 2, 1)], &[]))),
            [vec![(1, 0, 4)], vec![(1, 4, 1), (3, 0, 2)]]
        );
        assert!(elsewhere.before(&mut batch(&[(1, 6, 1), (2, 3, 1)], &[])).is_empty());
        // 1 has ended; its number comes again with a cache of its own.
        let mut again = batch(&[(1, 3, 1)], &[1]);
        let steps = elsewhere.before(&mut again);
        assert_eq!((&steps[0].columns[1].ended, again.columns[1].ended.len()), (&vec![1], 0));
        assert_eq!(chunks(steps), [vec![(1, 0, 3)]]);
        assert!(elsewhere.note().unwrap().starts_with("10 tokens"));
    }
}
