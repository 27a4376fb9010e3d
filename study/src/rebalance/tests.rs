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
    Rebalancing { request, steps: 7, interval, window: 2 }
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
        fn place(&self, _: &topology::Cluster, _: u32, _: &Demand) -> Result<Placement, PlacementError> {
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
