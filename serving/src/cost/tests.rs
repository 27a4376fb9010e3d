//! The published tables, by what the station's trains would take: DeepSeek-V3 in stages on racks of 64 GB200, as
//! `blackboard::pipeline` has it.

use super::*;
use crate::memory::{MemoryShares, stage_memory};
use crate::trains::TrainPolicy;
use blackboard::deployment::{Deployment, Mode};
use blackboard::units::{DollarsPerS, Tokens};
use moe::model::Block;
use moe::placement::{LayerPlacements, Placement};
use moe::stack::Stack;
use moe::work::{CommonWeights, Drafts, RankLoad, TokenLoad};
use moe::{DispatchScheme, Model};
use topology::{Cluster, Dtype, Hardware, Picos};

/// DeepSeek-V3 in FP8 on `stages` racks of 64 GB200, weights spread evenly, hops of 20 us: the inputs of the table.
fn section_5(stages: u32) -> (Stack, Hardware, LayerPlacements, Cluster) {
    let cluster = Cluster::uniform(stages, 64).unwrap();
    let model = Model::preset("deepseek-v3").unwrap();
    let stack =
        Stack::new(model, Dtype::Fp8, Dtype::Fp8, (CommonWeights::Even, 1), stages, &cluster).unwrap();
    let rack = Cluster::uniform(1, 64).unwrap();
    let placements = LayerPlacements::alike(0..61, Placement::linear(&rack, 256).unwrap());
    (stack, Hardware::preset("gb200").unwrap(), placements, rack)
}

/// `batch` sequences of `context` tokens on the ranks of a stage, evenly but for the remainder.
fn decode(stack: &Stack, batch: u64, context: u64) -> StepShape {
    let groups = u64::from(stack.groups());
    let load = |group: u64| {
        let sequences = batch / groups + u64::from(group < batch % groups);
        let tokens = 1 + u64::from(stack.drafts);
        let decode = stack.reaches().of_sequence(context - 1, tokens).map(|one| one * sequences);
        (RankLoad { decode, prefill: TokenLoad::default() }, sequences * tokens)
    };
    let (ranks, answers) = (0..groups).map(load).unzip();
    StepShape { ranks, answers, ..StepShape::default() }
}

fn analytic(stages: u32) -> (Stack, Hardware, Hops, Exchange, Analytic) {
    let (stack, hardware, placements, rack) = section_5(stages);
    let fabric = hardware.fabric().without_latency();
    let layers =
        Analytic::new(&rack, fabric, &hardware, stack.shape(), &placements, DispatchScheme::Flat).unwrap();
    let cluster = Cluster::uniform(stages, 64).unwrap();
    let hops = Hops::new(&stack, &cluster, &hardware.fabric(), Some(Picos(20_000_000)));
    let exchange = Exchange::new(1, 7168, fabric.scale_up);
    (stack, hardware, hops, exchange, layers)
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
            let (stack, hardware, hops, exchange, layers) = analytic(stages);
            let shape = decode(&stack, batch, context);
            let mut cost = Roofline::new(stack, hardware, hops, exchange, layers);
            let times = cost.step(&shape).unwrap();
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
        let memory = stage_memory(
            &stack,
            &hardware,
            &placements,
            &TrainPolicy::default(),
            MemoryShares { used: 1.0, kept: 0.0 },
        );
        let mean = |of: fn(&crate::ledger::StageMemory) -> u64| {
            memory.iter().map(|stage| of(stage) as f64).sum::<f64>() / f64::from(stages)
        };
        let weights = mean(|stage| stage.weights_bytes) / 1e9;
        assert!((weights / weights_gb - 1.0).abs() < 0.01, "P = {stages}: {weights} GB for {weights_gb}");
        // P micro-batches of b sequences lie in stages of 1/P of the layers.
        let kv =
            f64::from(stages) * mean(|stage| stage.cache.bytes(1) as u64) * 2_400.0 / 64.0 * 4_989.0 / 1e9;
        assert!((kv / 6.57 - 1.0).abs() < 0.01, "P = {stages}: {kv} GB");
    }
}

#[test]
fn parts_one_after_the_other_take_longer_by_the_all_to_all() {
    let (stack, hardware, hops, exchange, layers) = analytic(1);
    let shape = decode(&stack, 2_400, 4_989);
    let network = (hops.clone(), exchange.clone());
    let mut bound = Roofline::new(stack.clone(), hardware.clone(), hops, exchange, layers.clone());
    let bound = bound.step(&shape).unwrap();
    let mut cost =
        StackCost::new(stack.clone(), hardware.clone(), Overlap::None, network.clone(), layers.clone());
    let serial = cost.step(&shape).unwrap().stages[0];
    let bound = bound.stages[0].total.0 as f64;
    // Nearly every part is bound by memory, as the whole is: without communication they add up to the bound, but for dense and shared
    // blocks and the head, which a 64th of their weights leaves bound by arithmetic (3%), and the fullest rank's 38 sequences where
    // the mean has 37.5 (0.5%).
    let computing = (serial.local + serial.experts).0 as f64;
    assert!((1.0..1.05).contains(&(computing / bound)), "{computing} of {bound}");
    let mut cost = StackCost::new(stack, hardware, Overlap::TwoBatch, network, layers);
    let halves = cost.step(&shape).unwrap().stages[0];
    // Weights are read twice, and communication hides.
    assert!(halves.total < halves.local + halves.experts + halves.all_to_all);
    assert!(halves.experts.0 as f64 > 1.9 * serial.experts.0 as f64);
}

