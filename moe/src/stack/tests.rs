//! Tests of stage maps, batches and what stands for attention.

use super::*;
use crate::experts::ExpertKind;

fn stack(racks: &[u32], stages: u32) -> Result<Stack, StackError> {
    let model = Model::preset("deepseek-v3").unwrap();
    let cluster = Cluster::new(racks).unwrap();
    Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Replicated, 1), stages, &cluster)
}

#[test]
fn stages_are_whole_racks_or_equal_parts_of_them() {
    let ranks = |racks: &[u32], stages| -> Vec<Range<u32>> {
        stack(racks, stages).unwrap().stages().iter().map(|stage| stage.ranks.clone()).collect()
    };
    assert_eq!(ranks(&[3, 1, 2], 1), vec![Range { start: 0, end: 6 }]);
    assert_eq!(ranks(&[4, 4], 2), [0..4, 4..8]);
    assert_eq!(ranks(&[4, 2, 4, 2], 2), [0..6, 6..12]);
    assert_eq!(ranks(&[4, 4], 4), [0..2, 2..4, 4..6, 6..8]);
    for (racks, stages) in [(&[4, 2][..], 2), (&[3, 3], 4), (&[4, 4, 4], 2), (&[4], 3)] {
        assert!(matches!(stack(racks, stages), Err(StackError::Racks { .. })), "{racks:?} {stages}");
    }
    assert!(matches!(stack(&[64], 62), Err(StackError::Stages { .. })));
    let four = stack(&[4, 4], 4).unwrap();
    let layers: Vec<_> = four.stages().iter().map(|stage| stage.layers.clone()).collect();
    assert_eq!(layers, [0..16, 16..31, 31..46, 46..61]);
    assert_eq!(
        (four.columns(), four.longest(), four.stage_of(RankId(5)), four.column_of(RankId(5))),
        (2, 16, 2, 1)
    );
    assert_eq!(four.rank_at(4, 1), RankId(1));
    four.validate(&Cluster::new(&[4, 4]).unwrap()).unwrap();
    assert!(four.validate(&Cluster::new(&[8, 8]).unwrap()).is_err());
}

fn chunk(sequence: u32, context: u32, tokens: u32) -> Chunk {
    Chunk { sequence, context, tokens, sample: true }
}

#[test]
fn impossible_batches_are_refused() {
    let batch = |columns: &[&[Chunk]]| StepBatch {
        columns: columns.iter().map(|chunks| Column { chunks: chunks.to_vec(), ended: vec![] }).collect(),
    };
    let good = batch(&[&[chunk(1, 0, 5), chunk(2, 9, 1)], &[]]);
    good.validate(2).unwrap();
    assert_eq!(good.tokens(), 6);
    let load = good.columns[0].load(&Model::preset("deepseek-v3").unwrap().reaches());
    assert_eq!((load.decode.tokens, load.decode.seen[0].entries, load.prefill.seen[0].pairs), (1, 10, 15));
    assert!(matches!(good.validate(3), Err(BatchError::Columns { .. })));
    assert!(matches!(batch(&[&[chunk(1, 0, 0)]]).validate(1), Err(BatchError::Empty { .. })));
    assert!(matches!(
        batch(&[&[chunk(1, 0, 1)], &[chunk(1, 1, 1)]]).validate(2),
        Err(BatchError::Twice { .. })
    ));
    assert!(matches!(batch(&[&[chunk(1, u32::MAX, 1)]]).validate(1), Err(BatchError::Size { .. })));
    assert!(matches!(batch(&[&[chunk(1, 0, u32::MAX)]]).validate(1), Err(BatchError::Size { .. })));
}

/// The last state of a sequence that a layer takes in `parts`, with `spoil` done to the cache before the last one.
fn last_state(parts: &[u32], spoil: impl Fn(&mut KvCache)) -> Vec<f32> {
    let stack = stack(&[2], 1).unwrap();
    let layer = LocalLayer::new(&stack, ExpertKind::Modelled, 3, 0);
    let hidden = stack.model.hidden as usize;
    let mut cache = KvCache::new(1, stack.model.hidden);
    let (mut context, mut last) = (0, Vec::new());
    for (at, &tokens) in parts.iter().enumerate() {
        let chunk = chunk(7, context, tokens);
        let mut states = vec![0.0; tokens as usize * hidden];
        for (id, state) in chunk.ids().zip(states.chunks_exact_mut(hidden)) {
            fill_embedding(5, id, state);
        }
        if at + 1 == parts.len() {
            spoil(&mut cache);
        }
        assert!(layer.run(&[chunk], &mut states, &mut cache, 0).is_none(), "the first layer is dense");
        context += tokens;
        last = states.split_off(states.len() - hidden);
    }
    last
}

#[test]
fn attention_depends_on_every_entry_and_its_place_and_on_no_batching() {
    let whole = last_state(&[6], |_| {});
    assert_eq!(whole, last_state(&[1, 3, 1, 1], |_| {}));
    let width = KV_WIDTH;
    for entry in 0..5 {
        let lost = last_state(&[5, 1], |cache| {
            cache.entries_mut(7, 0).drain(entry * width..(entry + 1) * width);
        });
        assert_ne!(whole, lost, "entry {entry}");
    }
    let swapped = last_state(&[5, 1], |cache| {
        let entries = cache.entries_mut(7, 0);
        for i in 0..width {
            entries.swap(width + i, 2 * width + i);
        }
    });
    assert_ne!(whole, swapped);
    let rms = (whole.iter().map(|x| x * x).sum::<f32>() / whole.len() as f32).sqrt();
    assert!((1.0..3.0).contains(&rms), "{rms}");
}
