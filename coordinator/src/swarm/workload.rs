//! What a swarm's cluster runs: a layer, moves of weights or a small model, with batches, all drawn.

use crate::run::RunRequest;
use moe::Model;
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::ids::ExpertId;
use moe::placement::{LayerPlacements, Placement, WeightMove};
use moe::plan::DispatchScheme;
use moe::routing::RoutingSpec;
use moe::shape::LayerShape;
use moe::stack::{Chunk, Stack, StepBatch};
use moe::work::CommonWeights;
use node::program::{LayerProgram, MoveProgram, Program, StackProgram};
use node::setup::Setup;
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::sync::Arc;
use topology::{Cluster, Dtype, Hardware, RankId};

pub(super) struct Workload {
    pub(super) request: RunRequest,
    /// One a step.
    pub(super) batches: Vec<StepBatch>,
}

const EXPERTS: u32 = 8;

impl Workload {
    pub(super) fn draw(dice: &mut impl RngExt) -> Self {
        let racks: Vec<u32> = (0..dice.random_range(1..=3)).map(|_| dice.random_range(1..=2)).collect();
        let steps = dice.random_range(2..=8);
        let (cluster, program, batches) = match dice.random_range(0..5) {
            0 | 1 => layer(dice, &racks, steps),
            2 => moves(dice, &racks, steps),
            _ => model(dice, steps),
        };
        let hardware = Hardware::preset("lab").expect("a preset");
        let schemes = [DispatchScheme::Flat, DispatchScheme::Dedup, DispatchScheme::Hierarchical];
        let whole = program.stack().is_some();
        let setup = Setup {
            seed: dice.random(),
            scheme: *schemes.choose(dice).expect("there are three"),
            routing: match (whole, dice.random_bool(0.25)) {
                (_, true) => RoutingSpec::Drifting { exponent: 1.0, period: 3 },
                (true, false) => RoutingSpec::Gate,
                (false, false) => RoutingSpec::Uniform,
            },
            chunk_rows: if matches!(program, Program::Moves(_)) { 1 } else { dice.random_range(1..=4) },
            ..Setup::new(cluster, hardware, program)
        };
        Self { request: RunRequest::new(setup), batches }
    }
}

type Drawn = (Cluster, Program, Vec<StepBatch>);

fn shape() -> LayerShape {
    let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
    LayerShape {
        hidden: 128,
        num_experts: EXPERTS,
        top_k: 2,
        expert_inter: 16,
        gate,
        dtype: Dtype::Fp8,
        zero_experts: 0,
        gated: true,
        weight_bits: None,
    }
}

fn layer(dice: &mut impl RngExt, racks: &[u32], steps: usize) -> Drawn {
    let cluster = Cluster::new(racks).expect("small racks");
    let tokens = cluster.ranks().map(|_| dice.random_range(0..6)).collect();
    let placement = Placement::linear(&cluster, EXPERTS).expect("enough experts");
    let program = Program::Layer(LayerProgram::new(shape(), placement, tokens));
    (cluster, program, vec![StepBatch::default(); steps])
}

fn moves(dice: &mut impl RngExt, racks: &[u32], steps: usize) -> Drawn {
    let cluster = Cluster::new(racks).expect("small racks");
    let ranks = cluster.num_ranks();
    let mut round = |_| -> Vec<WeightMove> {
        let pairs = (0..ranks).filter(|_| ranks > 1 && dice.random_bool(0.5));
        let rank = |number: u32| RankId(number % ranks);
        pairs
            .map(|from| WeightMove { from: rank(from), to: rank(from + 1), expert: ExpertId(from % EXPERTS) })
            .collect()
    };
    let rounds = (0..steps).map(&mut round).collect();
    let program = Program::Moves(MoveProgram { shape: shape(), layer: 0, rounds });
    (cluster, program, vec![StepBatch::default(); steps])
}

fn model(dice: &mut impl RngExt, steps: usize) -> Drawn {
    let (stages, columns) = (dice.random_range(1..=3), dice.random_range(1..=2));
    let cluster = Cluster::new(&vec![columns; stages as usize]).expect("small racks");
    let mut model = Model::preset("lab-moe").expect("a preset");
    model.hidden = 64;
    let stack = Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Even, 1), stages, &cluster)
        .expect("a small model");
    let halves = dice.random_range(1..=2);
    let mut program =
        StackProgram { halves, ..StackProgram::linear(stack, &cluster).expect("a small model") };
    if dice.random_bool(0.5) {
        program.placements = replicated(&program.stack, &cluster);
    }
    let batches = batches(dice, (stages, columns), steps);
    (cluster, Program::Stack(program), batches)
}

/// The first rank of a stage has every expert, the others half of them.
fn replicated(stack: &Stack, cluster: &Cluster) -> LayerPlacements {
    let layers = stack.stages().iter().flat_map(|stage| {
        let experts = stack.model.layer().num_experts;
        let held = |rank: RankId| match rank.0.checked_sub(stage.ranks.start) {
            Some(0) => 0..experts,
            Some(_) if stage.ranks.contains(&rank.0) => 0..experts / 2,
            _ => 0..0,
        };
        let map: Vec<u32> = cluster.ranks().flat_map(held).collect();
        let counts: Vec<usize> = cluster.ranks().map(|rank| held(rank).len()).collect();
        let json = format!("{{\"physical_to_logical_map\": {map:?}, \"slots_per_rank\": {counts:?}}}");
        let placement =
            Placement::from_json(&json, "swarm", cluster, experts).expect("every expert is there");
        let placement = Arc::new(placement);
        stage.layers.clone().map(move |_| Arc::clone(&placement))
    });
    LayerPlacements::new(0, layers)
}

/// Prompts, answers a token a step and ends, of sequences that enter when their turn comes: with several stages a sequence has one batch on
/// its way at a time.
fn batches(dice: &mut impl RngExt, (stages, columns): (u32, u32), steps: usize) -> Vec<StepBatch> {
    /// Its number, column, turn and tokens so far.
    struct Sequence(u32, usize, usize, u32);
    let mut live: Vec<Sequence> = Vec::new();
    let mut next = 0;
    let mut batch = |step: usize| {
        let mut batch = StepBatch::empty(columns);
        let turn = step % stages as usize;
        if dice.random_bool(0.7) {
            live.push(Sequence(next, dice.random_range(0..columns as usize), turn, 0));
            next += 1;
        }
        live.retain_mut(|Sequence(sequence, column, of, context)| {
            if *of != turn {
                return true;
            }
            if *context > 0 && dice.random_bool(0.2) {
                batch.columns[*column].ended.push(*sequence);
                return false;
            }
            let tokens = if *context == 0 { dice.random_range(1..=4) } else { 1 };
            let chunk = Chunk { sequence: *sequence, context: *context, tokens, sample: true };
            batch.columns[*column].chunks.push(chunk);
            *context += tokens;
            true
        });
        batch
    };
    (0..steps + stages as usize).map(&mut batch).collect()
}
