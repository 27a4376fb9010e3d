//! The published tables, by what the station's trains would take: DeepSeek-V3 in stages on racks of 64 GB200, as
//! `blackboard::pipeline` has it.

use super::*;
use crate::memory::stage_memory;
use crate::trains::TrainPolicy;
use moe::placement::{LayerPlacements, Placement};
use moe::stack::Stack;
use moe::work::{CommonWeights, RankLoad, TokenLoad};
use moe::{DispatchScheme, Model};
use topology::{Cluster, Dtype, Hardware, Picos};

/// DeepSeek-V3 in FP8 on `stages` racks of 64 GB200, weights spread evenly, hops of 20 us: the inputs of the table.
fn section_5(stages: u32) -> (Stack, Hardware, LayerPlacements, Cluster) {
    let cluster = Cluster::uniform(stages, 64).unwrap();
    let model = Model::preset("deepseek-v3").unwrap();
    let stack = Stack::new(model, Dtype::Fp8, Dtype::Fp8, CommonWeights::Even, stages, &cluster).unwrap();
    let rack = Cluster::uniform(1, 64).unwrap();
    let placements = LayerPlacements::alike(0..61, Placement::linear(&rack, 256).unwrap());
    (stack, Hardware::preset("gb200").unwrap(), placements, rack)
}

/// `batch` sequences of `context` tokens on the ranks of a stage, evenly but for the remainder.
fn decode(batch: u64, context: u64) -> StepShape {
    let load = |rank: u64| {
        let sequences = batch / 64 + u64::from(rank < batch % 64);
        let one = TokenLoad::of_sequence(context - 1, 1);
        let decode =
            TokenLoad { tokens: sequences, read: sequences * one.read, pairs: sequences * one.pairs };
        (RankLoad { decode, prefill: TokenLoad::default() }, sequences)
    };
    let (ranks, answers) = (0..64).map(load).unzip();
    StepShape { ranks, answers, ..StepShape::default() }
}

fn analytic(stages: u32) -> (Stack, Hardware, Hops, Analytic) {
    let (stack, hardware, placements, rack) = section_5(stages);
    let links = hardware.links().without_latency();
    let layers =
        Analytic::new(&rack, links, &hardware, stack.shape(), &placements, DispatchScheme::Flat).unwrap();
    let cluster = Cluster::uniform(stages, 64).unwrap();
    let hops = Hops::new(&stack, &cluster, &hardware.fabric(), Some(Picos(20_000_000)));
    (stack, hardware, hops, layers)
}

#[test]
fn the_pipeline_table_within_a_percent() {
    // L, b; for P = 1, 2, 4, 8: stage ms, token latency ms.
    let table = [
        (4_989, 2_400, [(2.132, 2.152), (1.066, 2.172), (0.533, 2.212), (0.267, 2.292)]),
        (32_768, 5_440, [(13.54, 13.56), (6.772, 13.58), (3.386, 13.62), (1.693, 13.70)]),
    ];
    for (context, batch, rows) in table {
        for (stages, (stage_ms, latency_ms)) in [1, 2, 4, 8].into_iter().zip(rows) {
            let (stack, hardware, hops, layers) = analytic(stages);
            let mut cost = Roofline::new(stack, hardware, hops, layers);
            let times = cost.step(&decode(batch, context)).unwrap();
            let total: Picos = times.stages.iter().map(|stage| stage.total).sum();
            let (total_ms, hops_ms) =
                (total.0 as f64 / 1e9, times.hops.iter().copied().sum::<Picos>().0 as f64 / 1e9);
            let mean_ms = total_ms / f64::from(stages);
            assert!(
                (mean_ms / stage_ms - 1.0).abs() < 0.01,
                "P = {stages}: {mean_ms} ms a stage for {stage_ms}"
            );
            let latency = total_ms + hops_ms;
            assert!((latency / latency_ms - 1.0).abs() < 0.01, "P = {stages}: {latency} ms for {latency_ms}");
        }
    }
}

#[test]
fn weights_fall_with_stages_and_caches_do_not() {
    // Weights a rank in GB for P = 1, 2, 4, 8; KV a rank: b L kappa / 64, whatever P.
    for (stages, weights_gb) in [(1, 10.48), (2, 5.24), (4, 2.62), (8, 1.31)] {
        let (stack, hardware, placements, _) = section_5(stages);
        let memory = stage_memory(&stack, &hardware, &placements, &TrainPolicy::default(), 0.0);
        let mean = |of: fn(&crate::ledger::StageMemory) -> u64| {
            memory.iter().map(|stage| of(stage) as f64).sum::<f64>() / f64::from(stages)
        };
        let weights = mean(|stage| stage.weights_bytes) / 1e9;
        assert!((weights / weights_gb - 1.0).abs() < 0.01, "P = {stages}: {weights} GB for {weights_gb}");
        // P micro-batches of b sequences lie in stages of 1/P of the layers.
        let kv = f64::from(stages) * mean(|stage| stage.kv_bytes_per_token) * 2_400.0 / 64.0 * 4_989.0 / 1e9;
        assert!((kv / 6.57 - 1.0).abs() < 0.01, "P = {stages}: {kv} GB");
    }
}

#[test]
fn parts_one_after_the_other_take_longer_by_the_all_to_all() {
    let (stack, hardware, hops, layers) = analytic(1);
    let shape = decode(2_400, 4_989);
    let bound =
        Roofline::new(stack.clone(), hardware.clone(), hops.clone(), layers.clone()).step(&shape).unwrap();
    let mut cost =
        StackCost::new(stack.clone(), hardware.clone(), Overlap::None, hops.clone(), layers.clone());
    let serial = cost.step(&shape).unwrap().stages[0];
    let bound = bound.stages[0].total.0 as f64;
    // Nearly every part is bound by memory, as the whole is: without communication they add up to the bound, but for dense and shared
    // blocks and the head, which a 64th of their weights leaves bound by arithmetic (3%), and the fullest rank's 38 sequences where
    // the mean has 37.5 (0.5%).
    let computing = (serial.local + serial.experts).0 as f64;
    assert!((1.0..1.05).contains(&(computing / bound)), "{computing} of {bound}");
    let mut cost = StackCost::new(stack, hardware, Overlap::TwoBatch, hops, layers);
    let halves = cost.step(&shape).unwrap().stages[0];
    // Weights are read twice, and communication hides.
    assert!(halves.total < halves.local + halves.experts + halves.all_to_all);
    assert!(halves.experts.0 as f64 > 1.9 * serial.experts.0 as f64);
}

#[test]
fn a_ranks_slots_are_counted_layer_by_layer() {
    let (stack, hardware, linear, rack) = section_5(1);
    let weights = |placements: &LayerPlacements| {
        stage_memory(&stack, &hardware, placements, &TrainPolicy::default(), 0.0)[0].weights_bytes
    };
    // One more slot, in even layers on the first rank, in odd ones on the last.
    let more = |layer: u32| {
        let map: Vec<u32> = (0..257).map(|slot| slot % 256).collect();
        let counts: Vec<u32> = (0..64).map(|rank| 4 + u32::from(rank == layer % 2 * 63)).collect();
        let json = format!("{{\"physical_to_logical_map\": {map:?}, \"slots_per_rank\": {counts:?}}}");
        std::sync::Arc::new(Placement::from_json(&json, "test", &rack, 256).unwrap())
    };
    let placements = LayerPlacements::new(0, (0..61).map(more));
    let added = weights(&placements) - weights(&linear);
    // Of 58 layers with experts, 3 to 60, 29 are even.
    assert_eq!(added, 29 * stack.shape().expert_weight_bytes());
}
