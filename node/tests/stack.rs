//! Whole models on the virtual clock: the answers of the reference bit for bit, whatever the batches and the stages.

mod common;

use common::{Stepped, step};
use moe::experts::ExpertKind;
use moe::gate::GateSpec;
use moe::model::{Block, Model, Order};
use moe::placement::{LayerPlacements, Placement};
use moe::plan::DispatchScheme;
use moe::routing::{RecordedLoads, RoutingSpec, Workload};
use moe::stack::{Chunk, Column, Stack, StepBatch, TokenId};
use moe::work::CommonWeights;
use node::program::{Program, StackProgram};
use node::rank::RankError;
use node::seat::SeatError;
use node::setup::Setup;
use node::sim::{SimCluster, SimError};
use node::wire::Phase;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Cluster, Dtype, Hardware, Picos, RankId};

const LATENT: &str = "latent = { heads = 4, kv_lora = 16, qk_nope = 8, qk_rope = 4, v_head = 8 }";
const GROUPED: &str = "grouped = { heads = 4, kv_heads = 2, head_dim = 8 }";

/// `layers` of which the first `dense` have no experts.
fn model(layers: u32, dense: u32, shared: u32, mixer: &str, hidden: u32) -> Model {
    // Every kind is used here; the order asked for comes after.
    let text = format!(
        "name = \"test\"
hidden = {hidden}
vocab = 100
order = {{ layers = {}, runs = [[0, 1], [1, 1]] }}
[[kinds]]
mixers = [{{ {mixer} }}]
blocks = [{{ dense = {{ inter = 48 }} }}]
[[kinds]]
mixers = [{{ {mixer} }}]
[[kinds.blocks]]
routed = {{ experts = 8, top_k = 3, inter = 24, shared_experts = {shared}, shared_inter = 24, gate.kind.softmax = {{ norm_topk = true }} }}
",
        layers.max(2)
    );
    let mut model = Model::from_toml(&text, "test").unwrap();
    let mut kinds: Vec<u16> = (0..layers).map(|layer| u16::from(layer >= dense)).collect();
    if dense == 0 || dense >= layers {
        // A model has no kind that none of its layers is of.
        model.kinds.remove(usize::from(dense > 0));
        kinds.fill(0);
    }
    model.order = Order::of(&kinds);
    model
}

fn setup(model: Model, racks: &[u32], stages: u32, scheme: DispatchScheme) -> Setup {
    let cluster = Cluster::new(racks).unwrap();
    let stack =
        Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Replicated, 1), stages, &cluster).unwrap();
    let program = Program::Stack(StackProgram::linear(stack, &cluster).unwrap());
    let routing = RoutingSpec::Gate;
    let hardware = Hardware::preset("lab").unwrap();
    Setup { scheme, routing, seed: 5, chunk_rows: 2, ..Setup::new(cluster, hardware, program) }
}

/// What is special to a whole model.
fn own(setup: &mut Setup) -> &mut StackProgram {
    let Program::Stack(own) = &mut setup.program else { panic!("a whole model") };
    own
}

fn columns(setup: &Setup) -> u32 {
    setup.program.stack().unwrap().columns()
}

/// Numbers below `sides`, as `dice` fall.
fn roller(mut dice: u64) -> impl FnMut(u32) -> u32 {
    move |sides| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as u32 % sides
    }
}

