//! The emulated ports by themselves: how near to the fluid bound whole traffic patterns come.

mod common;

use common::{fabric, setup, shape, step};
use moe::plan::{DispatchScheme, Targets, plan_traffic};
use moe::stack::StepBatch;
use node::nic::{FlowPeers, Nic, NicConfig, OutRow};
use node::sim::{SimCluster, exchange};
use node::wire::{Flow, Origin, Phase, Row, RowData, TrafficClass};
use proptest::prelude::*;
use std::sync::Arc;
use topology::{Cluster, Picos, RankId, Rate, TrafficMatrix, fluid_bound};

const FLOW: Flow = Flow { cluster: 1, run: 1, epoch: 1, step: 0, micro_batch: 0, layer: 0 };

/// Sends `matrix` in rows of `row_bytes` through one card a rank; returns when the last row is delivered.
fn complete(cluster: &Cluster, matrix: &TrafficMatrix, row_bytes: u64) -> Picos {
    let shared = Arc::new(cluster.clone());
    let config = NicConfig {
        fabric: fabric(),
        class: TrafficClass::Bulk,
        chunk_rows: 1,
        credit_bytes: 16 * row_bytes,
        chunk_bytes: row_bytes,
        horizon: Picos::ZERO,
        resolution: Picos::ZERO,
    };
    let all: Vec<RankId> = cluster.ranks().collect();
    let peers = FlowPeers { to: &all, from: &all };
    let new = |rank| Nic::new(rank, Arc::clone(&shared), &config, FLOW, Phase::Combine, peers);
    let mut nics: Vec<Nic> = cluster.ranks().map(new).collect();
    for from in cluster.ranks() {
        for to in cluster.ranks().filter(|&to| to != from) {
            let mut left = matrix.get(from, to);
            while left > 0 {
                let bytes = left.min(row_bytes);
                left -= bytes;
                let origin = Origin { source: to, token: 0, sequence: 0, position: 0 };
                let data = RowData::Len(u32::try_from(bytes).unwrap());
                let row = Row { origin, targets: Targets::new(), data };
                nics[from.0 as usize].enqueue(to, OutRow { row, ready: Picos::ZERO, release: None });
            }
            nics[from.0 as usize].close(to, Picos::ZERO);
        }
    }
    let mut end = Picos::ZERO;
    while let Some((now, at)) = (0..nics.len()).filter_map(|at| Some((nics[at].poll_timeout()?, at))).min() {
        while let Some((due, frame)) = nics[at].poll_deliver(now) {
            end = end.max(due);
            nics[at].grant(frame.source, frame.charged_bytes(), due);
        }
        while let Some(frame) = nics[at].poll_transmit(now) {
            nics[frame.destination.0 as usize].handle_arrival(now, frame).unwrap();
        }
    }
    assert!(nics.iter().all(|nic| nic.is_idle() && nic.overtaken() == 0));
    end
}

#[test]
fn a_uniform_all_to_all_is_at_the_fluid_bound() {
    for racks in [&[16][..], &[8, 8], &[4, 4, 4, 4]] {
        let cluster = Cluster::new(racks).unwrap();
        let mut matrix = TrafficMatrix::new(16);
        for (from, to) in
            (0..16).flat_map(|from| (0..16).map(move |to| (from, to))).filter(|(from, to)| from != to)
        {
            matrix.add(RankId(from), RankId(to), 1 << 20);
        }
        let bound = fluid_bound(&matrix, &cluster, &fabric());
        let end = complete(&cluster, &matrix, 64 << 10);
        assert!(end >= bound, "{racks:?}: {end:?} is faster than the ports, {bound:?}");
        assert!(end.0 as f64 <= 1.01 * bound.0 as f64, "{racks:?}: {end:?} against {bound:?}");
    }
}

/// What leaves first is handed on first, whichever port it takes: a shell that hands frames on early then keeps none of a slow port's back
/// behind all of a fast one's.
#[test]
fn a_shell_with_a_horizon_is_handed_frames_of_both_ports_in_the_order_of_their_turns() {
    let cluster = Arc::new(Cluster::new(&[2, 2]).unwrap());
    let (fabric, bytes) = (fabric(), 4_096);
    let config = NicConfig {
        fabric,
        class: TrafficClass::Bulk,
        chunk_rows: 1,
        credit_bytes: 64 * bytes,
        chunk_bytes: bytes,
        horizon: Picos(u64::MAX / 4),
        resolution: Picos::ZERO,
    };
    let peers = [RankId(1), RankId(2)];
    let flows = FlowPeers { to: &peers, from: &peers };
    let mut nic = Nic::new(RankId(0), Arc::clone(&cluster), &config, FLOW, Phase::Combine, flows);
    for to in peers {
        for _ in 0..16 {
            let origin = Origin { source: to, token: 0, sequence: 0, position: 0 };
            let data = RowData::Len(u32::try_from(bytes).unwrap());
            let row = Row { origin, targets: Targets::new(), data };
            nic.enqueue(to, OutRow { row, ready: Picos::ZERO, release: None });
        }
        nic.close(to, Picos::ZERO);
    }
    let mut turns = Vec::new();
    while let Some(frame) = nic.poll_transmit(Picos::ZERO) {
        let link = fabric.link(cluster.link_class(RankId(0), frame.destination));
        turns.push(frame.arrive.0 - link.latency.0 - link.rate.transfer(bytes).0);
    }
    assert_eq!(turns.len(), 32);
    assert!(turns.is_sorted(), "{turns:?}");
}