/// Qwen3 with half as many experts that pass a token on.
fn passing() -> Model {
    let mut model = Model::preset("qwen3-235b-a22b").unwrap();
    for block in model.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
        if let Block::Routed { zero_experts, .. } = block {
            *zero_experts = 64;
        }
    }
    model
}

/// DeepSeek-V3 with experts of two matrices on rows of 2048.
fn narrow() -> Model {
    let mut model = Model::preset("deepseek-v3").unwrap();
    for block in model.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
        if let Block::Routed { latent, gated, .. } = block {
            (*latent, *gated) = (Some(2048), false);
        }
    }
    model
}

/// One step by the equations of a whole deployment and by the station's cost of the same ranks.
#[test]
fn a_served_step_is_what_the_roofline_says() {
    let preset = |name| Model::preset(name).unwrap();
    for (model, dtype) in [
        (preset("deepseek-v3"), Dtype::Fp8),
        (preset("gpt-oss-120b"), Dtype::Bf16),
        (preset("llama-4-maverick"), Dtype::Fp8),
        (narrow(), Dtype::Fp8),
        (passing(), Dtype::Fp8),
    ] {
        let name = model.name.as_str();
        for (common, tp, batch, depth) in [
            (CommonWeights::Replicated, 1, 1, 0),
            (CommonWeights::Replicated, 1, 256, 0),
            (CommonWeights::Replicated, 1, 256, 2),
            (CommonWeights::Replicated, 4, 4_096, 1),
            (CommonWeights::Even, 1, 512, 0),
            (CommonWeights::Even, 2, 64, 0),
        ] {
            if depth > 0 && model.mtp_depth == 0 {
                continue;
            }
            let scheme = if batch == 512 { DispatchScheme::Flat } else { DispatchScheme::Hierarchical };
            let cluster = Cluster::uniform(2, 8).unwrap();
            let hardware = Hardware::preset("gb200").unwrap();
            let deployment = Deployment {
                model: model.clone(),
                hardware: hardware.clone(),
                dtype,
                kv_dtype: Dtype::Bf16,
                ranks: 16,
                racks: Some(2),
                stages: 1,
                tp,
                common,
                drafts: Drafts { depth, acceptance: 0.8 },
                memory_share: 1.0,
                micro_batches: None,
                batch: Tokens(batch as f64),
                context: Tokens(20_000.0),
                prompt: Tokens::ZERO,
                scheme,
                tokens_per_rank: None,
                latency: true,
                price: DollarsPerS::per_hour(2.0),
                mode: Mode::Max,
            };
            let told = deployment.estimate().unwrap();
            let stack = Stack::new(model.clone(), dtype, Dtype::Bf16, (common, tp), 1, &cluster).unwrap();
            let stack = stack.with_drafts(depth).unwrap();
            let experts = stack.shape().num_experts;
            let placement = Placement::linear(&cluster, experts).unwrap();
            let placements = LayerPlacements::alike(0..stack.model.num_layers(), placement);
            let fabric = hardware.fabric();
            let layers =
                Analytic::new(&cluster, fabric, &hardware, stack.shape(), &placements, scheme).unwrap();
            let exchange = Exchange::new(tp, stack.model.hidden, fabric.scale_up);
            let hops = Hops::new(&stack, &cluster, &hardware.fabric(), None);
            let shape = decode(&stack, batch, 20_000);
            let step = Roofline::new(stack, hardware, hops, exchange, layers).step(&shape).unwrap();
            let step_ms = step.stages[0].total.0 as f64 / 1e9;
            // Batches that ranks share evenly are the same to both; where they are fewer than ranks the mean rank dispatches less.
            assert!(
                (step_ms / told.step_ms - 1.0).abs() < 0.01,
                "{name} {common:?} {tp} {batch} {depth}: {step_ms} for {told:?}"
            );
        }
    }
}

#[test]
fn a_ranks_slots_are_counted_layer_by_layer() {
    let (stack, hardware, linear, rack) = section_5(1);
    let weights = |placements: &LayerPlacements| {
        stage_memory(
            &stack,
            &hardware,
            placements,
            &TrainPolicy::default(),
            MemoryShares { used: 1.0, kept: 0.0 },
        )[0]
        .weights_bytes
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
