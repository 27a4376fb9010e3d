//! Properties of the station: nobody is lost, starved or admitted twice, and memory never overflows.

use super::*;
use crate::arrivals::{ArrivalError, Arrivals};
use crate::books::Outcome;
use crate::cost::{CostError, StageTime, StepCost, StepTimes};
use crate::drive::{Drive, Pool};
use crate::ledger::StageMemory;
use crate::lockstep::{Lockstep, TickTime};
use crate::metrics::{Meter, Slo};
use crate::request::{Prefix, RequestId};
use moe::model::{CacheGrowth, Reach};
use moe::work::Drafts;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// Layers that see everything.
fn reaches() -> Reaches {
    Reaches::of([Reach::Full].into_iter())
}

/// Requests at given times.
struct Listed(VecDeque<Request>);

impl Arrivals for Listed {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        Ok(self.0.front().map(|request| request.arrived))
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        Ok(self.0.pop_front())
    }

    fn ended(&mut self, _: RequestId, _: Picos) {}
}

/// A step costs a constant and so much a token, in every stage.
struct Linear {
    stages: usize,
    /// Steps seen.
    shapes: Vec<StepShape>,
}

const STEP: Picos = Picos(10_000);

impl StepCost for Linear {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        self.shapes.push(shape.clone());
        let tokens: u64 = shape.ranks.iter().map(RankLoad::tokens).sum();
        let total = Picos(STEP.0 + tokens);
        let stages = vec![StageTime { total, ..StageTime::default() }; self.stages];
        Ok(StepTimes { stages, hops: vec![Picos(1); self.stages] })
    }

    fn name(&self) -> &'static str {
        "linear"
    }
}

/// Notes what it is told, and fetches some beginnings late.
#[derive(Default)]
struct Noted {
    admitted: BTreeMap<RequestId, (Picos, u32)>,
    ended: BTreeMap<RequestId, Picos>,
    /// Tokens under way, at most, as the cache sees it.
    held: u64,
    held_max: u64,
}

impl PrefixCache for Noted {
    fn lookup(&mut self, now: Picos, request: &Request) -> (u32, Picos) {
        let cached = if request.id.0.is_multiple_of(3) { request.input_tokens / 2 } else { 0 };
        assert!(self.admitted.insert(request.id, (now, cached)).is_none(), "{} admitted twice", request.id);
        self.held += kv_tokens(request);
        self.held_max = self.held_max.max(self.held);
        (cached, Picos(u64::from(cached) * 1_000))
    }

    fn store(&mut self, now: Picos, request: &Request) {
        assert!(self.ended.insert(request.id, now).is_none(), "{} ended twice", request.id);
        self.held -= kv_tokens(request);
    }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    proptest::collection::vec((0_u64..200_000, 1_u32..200, 1_u32..40, 0_u32..3), 1..60).prop_map(|rows| {
        let mut rows = rows;
        rows.sort_by_key(|row| row.0);
        let number =
            |(id, (at, input_tokens, output_tokens, tenant)): (usize, (u64, u32, u32, u32))| Request {
                id: RequestId(id as u64),
                arrived: Picos(at),
                input_tokens,
                output_tokens,
                tenant,
                prefix: Prefix::none(),
            };
        rows.into_iter().enumerate().map(number).collect()
    })
}

fn policies() -> impl Strategy<Value = TrainPolicy> {
    (
        prop_oneof![Just(None), Just(Some(1e-5)), Just(Some(5e-5))],
        any::<bool>(),
        1_u32..6,
        any::<bool>(),
        any::<bool>(),
        0_u32..60,
        prop_oneof![Just(1_000_000), Just(3)],
    )
        .prop_map(|(period, full, max_num_seqs, chunked_prefill, fair, more, queue_max)| TrainPolicy {
            period_ms: period.map(|ms: f64| ms.max(1e-3)),
            leave: if full && period.is_some() { Leave::WhenFull } else { Leave::OnTime },
            max_num_seqs,
            max_num_batched_tokens: max_num_seqs + more,
            chunked_prefill,
            order: if fair { Order::Fair } else { Order::Fcfs },
            queue_max,
            block_tokens: 16,
        })
}

