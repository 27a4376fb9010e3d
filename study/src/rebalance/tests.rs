use super::*;
use crate::layer::testing::small_spec;
use crate::layer::{self, CompareSpec, LatencyChoice};
use coordinator::sim::SimRunner;
use moe::DispatchScheme;
use moe::placement::{EplbGlobal, RackAware};
use moe::routing::{RoutingSpec, Workload};

/// Two racks of two, with loads that move every step.
fn plan(interval: Option<u32>) -> Rebalancing {
    let spec = CompareSpec { rack_sizes: vec![2, 2], tokens: 4, ..small_spec() };
    let rows = layer::configurations(&spec, &mut Vec::new()).expect("rows");
    let row = rows
        .iter()
        .find(|row| row.cluster.num_racks() == 2 && row.scheme == DispatchScheme::Hierarchical)
        .expect("a row");
    let mut request = layer::request(&spec, row, 7, LatencyChoice::Zero);
    request.setup.routing = RoutingSpec::Workload { workload: Workload::W6, ranks: 4 };
    request.setup.first_step = 3;
    Rebalancing { request, steps: 7, interval, window: 2, alive: Vec::new() }
}

fn own(plan: &mut Rebalancing) -> &mut LayerProgram {
    plan.request.setup.layer_mut().unwrap()
}

#[tokio::test]
async fn outputs_are_those_of_a_run_that_starts_with_the_placement() {
    let segments = rebalance(&mut SimRunner::default(), &plan(Some(3)), &RackAware::default()).await.unwrap();
    let steps: Vec<_> = segments.iter().map(|segment| (segment.first_step, segment.layer_us.len())).collect();
    assert_eq!(steps, [(3, 3), (6, 3), (9, 1)]);
    for segment in &segments {
        let mut fresh = plan(None);
        (fresh.steps, fresh.request.setup.first_step) = (segment.layer_us.len() as u32, segment.first_step);
        own(&mut fresh).placement = Arc::clone(&segment.placement);
        let fresh = rebalance(&mut SimRunner::default(), &fresh, &RackAware::default()).await.unwrap();
        assert_eq!(fresh[0].digests, segment.digests);
        assert_eq!(fresh[0].layer_us, segment.layer_us);
        assert!(fresh[0].moved.is_none());
    }
    let moved = segments[1].moved.expect("the hot spot has moved");
    assert_eq!(moved.bytes, moved.experts * plan(None).request.setup.program.shape().expert_weight_bytes());
    assert!(moved.inter_rack_bytes <= moved.bytes && moved.time_us > 0.0);
    assert!(segments[1].time_us() > segments[1].layer_us.iter().sum());
}

#[tokio::test]
async fn the_same_placement_moves_nothing_and_nonsense_is_refused() {
    let mut same = plan(Some(2));
    same.request.setup.routing = RoutingSpec::Uniform;
    #[derive(Debug)]
    struct Keep(Placement);
    impl PlacementPolicy for Keep {
        fn name(&self) -> &'static str {
            "keep"
        }
        fn help(&self) -> &'static str {
            "what there was"
        }
        fn place(&self, _: &Cluster, _: u32, _: &Demand) -> Result<Placement, PlacementError> {
            Ok(self.0.clone())
        }
    }
    let keep = Keep(Placement::clone(&own(&mut same).placement));
    let segments = rebalance(&mut SimRunner::default(), &same, &keep).await.unwrap();
    assert!(segments.len() == 4 && segments.iter().all(|segment| segment.moved.is_none()));
    let error =
        rebalance(&mut SimRunner::default(), &Rebalancing { steps: 0, ..same }, &keep).await.unwrap_err();
    assert!(error.to_string().starts_with("give at least 1 step"), "{error}");
}

#[tokio::test]
async fn balance_is_better_after_than_before_where_loads_stay() {
    let mut steady = plan(Some(4));
    steady.request.setup.routing = RoutingSpec::Workload { workload: Workload::W2, ranks: 4 };
    own(&mut steady).tokens = vec![64; 4];
    (steady.steps, steady.window) = (8, 4);
    let segments = rebalance(&mut SimRunner::default(), &steady, &EplbGlobal).await.unwrap();
    let mean =
        |segment: &Segment| segment.balancedness.iter().sum::<f64>() / segment.balancedness.len() as f64;
    assert!(mean(&segments[1]) > mean(&segments[0]) + 0.1, "{} {}", mean(&segments[1]), mean(&segments[0]));
}

