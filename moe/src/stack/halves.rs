//! Batches in two halves, sequence by sequence: while one half computes, the rows of the other can be on their way.

use super::{Column, StepBatch};
use std::collections::BTreeMap;

/// Who is in which half, from a sequence's first chunk until it ends: its cache stays where it is.
#[derive(Clone, Debug, Default)]
pub struct Halves {
    /// Column and half of each sequence.
    places: BTreeMap<u32, (usize, usize)>,
    /// Sequences of each column's halves, `[columns]`.
    held: Vec<[usize; 2]>,
}

/// A batch in two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The halves, each with all columns.
    pub halves: [StepBatch; 2],
    /// For each chunk its tokens and its half, `[columns][chunks]`.
    chunks: Vec<Vec<(usize, usize)>>,
}

impl Halves {
    /// Splits the next batch of a run.
    ///
    /// A new sequence goes to the half that has fewer in its column; where both have as many, columns take turns, so that columns of one
    /// sequence fill both halves.
    pub fn split(&mut self, batch: &StepBatch) -> Split {
        self.held.resize(batch.columns.len().max(self.held.len()), [0; 2]);
        let mut split = Split::default();
        // All who leave first: a number may begin anew elsewhere in the same batch.
        let leave = |column: &Column| {
            let mut parts = [Column::default(), Column::default()];
            for &sequence in &column.ended {
                if let Some((place, half)) = self.places.remove(&sequence) {
                    self.held[place][half] -= 1;
                    parts[half].ended.push(sequence);
                }
            }
            parts
        };
        let left: Vec<_> = batch.columns.iter().map(leave).collect();
        for ((at, column), mut parts) in batch.columns.iter().enumerate().zip(left) {
            let mut chunks = Vec::with_capacity(column.chunks.len());
            for &chunk in &column.chunks {
                let held = &mut self.held;
                let (_, half) = *self.places.entry(chunk.sequence).or_insert_with(|| {
                    let [first, second] = held[at];
                    let half = if first == second { at % 2 } else { usize::from(second < first) };
                    held[at][half] += 1;
                    (at, half)
                });
                parts[half].chunks.push(chunk);
                chunks.push((chunk.tokens as usize, half));
            }
            split.chunks.push(chunks);
            for (half, part) in split.halves.iter_mut().zip(parts) {
                half.columns.push(part);
            }
        }
        split
    }
}

impl Split {
    /// What `answers` hold for each token, `[halves][columns][tokens]`, in the order of the whole batch: `[columns][tokens]`.
    ///
    /// Answers that are missing leave their places out.
    #[must_use]
    pub fn join<T>(&self, answers: [Vec<Vec<T>>; 2]) -> Vec<Vec<T>> {
        let mut columns = answers.map(Vec::into_iter);
        let join = |chunks: &Vec<(usize, usize)>| {
            let mut tokens = columns.each_mut().map(|half| half.next().unwrap_or_default().into_iter());
            chunks
                .iter()
                .flat_map(|&(count, half)| tokens[half].by_ref().take(count).collect::<Vec<_>>())
                .collect()
        };
        self.chunks.iter().map(join).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Chunk;
    use super::*;
    use proptest::prelude::*;

    fn column(sequences: &[(u32, u32)], ended: &[u32]) -> Column {
        let chunk = |&(sequence, tokens): &(u32, u32)| Chunk { sequence, context: 0, tokens, sample: true };
        Column { chunks: sequences.iter().map(chunk).collect(), ended: ended.to_vec() }
    }

    fn sequences(batch: &StepBatch) -> Vec<Vec<u32>> {
        let of = |column: &Column| column.chunks.iter().map(|chunk| chunk.sequence).collect();
        batch.columns.iter().map(of).collect()
    }

    #[test]
    fn a_sequence_stays_in_its_half_and_columns_of_one_take_turns() {
        let mut halves = Halves::default();
        let batch =
            StepBatch { columns: vec![column(&[(1, 1)], &[]), column(&[(2, 1), (3, 1), (4, 1)], &[])] };
        let [first, second] = halves.split(&batch).halves;
        assert_eq!(
            (sequences(&first), sequences(&second)),
            (vec![vec![1], vec![3]], vec![vec![], vec![2, 4]])
        );
        // 2 ends, so that 5 finds as many in both; 4 stays where it is.
        let batch = StepBatch { columns: vec![column(&[], &[]), column(&[(4, 1), (5, 1)], &[2])] };
        let [first, second] = halves.split(&batch).halves;
        assert_eq!((sequences(&first), sequences(&second)), (vec![vec![], vec![]], vec![vec![], vec![4, 5]]));
        assert_eq!((&first.columns[1].ended, &second.columns[1].ended), (&vec![], &vec![2]));
        // 1 begins anew in the other column than the one that says it has ended: it stays held.
        let batch = StepBatch { columns: vec![column(&[(1, 1)], &[]), column(&[], &[1])] };
        let once = halves.split(&batch).halves;
        let batch = StepBatch { columns: vec![column(&[(1, 1)], &[]), column(&[], &[])] };
        assert_eq!(halves.split(&batch).halves.each_ref().map(sequences), once.each_ref().map(sequences));
    }

    proptest! {
        #[test]
        fn what_is_split_is_joined_in_order(
            steps in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(1_u32..5, 0..6), 1..4), 1..4)
        ) {
            let mut halves = Halves::default();
            let mut next = 0;
            for columns in steps {
                let columns = columns.into_iter().map(|tokens| {
                    let named: Vec<_> = tokens.into_iter().map(|tokens| { next += 1; (next, tokens) }).collect();
                    column(&named, &[])
                });
                let batch = StepBatch { columns: columns.collect() };
                let split = halves.split(&batch);
                prop_assert_eq!(split.halves.iter().map(StepBatch::tokens).sum::<u64>(), batch.tokens());
                let ids = |batch: &StepBatch| batch.columns.iter().map(|column| column.ids().collect()).collect::<Vec<Vec<_>>>();
                prop_assert_eq!(split.join(split.halves.each_ref().map(ids)), ids(&batch));
            }
        }
    }
}