fn serve(
    policy: &TrainPolicy,
    requests: &[Request],
    (ranks, stages, trains): (u32, usize, u32),
    capacity_tokens: u64,
    cache: &mut Noted,
) -> (Outcome, Vec<StepShape>) {
    let memory = StageMemory {
        capacity_bytes: capacity_tokens,
        weights_bytes: 0,
        buffers_bytes: 0,
        kept_bytes: 0,
        cache: CacheGrowth::linear(1.0),
    };
    let ledger = Ledger::new(vec![memory; stages], ranks, policy.block_tokens).unwrap();
    let station = Station::new(policy.clone(), ledger, (ranks, reaches()), trains).unwrap();
    let mut cost = Linear { stages, shapes: Vec::new() };
    let meter = Meter::new(Slo::default());
    let pool = Pool { station, cost: &mut cost, stages };
    let drive = Drive { pool, ahead: None, cache, meter, progress: &mut |_| (), trace: None };
    let (outcome, _) = drive.run(&mut Listed(requests.to_vec().into())).unwrap();
    (outcome, cost.shapes)
}

proptest! {
    #[test]
    fn every_request_is_answered_once_or_refused(
        policy in policies(),
        requests in requests(),
        size in (1_u32..4, 1_usize..4, 1_u32..4),
        capacity in 32_u64..400,
    ) {
        let mut noted = Noted::default();
        let (outcome, shapes) = serve(&policy, &requests, size, capacity, &mut noted);
        let refused: u64 = outcome.refused.iter().sum();
        prop_assert_eq!(outcome.arrived, requests.len() as u64);
        prop_assert_eq!(outcome.meter.completed + refused, outcome.arrived);
        prop_assert_eq!(outcome.first_refusal.is_some(), refused > 0);
        prop_assert_eq!(noted.ended.len() as u64, outcome.meter.completed);
        prop_assert_eq!(noted.held, 0);
        // Memory: by ranks in the ledger's own report, and over all ranks by what the cache saw.
        for memory in &outcome.memory {
            prop_assert!(memory.kv_bytes_max <= memory.kv_capacity_bytes);
        }
        prop_assert!(noted.held_max <= capacity * u64::from(size.0));
        // Every token that was owed was computed, once.
        let answered = requests.iter().filter(|request| noted.ended.contains_key(&request.id));
        let (mut prompt, mut answer) = (0, 0);
        for request in answered {
            prompt += u64::from(request.input_tokens - noted.admitted[&request.id].1);
            answer += u64::from(request.output_tokens) - 1;
        }
        prop_assert_eq!(outcome.tokens, [answer, prompt]);
        prop_assert_eq!(outcome.meter.itl.count(), answer);
        // No step carries more than its limits.
        for shape in &shapes {
            for load in &shape.ranks {
                prop_assert!(load.tokens() <= u64::from(policy.max_num_batched_tokens));
                prop_assert!(load.decode.tokens <= u64::from(policy.max_num_seqs));
                prop_assert!(policy.chunked_prefill || load.decode.tokens == 0 || load.prefill.tokens == 0);
            }
        }
    }

    #[test]
    fn first_come_is_first_admitted(
        policy in policies(),
        requests in requests(),
        size in (1_u32..4, 1_usize..4, 1_u32..4),
    ) {
        let policy = TrainPolicy { order: Order::Fcfs, queue_max: 1_000, ..policy };
        let mut noted = Noted::default();
        serve(&policy, &requests, size, 300, &mut noted);
        let admitted: Vec<Picos> = noted.admitted.values().map(|rider| rider.0).collect();
        prop_assert!(admitted.is_sorted(), "{:?}", admitted);
    }

    #[test]
    fn the_same_requests_are_served_alike_again(policy in policies(), requests in requests()) {
        let run = || {
            let (outcome, shapes) = serve(&policy, &requests, (2, 2, 2), 300, &mut Noted::default());
            (outcome.duration, outcome.meter.e2el.summary(), shapes)
        };
        prop_assert_eq!(run(), run());
    }
}