fn alive(phases: &[(&[u32], &[u32])]) -> Vec<Phase> {
    let set = |ranks: &[u32]| ranks.iter().copied().map(RankId).collect();
    phases.iter().map(|(ranks, dying)| Phase { ranks: set(ranks), dying: set(dying) }).collect()
}

/// The list of NIXL's elastic tests.
const NIXL: [(&[u32], &[u32]); 4] =
    [(&[0, 1], &[]), (&[0, 1, 2, 3], &[]), (&[0, 1, 2, 3], &[2]), (&[0, 3], &[])];

#[tokio::test]
async fn every_token_comes_out_once_with_its_bits_whoever_is_left() {
    // Flat sums don't depend on where experts are.
    let mut whole = plan(None);
    (whole.steps, whole.request.setup.scheme) = (12, DispatchScheme::Flat);
    let mut disturbed = Rebalancing { alive: alive(&NIXL), interval: Some(2), ..whole.clone() };
    let digests = |segments: &[Segment]| {
        let steps = segments.iter().flat_map(|segment| &segment.digests);
        let sorted = |step: &Vec<Vec<u64>>| {
            let mut all: Vec<u64> = step.iter().flatten().copied().collect();
            all.sort_unstable();
            all
        };
        steps.map(sorted).collect::<Vec<_>>()
    };
    let runner = &mut SimRunner::default();
    let expected = digests(&rebalance(runner, &whole, &RackAware::default()).await.unwrap());
    let segments = rebalance(runner, &disturbed, &RackAware::default()).await.unwrap();
    assert_eq!(digests(&segments), expected);
    let ranks = segments.iter().map(|segment| (segment.ranks.len(), segment.after_death));
    let expected_ranks =
        [(2, false), (2, false), (4, false), (4, false), (4, false), (3, true), (2, false), (2, false)];
    assert_eq!(ranks.collect::<Vec<_>>(), expected_ranks);
    // The others too are checked against a reference that knows where experts are.
    for scheme in [DispatchScheme::Dedup, DispatchScheme::Hierarchical] {
        disturbed.request.setup.scheme = scheme;
        rebalance(runner, &disturbed, &RackAware::default()).await.unwrap();
    }
}

#[tokio::test]
async fn only_what_has_no_copy_left_is_read_again() {
    let lost = |slots: u32| async move {
        let mut plan = Rebalancing { alive: alive(&[(&[0, 1, 2, 3], &[3])]), ..plan(None) };
        let racks = plan.request.setup.cluster.clone();
        let shape = own(&mut plan).shape;
        let even = Demand::even(&racks, shape.num_experts);
        own(&mut plan).placement =
            Arc::new(Placement::by(&RackAware::default(), &racks, Some(slots), &even).unwrap());
        let experts = shape.num_experts;
        let segments = rebalance(&mut SimRunner::default(), &plan, &RackAware::default()).await.unwrap();
        (experts, segments[1].moved)
    };
    let (experts, moved) = lost(16).await;
    assert_eq!(experts, 16);
    let moved = moved.expect("what rank 3 alone had is loaded");
    assert_eq!((moved.experts, moved.read_again), (4, 4));
    let (_, moved) = lost(32).await;
    assert_eq!(moved.map_or(0, |moved| moved.read_again), 0);
}

#[tokio::test]
async fn placements_are_made_anew_on_whoever_is_left() {
    for steps in [8, 12] {
        let phases = [(&[0, 1, 2, 3][..], &[][..]), (&[0, 1, 2], &[]), (&[0, 1, 2, 3], &[3])];
        let plan = Rebalancing { alive: alive(&phases), steps, ..plan(Some(2)) };
        for policy in [&RackAware::default() as &dyn PlacementPolicy, &EplbGlobal] {
            let segments = rebalance(&mut SimRunner::default(), &plan, policy).await.unwrap();
            let slots: Vec<_> = segments.iter().map(|segment| segment.placement.num_slots()).collect();
            // 16 experts: 6 slots on each of three ranks.
            assert!(slots.iter().all(|slots| [16, 18].contains(slots)), "{slots:?}");
        }
    }
}
