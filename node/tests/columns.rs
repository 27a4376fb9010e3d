//! Layers without values are told in columns: every number that a rank reports is the event clock's.

mod common;

use common::{Stepped, setup, shape, step};
use moe::placement::Placement;
use moe::plan::DispatchScheme;
use moe::routing::RoutingSpec;
use moe::stack::StepBatch;
use node::setup::Setup;
use node::sim::SimCluster;
use node::trace::Tracing;
use proptest::prelude::*;
use std::sync::Arc;
use topology::{A2aLinks, Fabric, LinkSpec, Oversubscription, PhaseLinks, Picos, RackId, Rate};

/// Two steps.
fn steps(setup: Setup) -> [Stepped; 2] {
    let mut sim = SimCluster::new(Arc::new(setup)).unwrap();
    [0, 1].map(|number| step(&mut sim, number, &StepBatch::default()).unwrap())
}

/// The same on the event clock, as what is traced goes by it; here that is none of the steps.
fn by_events(setup: Setup) -> [Stepped; 2] {
    steps(Setup { tracing: Some(Tracing { every: 1, first_step: 9, steps: 0 }), ..setup })
}

fn link() -> impl Strategy<Value = LinkSpec> {
    // Without latency, as short as a row, and longer than all rows.
    let latency = prop_oneof![Just(0), 1..2_000u64, 2_000..9_000_000u64];
    (1_000_000_000..1_000_000_000_000u64, latency)
        .prop_map(|(rate, latency)| LinkSpec { rate: Rate::new(rate).unwrap(), latency: Picos(latency) })
}

fn fabric() -> impl Strategy<Value = Fabric> {
    let ratio = prop_oneof![Just(1.0), 1.0..8.0f64];
    (link(), link(), ratio).prop_map(|(scale_up, scale_out, ratio)| {
        let oversubscription = Oversubscription::new(ratio).unwrap();
        Fabric { oversubscription, ..Fabric::new(scale_up, scale_out) }
    })
}

/// As measured kernels have it: other links for each phase, and least times.
fn kernels() -> impl Strategy<Value = Option<A2aLinks>> {
    let links =
        || (fabric(), 0..2_000_000u64).prop_map(|(fabric, floor)| PhaseLinks { fabric, floor: Picos(floor) });
    prop::option::of((links(), links()).prop_map(|(dispatch, combine)| A2aLinks { dispatch, combine }))
}

prop_compose! {
    /// Any racks, ranks with many tokens and with none, experts that are liked and others.
    fn layers()(
        racks in prop::collection::vec(1u32..8, 1..5),
        scheme in prop::sample::select(vec![
            DispatchScheme::Flat, DispatchScheme::Dedup, DispatchScheme::Hierarchical,
        ]),
        experts in 1u32..40, pick in 1u32..9, hidden in 1u32..300, placement in 0u8..4,
        tokens in prop::collection::vec(prop_oneof![Just(0), 1..20u32, 20..200u32], 28),
    )(
        routing in prop_oneof![
            Just(RoutingSpec::Uniform), (0.0..3.0f64).prop_map(|exponent| RoutingSpec::Zipf { exponent }),
        ],
        fabric in fabric(), kernels in kernels(), chunk_rows in 1u32..20, seed in any::<u64>(),
        racks in Just(racks), scheme in Just(scheme), tokens in Just(tokens),
        (experts, top_k, hidden, placement) in Just((experts, pick.min(experts), hidden, placement)),
    ) -> Setup {
        let mut setup = setup(&racks, shape(hidden, experts, top_k, 3), scheme, 0);
        let cluster = &setup.cluster;
        let tokens = tokens[..cluster.num_ranks() as usize].to_vec();
        let placement = match placement {
            0 => Placement::linear(cluster, experts),
            1 => Placement::round_robin(cluster, experts),
            2 => Placement::replicated_per_rack(cluster, experts),
            _ => Placement::one_rack(cluster, experts, RackId(racks.len() as u32 - 1)),
        };
        let placement = Arc::new(placement.unwrap());
        let own = setup.layer_mut().unwrap();
        (own.tokens, own.placement) = (tokens, placement);
        Setup { fabric, kernels, routing, chunk_rows, seed, payload: false, ..setup }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn what_ranks_report_is_what_they_report_on_the_event_clock(setup in layers()) {
        for (told, expected) in steps(setup.clone()).into_iter().zip(by_events(setup)) {
            prop_assert_eq!(told.phases, expected.phases);
            prop_assert_eq!(told.outputs, expected.outputs);
        }
    }
}