fn request(id: u64, arrived: u64, input_tokens: u32, output_tokens: u32) -> Request {
    let (id, arrived, prefix) = (RequestId(id), Picos(arrived), Prefix::none());
    Request { id, arrived, input_tokens, output_tokens, tenant: 0, prefix }
}

/// Every token comes once, in as many rides as drafts that hold leave.
#[test]
fn drafts_that_hold_ride_together() {
    let rides = |acceptance: f64| {
        let policy = TrainPolicy::default();
        let memory = StageMemory {
            capacity_bytes: 10_000,
            weights_bytes: 0,
            buffers_bytes: 0,
            kept_bytes: 0,
            cache: CacheGrowth::linear(1.0),
        };
        let ledger = Ledger::new(vec![memory], 1, policy.block_tokens).unwrap();
        let station = Station::new(policy, ledger, (1, reaches()), 1).unwrap();
        let station = station.with_drafts(Drafts { depth: 3, acceptance }, 1);
        let mut cost = Linear { stages: 1, shapes: Vec::new() };
        let (mut cache, meter) = (NoCache, Meter::new(Slo::default()));
        let pool = Pool { station, cost: &mut cost, stages: 1 };
        let drive = Drive { pool, ahead: None, cache: &mut cache, meter, progress: &mut |_| (), trace: None };
        let request = Request {
            id: RequestId(0),
            arrived: Picos::ZERO,
            input_tokens: 10,
            output_tokens: 102,
            tenant: 0,
            prefix: Prefix::none(),
        };
        let (outcome, _) = drive.run(&mut Listed(vec![request].into())).unwrap();
        assert_eq!(outcome.meter.completed, 1);
        (outcome.steps, cost.shapes.iter().map(|shape| shape.answers[0]).sum::<u64>())
    };
    // The first token comes of the prompt; then one a ride, or four, the last of which has room for one alone.
    assert_eq!(rides(0.0), (102, 1 + 98 * 4 + 3 + 2 + 1));
    assert_eq!(rides(1.0), (1 + 26, 1 + 25 * 4 + 1));
    let half = rides(0.5).0;
    assert!(half > 40 && half < 75, "{half}: 1.875 tokens a ride expected");
}

#[test]
fn a_lone_request_takes_a_ride_a_token() {
    let requests = [request(1, 500, 10, 4)];
    let (outcome, shapes) =
        serve(&TrainPolicy::default(), &requests, (1, 2, 1), 1_000, &mut Noted::default());
    // Two stages, a hop each; the prompt has 10 tokens, then one token a ride.
    let first = 2 * (STEP.0 + 10 + 1);
    let next = 2 * (STEP.0 + 1 + 1);
    assert_eq!(outcome.duration, Picos(first + 3 * next));
    assert_eq!(outcome.meter.ttft.summary().max_ms, first as f64 / 1e9);
    assert_eq!(outcome.meter.tpot.summary().mean_ms, next as f64 / 1e9);
    assert_eq!(outcome.steps, 4);
    let contexts: Vec<u64> =
        shapes.iter().map(|shape| shape.ranks[0].decode.seen[0].entries.saturating_sub(1)).collect();
    assert_eq!(contexts, [0, 10, 11, 12]);
}

#[test]
fn a_train_leaves_every_period_and_whoever_misses_it_waits() {
    let period = 1_000_000_u64;
    let policy = TrainPolicy { period_ms: Some(1e-3), ..TrainPolicy::default() };
    // One comes at a departure and rides along, one just after it and waits a whole period.
    let requests = [request(1, period, 1, 1), request(2, period + 1, 1, 1)];
    let (outcome, _) = serve(&policy, &requests, (1, 1, 1), 1_000, &mut Noted::default());
    let waits = outcome.meter.wait.summary();
    assert_eq!(waits.max_ms, (period - 1) as f64 / 1e9);
    assert_eq!(outcome.duration, Picos(period + STEP.0 + 1 + 1));
}

