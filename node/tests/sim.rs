//! Whole small layers on the virtual clock, held against the slow references and the port bound.

mod common;

use common::{Stepped, setup, shape, step};
use moe::placement::{Placement, move_traffic, weight_moves};
use moe::plan::{DispatchScheme, plan_traffic};
use moe::reference;
use moe::stack::{Column, StepBatch};
use node::control::PhaseReport;
use node::job::JobRunner;
use node::program::{LayerProgram, MoveProgram, Program};
use node::rank::Event;
use node::seat::{Seat, SeatError};
use node::setup::{PreparedRun, Setup};
use node::sim::{SimCluster, SimError};
use node::wire::{Frame, Phase};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use topology::{Cluster, Picos, RackId, RankId, TrafficMatrix, fluid_bound};

const SCHEMES: [DispatchScheme; 3] =
    [DispatchScheme::Flat, DispatchScheme::Dedup, DispatchScheme::Hierarchical];

fn end(reports: &[PhaseReport]) -> Picos {
    reports.iter().map(|report| report.stamped).max().unwrap()
}

fn matrix(reports: &[PhaseReport]) -> Vec<Vec<(RankId, u64)>> {
    reports.iter().map(|report| report.sent_bytes.clone()).collect()
}

/// A step of a layer.
fn layer(sim: &mut SimCluster, number: u32) -> Result<Stepped, SimError> {
    step(sim, number, &StepBatch::default())
}

/// What is special to a layer.
fn own(setup: &mut Setup) -> &mut LayerProgram {
    setup.layer_mut().unwrap()
}

fn rows(matrix: &TrafficMatrix, cluster: &Cluster) -> Vec<Vec<(RankId, u64)>> {
    cluster.ranks().map(|rank| matrix.sent(rank).collect()).collect()
}

/// Runs a step and checks everything that must hold of any step.
fn check(setup: Setup) -> Stepped {
    let setup = Arc::new(setup);
    let mut sim = SimCluster::new(Arc::clone(&setup)).unwrap();
    let step = layer(&mut sim, 0).unwrap();
    let (runner, own) = (sim.runner(), setup.layer().unwrap());
    let routings: Vec<_> = setup.cluster.ranks().map(|rank| runner.route(0, rank)).collect();
    let (cluster, placement) = (&setup.cluster, &own.placement);
    let plan = plan_traffic(setup.scheme, cluster, placement, &routings, setup.row_bytes());
    for (reports, planned) in [(&step.phases[0].1, &plan.dispatch), (&step.phases[2].1, &plan.combine)] {
        assert_eq!(matrix(reports), rows(planned, cluster));
        assert!(end(reports) >= fluid_bound(planned, cluster, &setup.fabric), "faster than the ports allow");
        assert!(reports.iter().all(|report| report.overtaken == 0));
    }
    if setup.payload {
        let layer = u32::from(own.layer);
        let expected = reference::quantised(
            setup.scheme,
            cluster,
            placement,
            runner.experts(),
            &own.shape,
            setup.seed,
            layer,
            &routings,
        );
        for (rank, (outputs, expected)) in step.outputs.iter().zip(&expected).enumerate() {
            assert_eq!(&outputs.concat(), expected, "outputs of rank {rank}");
        }
        let exact = reference::float64(runner.experts(), &own.shape, setup.seed, layer, &routings);
        // A bound on a mean: of a few values, one that happens to cancel may be further off.
        if expected.iter().map(Vec::len).sum::<usize>() >= 256 {
            assert!(reference::relative_rms_error(&expected, &exact) <= reference::FP8_TOLERANCE);
        }
    }
    step
}

/// When each rank closed each phase, and the outputs.
type Served = (Vec<Vec<Picos>>, Vec<Vec<Vec<f32>>>);