/// A placement of each layer by itself: experts in any order, up to three of them twice, on the ranks of the layer's stage, all on one
/// of them at times; and now and then that of the layer before.
fn any_placements(stack: &Stack, cluster: &Cluster, dice: u64) -> LayerPlacements {
    let mut roll = roller(dice);
    let mut placements: Vec<Arc<Placement>> = Vec::new();
    for stage in stack.stages() {
        for layer in stage.layers.clone() {
            if layer > stage.layers.start && roll(4) == 0 {
                placements.push(Arc::clone(&placements[layer as usize - 1]));
                continue;
            }
            let mut map: Vec<u32> = (0..stack.model.layer().num_experts).collect();
            for _ in 0..roll(4) {
                map.push(roll(stack.model.layer().num_experts));
            }
            for at in (1..map.len()).rev() {
                map.swap(at, roll(at as u32 + 1) as usize);
            }
            let mut counts = vec![0; cluster.num_ranks() as usize];
            let alone = roll(4) == 0;
            for _ in &map {
                let rank =
                    if alone { stage.ranks.end - 1 } else { stage.ranks.start + roll(stack.columns()) };
                counts[rank as usize] += 1;
            }
            let json = format!(r#"{{"physical_to_logical_map": {map:?}, "slots_per_rank": {counts:?}}}"#);
            let placement =
                Placement::from_json(&json, "any", cluster, stack.model.layer().num_experts).unwrap();
            placements.push(Arc::new(placement));
        }
    }
    LayerPlacements::new(0, placements)
}

/// Sequences that come and go: prompts in chunks, then a token a step, as `dice` fall. A sequence waits for what it asked for, which
/// takes `stages` steps.
fn batches(columns: u32, stages: u32, steps: u32, dice: u64) -> Vec<StepBatch> {
    let mut roll = roller(dice);
    // Sequence: (column, prompt, tokens so far, first step at which it may go on).
    let mut running: BTreeMap<u32, (u32, u32, u32, u32)> = BTreeMap::new();
    let (mut next, mut all) = (0, Vec::new());
    for step in 0..steps {
        let mut batch = StepBatch::empty(columns);
        for column in 0..columns {
            if roll(2) == 0 {
                running.insert(next * 7 + 1, (column, 1 + roll(5), 0, step));
                next += 1;
            }
        }
        for (&sequence, (column, prompt, so_far, from)) in &mut running {
            let Column { chunks, ended } = &mut batch.columns[*column as usize];
            if *from == u32::MAX || *from > step || roll(4) == 0 {
                continue;
            }
            if *so_far > *prompt {
                ended.push(sequence);
                *from = u32::MAX;
                continue;
            }
            let left = prompt.saturating_sub(*so_far);
            let tokens = if left > 0 { 1 + roll(left) } else { 1 };
            let sample = *so_far + tokens >= *prompt;
            chunks.push(Chunk { sequence, context: *so_far, tokens, sample });
            *so_far += tokens;
            *from = if sample { step + stages } else { step + 1 };
        }
        all.push(batch);
    }
    all.extend(vec![StepBatch::empty(columns); stages as usize - 1]);
    all
}

/// Steps a whole run and holds every answer against the reference: the batch of step n is answered `stages` - 1 steps later.
fn check(setup: &Setup, batches: &[StepBatch]) -> Vec<Stepped> {
    let mut sim = SimCluster::new(Arc::new(setup.clone())).unwrap();
    let mut reference = setup.reference().unwrap().unwrap();
    let all = (0..).zip(batches).map(|(number, batch)| step(&mut sim, number, batch).unwrap());
    let steps: Vec<Stepped> = all.collect();
    let answered = steps.iter().skip(setup.program.num_stages() as usize - 1);
    for ((number, batch), step) in (0..).zip(batches).zip(answered) {
        assert_eq!(step.outputs, reference.step(number, batch), "step {number}");
    }
    steps
}

/// What was answered, by token.
fn answers(setup: &Setup, batches: &[StepBatch]) -> BTreeMap<TokenId, Vec<f32>> {
    let steps = check(setup, batches);
    let mut all = BTreeMap::new();
    for (batch, step) in batches.iter().zip(steps.iter().skip(setup.program.num_stages() as usize - 1)) {
        for (column, outputs) in batch.columns.iter().zip(&step.outputs) {
            all.extend(column.ids().zip(outputs.iter().cloned()));
        }
    }
    all
}

fn routings() -> Vec<RoutingSpec> {
    vec![
        RoutingSpec::Gate,
        RoutingSpec::Uniform,
        RoutingSpec::Model,
        RoutingSpec::Loads(RecordedLoads::new([(0, &[9, 8, 8, 9, 8, 8, 9, 9][..])].into_iter()).unwrap()),
        RoutingSpec::Drifting { exponent: 1.0, period: 3 },
        RoutingSpec::Workload { workload: Workload::W2, ranks: 4 },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_step_answers_what_the_reference_does(
        (racks, stages) in proptest::sample::select(vec![
            (vec![1], 1), (vec![2, 3], 1), (vec![2, 2], 1), (vec![2, 2], 2), (vec![4], 2), (vec![2, 2], 4), (vec![1, 2, 1, 2], 2),
        ]),
        scheme in proptest::sample::select(DispatchScheme::ALL.to_vec()),
        routing in proptest::sample::select(routings()),
        more_layers in 0u32..4, dense in 0u32..3, shared in 0u32..3, hidden in 1u32..150, latent in any::<bool>(),
        gemm in any::<bool>(), dice in any::<u64>(), alike in any::<bool>(),
    ) {
        let attention = if latent { LATENT } else { GROUPED };
        let mut model = model(stages.max(dense + 1) + more_layers, dense, shared, attention, hidden);
        if dice % 2 == 0 {
            let shape = model.layer();
            let gate = GateSpec { n_group: 4, topk_group: 2, ..shape.gate };
            model = model.with_experts(shape.num_experts, shape.top_k, gate);
        }
        let mut setup = setup(model, &racks, stages, scheme);
        setup.experts = if gemm { ExpertKind::Gemm } else { ExpertKind::Modelled };
        setup.seed = dice;
        setup.routing = routing;
        if !alike {
            let cluster = setup.cluster.clone();
            let own = own(&mut setup);
            own.placements = any_placements(&own.stack, &cluster, dice);
        }
        let batches = batches(columns(&setup), stages, 5, dice);
        let with = check(&setup, &batches);
        if setup.routing != RoutingSpec::Gate {
            setup.payload = false;
            let mut sim = SimCluster::new(Arc::new(setup)).unwrap();
            for ((number, with), batch) in (0..).zip(&with).zip(&batches) {
                let without = step(&mut sim, number, batch).unwrap();
                prop_assert_eq!(&with.phases, &without.phases, "times and bytes don't depend on values");
                let tokens = |step: &Stepped| step.outputs.iter().map(Vec::len).collect::<Vec<_>>();
                prop_assert_eq!(tokens(with), tokens(&without));
            }
        }
    }
}

/// The same three sequences in two ways: prompts whole or in chunks, alone or together, on other ranks.
fn two_ways(columns: u32) -> [Vec<StepBatch>; 2] {
    let chunk = |sequence, context, tokens| Chunk { sequence, context, tokens, sample: true };
    let batch = |placed: &[(u32, Chunk)]| {
        let mut batch = StepBatch::empty(columns);
        for &(column, chunk) in placed {
            batch.columns[column as usize].chunks.push(chunk);
        }
        batch
    };
    let one = vec![
        batch(&[(0, chunk(1, 0, 6)), (1, chunk(2, 0, 3)), (1, chunk(3, 0, 1))]),
        batch(&[(0, chunk(1, 6, 1)), (1, chunk(2, 3, 1)), (1, chunk(3, 1, 1))]),
        batch(&[(0, chunk(1, 7, 1)), (1, chunk(2, 4, 1)), (1, chunk(3, 2, 1))]),
    ];
    let other = vec![
        batch(&[(1, chunk(1, 0, 2))]),
        batch(&[(1, chunk(1, 2, 3)), (0, chunk(3, 0, 1))]),
        batch(&[(0, chunk(3, 1, 2)), (0, chunk(2, 0, 2)), (1, chunk(1, 5, 1))]),
        batch(&[(0, chunk(2, 2, 3)), (1, chunk(1, 6, 2))]),
    ];
    [one, other]
}

#[test]
fn a_token_is_answered_alike_in_any_batch_on_any_rank_and_by_any_number_of_stages() {
    for (racks, stages) in [(&[2][..], 1), (&[4], 2), (&[2, 2, 2, 2], 4)] {
        let setup = setup(model(4, 1, 1, LATENT, 96), racks, stages, DispatchScheme::Dedup);
        let ways = two_ways(2).map(|mut batches| {
            batches.extend(vec![StepBatch::empty(2); stages as usize - 1]);
            answers(&setup, &batches)
        });
        assert_eq!(ways[0].len(), 16);
        assert_eq!(ways[0], ways[1], "{stages} stages");
    }
    // Stages, too, change when a token is answered and not what.
    let by_stages = [(&[2][..], 1), (&[4], 2), (&[8], 4)].map(|(racks, stages)| {
        let setup = setup(model(4, 1, 1, LATENT, 96), racks, stages, DispatchScheme::Dedup);
        let [mut batches, _] = two_ways(2);
        batches.extend(vec![StepBatch::empty(2); stages as usize - 1]);
        answers(&setup, &batches)
    });
    assert_eq!(by_stages[0], by_stages[1]);
    assert_eq!(by_stages[0], by_stages[2]);
}

#[test]
fn halves_of_a_batch_answer_what_the_whole_does() {
    let setup = setup(model(4, 1, 1, GROUPED, 128), &[2, 2], 1, DispatchScheme::Hierarchical);
    let mut batches = [StepBatch::empty(4), StepBatch::empty(4), StepBatch::empty(4)];
    for sequence in 0..32 {
        let chunk = Chunk { sequence, context: 0, tokens: 3, sample: true };
        let column = sequence as usize % 4;
        batches[0].columns[column].chunks.push(chunk);
        batches[1 + sequence as usize / 16].columns[column].chunks.push(chunk);
    }
    let [whole, halves @ ..] = batches;
    assert_eq!(answers(&setup, &[whole]), answers(&setup, &halves));
}

#[test]
fn a_cache_entry_that_is_lost_or_spoilt_is_caught() {
    let setup = setup(model(3, 1, 1, GROUPED, 64), &[2, 2], 1, DispatchScheme::Hierarchical);
    let chunk = |context, tokens| Chunk { sequence: 9, context, tokens, sample: true };
    let mut batches = [StepBatch::empty(4), StepBatch::empty(4)];
    batches[0].columns[2].chunks.push(chunk(0, 5));
    batches[1].columns[2].chunks.push(chunk(5, 1));
    let run = |spoil: &dyn Fn(&mut Vec<f32>)| {
        let mut sim = SimCluster::new(Arc::new(setup.clone())).unwrap();
        step(&mut sim, 0, &batches[0]).unwrap();
        let width = sim.cache_mut(RankId(2)).unwrap().width();
        assert_eq!(sim.cache_mut(RankId(2)).unwrap().bytes(), 3 * 5 * 4 * width as u64);
        spoil(sim.cache_mut(RankId(2)).unwrap().entries_mut(9, 1));
        Ok::<_, SimError>(step(&mut sim, 1, &batches[1])?.outputs)
    };
    let sound = run(&|_| {}).unwrap();
    let lost = run(&|entries| entries.truncate(entries.len() / 5 * 4)).unwrap_err();
    let SimError::Seat(SeatError::Rank(RankError::Cache { layer: 1, held: 4, context: 5, .. })) = lost else {
        panic!("{lost}")
    };
    assert_ne!(sound, run(&|entries| entries[0] += 1.0).unwrap());
    assert_ne!(sound, run(&|entries| entries.rotate_left(1)).unwrap());
    // Nor does a sequence go on where its cache is not.
    let mut sim = SimCluster::new(Arc::new(setup.clone())).unwrap();
    step(&mut sim, 0, &batches[0]).unwrap();
    let mut moved = StepBatch::empty(4);
    moved.columns[1].chunks.push(chunk(5, 1));
    let error = step(&mut sim, 1, &moved).err().unwrap().to_string();
    assert!(error.starts_with("rank 1 holds 0 tokens of sequence 9 in the cache of layer 0"), "{error}");
}

#[test]
fn stages_that_hold_nothing_idle_and_hops_take_the_time_of_their_bytes() {
    let hidden = 128;
    let setup = setup(model(4, 0, 0, GROUPED, hidden), &[1, 1], 2, DispatchScheme::Flat);
    let mut batch = StepBatch::empty(1);
    batch.columns[0].chunks = vec![Chunk { sequence: 1, context: 0, tokens: 10, sample: true }];
    let steps = check(&setup, &[batch, StepBatch::empty(1)]);
    let busy = |step: &Stepped, rank: usize| {
        let local = step.phases.iter().filter(|(stop, _)| stop.phase == Phase::Local);
        local.map(|(_, reports)| reports[rank].measured.0).sum::<u64>()
    };
    assert!(busy(&steps[0], 0) > 0 && busy(&steps[0], 1) == 0, "the second stage waits");
    assert!(busy(&steps[1], 0) == 0 && busy(&steps[1], 1) > 0, "the first one has nothing more");
    let hop = |step: &Stepped| step.phases.last().unwrap().1.clone();
    assert_eq!(hop(&steps[0])[0].sent_bytes, [(RankId(1), 10 * 2 * u64::from(hidden))]);
    assert_eq!(hop(&steps[1])[1].sent_bytes, [(RankId(0), 4)]);
    let link = setup.fabric.scale_out;
    // Five chunks of two rows, cut by the egress port one after the other.
    let transfer = Picos(link.rate.transfer(2 * 2 * u64::from(hidden)).0 * 5);
    assert_eq!(hop(&steps[0])[1].measured, transfer + link.latency);
}

#[test]
fn the_batches_of_these_tests_mix_prompts_and_decode() {
    let reaches = model(1, 0, 0, GROUPED, 8).reaches();
    let (mut prefill, mut decode, mut ended) = (0, 0, 0);
    for dice in 0..10 {
        for column in batches(3, 2, 8, dice).iter().flat_map(|batch| &batch.columns) {
            prefill += column.load(&reaches).prefill.tokens;
            decode += column.load(&reaches).decode.tokens;
            ended += column.ended.len();
        }
    }
    assert!(prefill > 100 && decode > 50 && ended > 0, "{prefill} {decode} {ended}");
}

#[test]
fn a_step_without_payload_and_a_gate_is_refused() {
    let mut setup = setup(model(2, 0, 0, GROUPED, 64), &[2], 1, DispatchScheme::Flat);
    setup.payload = false;
    let error = SimCluster::new(Arc::new(setup.clone())).unwrap_err().to_string();
    assert!(error.contains("give seeded routing"), "{error}");
}

#[test]
fn what_whole_steps_do_not_compute_of_experts_is_refused() {
    let two = |latent_width, table| {
        let mut changed = model(2, 0, 0, GROUPED, 64);
        for block in changed.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
            if let Block::Routed { latent, gated, hashed, .. } = block {
                (*latent, *gated, *hashed) = (latent_width, false, table);
            }
        }
        setup(changed, &[2], 1, DispatchScheme::Flat)
    };
    let error = |setup: Setup| SimCluster::new(Arc::new(setup)).unwrap_err().to_string();
    assert!(error(two(Some(32), false)).contains("narrower latent width"));
    assert!(error(two(None, true)).contains("a gate scores nothing there"));
    let mut two = Setup { routing: RoutingSpec::Uniform, experts: ExpertKind::Gemm, ..two(None, true) };
    check(&two, &batches(2, 1, 3, 1));
    two.experts = ExpertKind::Modelled;
    check(&two, &batches(2, 1, 3, 1));
}

#[test]
fn tokens_none_of_whose_picks_have_weights_are_answered() {
    let mut passing = model(3, 1, 0, GROUPED, 64);
    for block in passing.kinds.iter_mut().flat_map(|kind| &mut kind.blocks) {
        if let Block::Routed { zero_experts, .. } = block {
            *zero_experts = 40;
        }
    }
    for scheme in DispatchScheme::ALL {
        let setup = Setup { routing: RoutingSpec::Uniform, ..setup(passing.clone(), &[2, 2], 1, scheme) };
        check(&setup, &batches(4, 1, 4, 2));
    }
}

#[test]
fn placements_of_other_layers_or_ranks_are_refused() {
    let sound = setup(model(4, 1, 0, GROUPED, 64), &[2, 2], 2, DispatchScheme::Flat);
    let error = |placements: LayerPlacements| {
        let mut setup = sound.clone();
        own(&mut setup).placements = placements;
        SimCluster::new(Arc::new(setup)).unwrap_err().to_string()
    };
    let Program::Stack(StackProgram { placements, .. }) = &sound.program else { panic!("a whole model") };
    assert_eq!(error(placements.part(0..3)), "placements of layers 0..3 of 4; give one of each layer");
    // Layer 3 is of the second stage, and here on all ranks.
    let everywhere = Arc::new(Placement::linear(&sound.cluster, 8).unwrap());
    let mut placed: Vec<_> = (0..4).map(|layer| Arc::clone(placements.of(layer))).collect();
    placed[3] = everywhere;
    assert_eq!(
        error(LayerPlacements::new(0, placed)),
        "rank 0 hosts experts of stage 1; place them on ranks 2..4"
    );
    let fewer = Placement::linear_on(&sound.cluster, 0..2, 7).unwrap();
    let error = error(LayerPlacements::alike(0..4, fewer));
    assert_eq!(error, "a placement of 7 experts for a layer of 8; make it for this layer");
}