/// All-to-all time of a layer with DeepSeek-V3's rows, and its bound.
fn layer(racks: &[u32], scheme: DispatchScheme, tokens: u32, seed: u64, throttle: u64) -> (f64, f64) {
    let mut setup = setup(racks, shape(7168, 256, 8, 2048), scheme, tokens);
    setup.payload = false;
    setup.seed = seed;
    setup.fabric.scale_out.rate = Rate::new(900_000_000_000 / throttle).unwrap();
    let setup = Arc::new(setup);
    let mut sim = SimCluster::new(Arc::clone(&setup)).unwrap();
    let step = step(&mut sim, 0, &StepBatch::default()).unwrap();
    let routings: Vec<_> = setup.cluster.ranks().map(|rank| sim.runner().route(0, rank)).collect();
    let plan =
        plan_traffic(scheme, &setup.cluster, &setup.layer().unwrap().placement, &routings, setup.row_bytes());
    let end = |phase: usize| step.phases[phase].1.iter().map(|report| report.stamped.0).max().unwrap();
    let bound = |matrix| fluid_bound(matrix, &setup.cluster, &setup.fabric).0;
    ((end(0) + end(2)) as f64, (bound(&plan.dispatch) + bound(&plan.combine)) as f64)
}

#[test]
fn a_realised_moe_matrix_stays_near_its_own_bound() {
    for racks in [&[16][..], &[8, 8]] {
        for (scheme, limit) in [
            (DispatchScheme::Flat, 1.03),
            (DispatchScheme::Dedup, 1.03),
            (DispatchScheme::Hierarchical, 1.10),
        ] {
            for (tokens, seed) in (1..=10).map(|seed| (32, seed)).chain([(128, 1), (512, 1)]) {
                let (time, bound) = layer(racks, scheme, tokens, seed, 8);
                assert!(time >= bound);
                let ratio = time / bound;
                assert!(ratio <= limit, "{racks:?} {scheme} {tokens} tokens seed {seed}: {ratio:.3}");
            }
        }
    }
}

#[test]
fn another_rack_never_makes_the_layer_faster() {
    for scheme in DispatchScheme::ALL {
        for throttle in [2, 8] {
            let times: Vec<f64> =
                (1..=4).map(|racks| layer(&vec![8; racks], scheme, 64, 1, throttle).0).collect();
            assert!(times.is_sorted(), "{scheme} at throttle {throttle}: {times:?}");
        }
    }
}

#[test]
fn an_exchange_in_batches_ends_when_cards_driven_event_by_event_do() {
    let mut matrix = TrafficMatrix::new(12);
    for from in 0..12u32 {
        for to in (0..12).filter(|&to| to != from) {
            matrix.add(RankId(from), RankId(to), u64::from((from * 7 + to * 13) % 11) * 1_500);
        }
    }
    for racks in [&[12][..], &[6, 6], &[5, 4, 3]] {
        let cluster = Cluster::new(racks).unwrap();
        let exchanged = exchange(&cluster, &fabric(), &matrix, 4_000).unwrap();
        assert_eq!(exchanged.end(), complete(&cluster, &matrix, 4_000), "{racks:?}");
        assert!(exchanged.end() >= fluid_bound(&matrix, &cluster, &fabric()));
    }
}

/// When a uniform all-to-all of `bytes` a pair over `racks` racks ends.
fn uniform(racks: u32, ranks: u32, bytes: u64, throttle: u64) -> Picos {
    let cluster = Cluster::uniform(racks, ranks / racks).unwrap();
    let mut matrix = TrafficMatrix::new(ranks);
    for from in cluster.ranks() {
        for to in cluster.ranks().filter(|&to| to != from) {
            matrix.add(from, to, bytes);
        }
    }
    let mut fabric = fabric();
    fabric.scale_out.rate = Rate::new(fabric.scale_up.rate.bytes_per_s() / throttle).unwrap();
    exchange(&cluster, &fabric, &matrix, 16_384).unwrap().end()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn balanced_traffic_takes_longer_with_bytes_throttle_and_racks(
        bytes in 1u64..100_000, more in 0u64..100_000, throttle in 2u64..20, slower in 0u64..20, step in 0usize..4,
    ) {
        let racks = [1, 2, 3, 4, 6, 12][step];
        let at = |racks, bytes, throttle| uniform(racks, 12, bytes, throttle);
        let here = at(racks, bytes, throttle);
        prop_assert!(at(racks, bytes + more, throttle) >= here);
        prop_assert!(at(racks, bytes, throttle + slower) >= here);
        prop_assert!(at([2, 3, 4, 6][step], bytes, throttle) >= here);
    }
}