/// One step by the plainest clock there is: always the seat with the earliest time, every frame handed over at once, as `tamper` leaves it.
fn served(setup: Setup, mut tamper: impl FnMut(Frame) -> Frame) -> Result<Served, SeatError> {
    let setup = Arc::new(setup);
    let run = Arc::new(PreparedRun::new(Arc::clone(&setup), 0).unwrap());
    let runner = JobRunner::new(Arc::clone(&setup), 0).unwrap();
    let new = |rank| Seat::new(rank, &run, Picos::ZERO, Picos::ZERO);
    let mut seats: Vec<Seat> = setup.cluster.ranks().map(new).collect();
    let mut outputs = vec![Vec::new(); seats.len()];
    seats.iter_mut().for_each(|seat| seat.prepare(0, 0, Column::default()).unwrap());
    let mut until_quiet = |seats: &mut Vec<Seat>| -> Result<Vec<Picos>, SeatError> {
        let mut closed = vec![Picos::MAX; seats.len()];
        let mut fresh: VecDeque<usize> = (0..seats.len()).collect();
        loop {
            let next =
                seats.iter().enumerate().filter_map(|(at, seat)| Some((seat.poll_timeout()?, at))).min();
            let (now, at) = match (fresh.pop_front(), next) {
                (Some(at), _) => (Picos::ZERO, at),
                (None, Some(next)) => next,
                (None, None) => return Ok(closed),
            };
            while seats[at].deliver(now)?.is_some() {}
            while let Some(mut job) = seats[at].poll_job() {
                let output = runner.run(seats[at].id(), &mut job.work);
                seats[at].handle_done(job.ready + job.charge, job.id, output)?;
            }
            while let Some(frame) = seats[at].poll_transmit(now) {
                seats[frame.destination.0 as usize].handle_arrival(now, tamper(frame))?;
            }
            while let Some(event) = seats[at].poll_event() {
                match event {
                    Event::Prepared => {}
                    Event::Closed { at: time, .. } => closed[at] = time,
                    Event::Finished { outputs: values } => outputs[at] = values,
                }
            }
        }
    };
    until_quiet(&mut seats)?;
    let mut closed = Vec::new();
    for stop in setup.program.stops() {
        seats.iter_mut().try_for_each(|seat| seat.begin(stop))?;
        closed.push(until_quiet(&mut seats)?);
    }
    Ok((closed, outputs))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_small_layer_equals_its_references(
        racks in proptest::collection::vec(1u32..5, 1..4),
        scheme in proptest::sample::select(SCHEMES.to_vec()),
        experts in 1u32..20, pick in 0u32..4, tokens in 0u32..6, hidden in 1u32..200,
        placement in 0u8..4, chunk_rows in 1u32..6, seed in any::<u64>(), latency in 0u64..5_000_000,
    ) {
        let top_k = match pick { 0 => 1, 1 => experts, _ => experts.div_ceil(2) };
        let mut setup = setup(&racks, shape(hidden, experts, top_k, 3), scheme, tokens);
        let placement = match placement {
            0 => Placement::linear(&setup.cluster, experts),
            1 => Placement::round_robin(&setup.cluster, experts),
            2 => Placement::replicated_per_rack(&setup.cluster, experts),
            _ => Placement::one_rack(&setup.cluster, experts, RackId(racks.len() as u32 - 1)),
        }.unwrap();
        own(&mut setup).placement = Arc::new(placement);
        setup.seed = seed;
        setup.chunk_rows = chunk_rows;
        setup.fabric.scale_out.latency = Picos(latency);
        setup.fabric.scale_up.latency = Picos(latency / 3);
        for (at, tokens) in own(&mut setup).tokens.iter_mut().enumerate() {
            *tokens += (seed >> (at % 60)) as u32 & 1;
        }
        let with = check(setup.clone());
        // Nor on the order in which seats are served.
        let (closed, outputs) = served(setup.clone(), |frame| frame).unwrap();
        for (closed, (_, reports)) in closed.iter().zip(&with.phases) {
            prop_assert_eq!(closed, &reports.iter().map(|report| report.stamped).collect::<Vec<_>>());
        }
        prop_assert_eq!(outputs, with.outputs);
        // Times don't depend on the payload.
        setup.payload = false;
        let without = check(setup);
        for (with, without) in with.phases.iter().zip(&without.phases) {
            prop_assert_eq!(with, without);
        }
    }
}

#[test]
fn more_bytes_than_the_credit_still_arrive() {
    for scheme in SCHEMES {
        let mut setup = setup(&[2, 3], shape(64, 8, 4, 3), scheme, 1500);
        own(&mut setup).placement = Arc::new(Placement::one_rack(&setup.cluster, 8, RackId(0)).unwrap());
        setup.chunk_rows = 1;
        setup.fabric.scale_out.latency = Picos(3_700_000);
        check(setup);
    }
}

#[test]
fn real_experts_equal_their_references() {
    for scheme in SCHEMES {
        let mut setup = setup(&[2, 2], shape(96, 8, 4, 40), scheme, 7);
        setup.experts = moe::experts::ExpertKind::Gemm;
        check(setup);
    }
}