#[test]
fn a_full_train_may_leave_early() {
    let policy =
        |leave| TrainPolicy { period_ms: Some(1e-3), leave, max_num_seqs: 2, ..TrainPolicy::default() };
    let requests = [request(0, 5, 1, 1), request(1, 7, 1, 1)];
    let wait = |leave| {
        let (outcome, _) = serve(&policy(leave), &requests, (1, 1, 1), 1_000, &mut Noted::default());
        outcome.meter.wait.summary().max_ms
    };
    assert_eq!((wait(Leave::OnTime), wait(Leave::WhenFull)), (1e-3 - 5e-9, 2e-9));
}

#[test]
fn what_never_fits_is_refused_with_its_reason() {
    let policy =
        TrainPolicy { chunked_prefill: false, max_num_batched_tokens: 300, ..TrainPolicy::default() };
    let requests = [request(1, 0, 900, 101), request(2, 0, 500, 1), request(3, 0, 300, 2)];
    let (outcome, _) = serve(&policy, &requests, (1, 1, 1), 1_000, &mut Noted::default());
    assert_eq!((outcome.refused, outcome.meter.completed), ([1, 1, 0], 1));
    let said = "request 1: 1000 tokens of prompt and answer don't fit in the 992 that a rank has room for";
    assert_eq!(outcome.first_refusal.as_deref(), Some(said));
}

/// Answers ticks that take a constant, and checks every batch as a real rank would: caches hold what batches say they do.
fn serve_in_step(
    policy: &TrainPolicy,
    requests: &[Request],
    (ranks, stages, trains): (u32, usize, u32),
) -> (Outcome, BTreeMap<(u32, u32), usize>) {
    let memory = StageMemory {
        capacity_bytes: 400,
        weights_bytes: 0,
        buffers_bytes: 0,
        kept_bytes: 0,
        cache: CacheGrowth::linear(1.0),
    };
    let ledger = Ledger::new(vec![memory; stages], ranks, policy.block_tokens).unwrap();
    let station = Station::new(policy.clone(), ledger, (ranks, reaches()), trains).unwrap();
    let mut arrivals = Listed(requests.to_vec().into());
    let (mut cache, mut quiet) = (NoCache, |_| ());
    let meter = Meter::new(Slo::default());
    let mut run = Lockstep::new(station.with_batches(), meter, &mut cache, &mut quiet, ranks, stages);
    let (mut cached, mut home, mut computed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    while let Some(batch) = run.next(&mut arrivals).unwrap() {
        batch.validate(ranks).unwrap();
        for (rank, column) in batch.columns.iter().enumerate() {
            for ended in &column.ended {
                assert_eq!((cached.remove(ended).is_some(), home.remove(ended)), (true, Some(rank)));
            }
            for chunk in &column.chunks {
                assert_eq!(cached.get(&chunk.sequence).copied().unwrap_or(0), chunk.context, "{chunk:?}");
                assert_eq!(*home.entry(chunk.sequence).or_insert(rank), rank, "{chunk:?}");
                cached.insert(chunk.sequence, chunk.context + chunk.tokens);
                for id in chunk.ids() {
                    *computed.entry((id.sequence, id.position)).or_insert(0) += 1;
                }
            }
        }
        run.done(TickTime { total: STEP, ..TickTime::default() }, &mut arrivals).unwrap();
    }
    (run.close(), computed)
}

proptest! {
    #[test]
    fn stages_in_step_compute_every_token_once_on_its_rank(
        policy in policies(),
        requests in requests(),
        size in (1_u32..4, 1_usize..4, 1_u32..4),
    ) {
        let policy = TrainPolicy { queue_max: 1_000, ..policy };
        let (outcome, computed) = serve_in_step(&policy, &requests, size);
        let refused: u64 = outcome.refused.iter().sum();
        prop_assert_eq!(outcome.meter.completed + refused, requests.len() as u64);
        prop_assert!(computed.values().all(|&times| times == 1));
        let owed = outcome.meter.input_tokens + outcome.meter.output_tokens - outcome.meter.completed;
        prop_assert_eq!(computed.len() as u64, owed);
    }
}