/// What each broken row is caught by. Frames that are lost, doubled, swapped or damaged: `tests/faults.rs`.
#[test]
fn a_misrouted_dropped_or_doubled_row_is_caught() {
    let broken = |what: &'static str| {
        let mut armed = true;
        let tampered = move |mut frame: Frame| {
            if !armed || frame.phase != Phase::Dispatch || frame.rows.len() < 2 {
                return frame;
            }
            armed = false;
            match what {
                "dropped row" => drop(frame.rows.pop()),
                "doubled row" => frame.rows[1] = frame.rows[0].clone(),
                _ => {
                    let other = moe::SlotId((frame.rows[0].targets[0].slot.0 + 4) % 8);
                    frame.rows[0].targets[0].slot = other;
                }
            }
            frame
        };
        let setup = setup(&[2, 2], shape(64, 8, 4, 3), DispatchScheme::Dedup, 5);
        served(setup, tampered).err().unwrap().to_string()
    };
    for (what, says) in
        [("dropped row", "rows, "), ("doubled row", "twice"), ("misrouted row", "neither hosts nor forwards")]
    {
        let error = broken(what);
        assert!(error.contains(says), "{what}: {error}");
    }
}

#[test]
fn a_swapped_weight_or_value_changes_the_outputs() {
    let setup = setup(&[2, 2], shape(64, 8, 4, 3), DispatchScheme::Flat, 5);
    let (_, honest) = served(setup.clone(), |frame| frame).unwrap();
    for swap_weights in [true, false] {
        let swapped = |mut frame: Frame| {
            if frame.phase == Phase::Combine && frame.rows.len() >= 2 {
                let (first, rest) = frame.rows.split_at_mut(1);
                if swap_weights {
                    // The expert computed another token's row in place of this one.
                    std::mem::swap(&mut first[0].data, &mut rest[0].data);
                } else {
                    std::mem::swap(&mut first[0].origin.token, &mut rest[0].origin.token);
                }
            }
            frame
        };
        match served(setup.clone(), swapped) {
            Ok((_, outputs)) => assert_ne!(outputs, honest),
            Err(error) => assert!(error.to_string().contains("did not ask for"), "{error}"),
        }
    }
}

/// A run of the moves from a linear to a reversed placement.
fn moving(payload: bool) -> (Setup, Vec<moe::placement::MoveRound>) {
    let run = setup(&[2, 3], shape(96, 10, 2, 640), DispatchScheme::Flat, 0);
    let map: Vec<u32> = (0..10).rev().collect();
    let text = format!("{{\"physical_to_logical_map\": {map:?}}}");
    let after = Placement::from_json(&text, "reversed", &run.cluster, 10).unwrap();
    let own = run.layer().unwrap();
    let rounds = weight_moves(&run.cluster, &own.placement, &after);
    let moves = rounds.iter().map(|round| round.moves.clone()).collect();
    let program = Program::Moves(MoveProgram { shape: own.shape, layer: own.layer, rounds: moves });
    (Setup { chunk_rows: 1, payload, program, ..run }, rounds)
}

#[test]
fn weights_move_over_the_same_ports_round_by_round() {
    let (with, rounds) = moving(true);
    let (without, _) = moving(false);
    let mut real = SimCluster::new(Arc::new(with.clone())).unwrap();
    let mut sized = SimCluster::new(Arc::new(without)).unwrap();
    // 184,320 B an expert are three rows, each with its origin.
    let bytes = with.program.shape().expert_weight_bytes() + 3 * 16;
    for (step, round) in (0..).zip(&rounds) {
        let step_of = |sim: &mut SimCluster| layer(sim, step).unwrap().phases;
        let moved = step_of(&mut real);
        let [(_, reports)] = &moved[..] else { panic!("nothing else runs") };
        let traffic = move_traffic(&with.cluster, &round.moves, bytes);
        assert_eq!(matrix(reports), rows(&traffic, &with.cluster));
        assert!(end(reports) >= fluid_bound(&traffic, &with.cluster, &with.fabric));
        assert_eq!(moved, step_of(&mut sized));
    }
}

#[test]
fn weights_of_another_expert_are_caught() {
    for what in ["not what they are", "did not ask for"] {
        let mut armed = true;
        let tampered = |mut frame: Frame| {
            match what {
                _ if !std::mem::take(&mut armed) => {}
                "did not ask for" => frame.rows[0].origin.sequence += 1,
                _ => frame.rows[0].data = bytes::Bytes::from(vec![0; 64 << 10]).into(),
            }
            frame
        };
        let error = served(moving(true).0, tampered).err().unwrap().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}
