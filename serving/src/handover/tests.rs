//! Properties of two pools: every request comes out once, no memory overflows, every cache crosses whole, and times add up.

use super::*;
use crate::arrivals::{ArrivalError, Arrivals};
use crate::cost::{CostError, StageTime, StepCost, StepShape, StepTimes};
use crate::drive::{Drive, Pool};
use crate::ledger::{Ledger, StageMemory};
use crate::metrics::{Meter, Slo};
use crate::request::Prefix;
use crate::trains::{NoCache, TrainPolicy};
use moe::model::{CacheGrowth, Reach};
use moe::work::{RankLoad, Reaches};
use proptest::prelude::*;
use std::collections::VecDeque;
use topology::Rate;

/// Requests at given times, and how often each was told that it ended.
#[derive(Default)]
struct Listed(VecDeque<Request>, BTreeMap<RequestId, u32>);

impl Arrivals for Listed {
    fn next_at(&mut self) -> Result<Option<Picos>, ArrivalError> {
        Ok(self.0.front().map(|request| request.arrived))
    }

    fn take_next(&mut self) -> Result<Option<Request>, ArrivalError> {
        Ok(self.0.pop_front())
    }

    fn ended(&mut self, id: RequestId, _: Picos) {
        *self.1.entry(id).or_default() += 1;
    }
}

const STEP: u64 = 10_000;

/// A step takes a constant and a picosecond a token.
#[derive(Default)]
struct Linear {
    tokens: u64,
}

impl StepCost for Linear {
    fn step(&mut self, shape: &StepShape) -> Result<StepTimes, CostError> {
        let tokens: u64 = shape.ranks.iter().map(RankLoad::tokens).sum();
        self.tokens += tokens;
        let stage = StageTime { total: Picos(STEP + tokens), ..StageTime::default() };
        Ok(StepTimes { stages: vec![stage], hops: vec![Picos::ZERO] })
    }

    fn name(&self) -> &'static str {
        "linear"
    }
}

/// Bytes of a token's cache.
const BYTES: u64 = 100;

/// Replicas of one rank with room for so many tokens.
fn station(policy: &TrainPolicy, replicas: u32, capacity: u64) -> Station {
    let memory = StageMemory {
        capacity_bytes: capacity * BYTES,
        weights_bytes: 0,
        buffers_bytes: 0,
        kept_bytes: 0,
        cache: CacheGrowth::linear(BYTES as f64),
    };
    let ledger = Ledger::new(vec![memory], 1, policy.block_tokens).unwrap();
    let reaches = Reaches::of([Reach::Full].into_iter());
    Station::new(policy.clone(), ledger, (1, reaches), 1).unwrap().with_replicas(replicas)
}

/// Serves on so many replicas of either pool with so much room each, over a link of `rate` bytes a microsecond.
fn serve(
    policy: &TrainPolicy,
    requests: &[Request],
    (replicas, capacity): ([u32; 2], [u64; 2]),
    rate: u64,
) -> ((Outcome, Ahead), Listed, [u64; 2]) {
    let [prompts, answers] = [0, 1].map(|side| station(policy, replicas[side], capacity[side]));
    let link = LinkSpec { rate: Rate::new(rate * 1_000_000).unwrap(), latency: Picos(7) };
    let routes = Routes::of_single_ranks(BYTES as f64, [1, 1]);
    let way = Handover::new(routes, replicas.map(|count| count as usize), link);
    let (mut first, mut second) = (Linear::default(), Linear::default());
    let drive = Drive {
        pool: Pool { station: answers.of_answers(), cost: &mut second, stages: 1 },
        ahead: Some((Pool { station: prompts.of_prompts(), cost: &mut first, stages: 1 }, way)),
        cache: &mut NoCache,
        meter: Meter::new(Slo::default()),
        progress: &mut |_| (),
        trace: Some(100),
    };
    let mut arrivals = Listed(requests.to_vec().into(), BTreeMap::new());
    let (outcome, ahead) = drive.run(&mut arrivals).unwrap();
    ((outcome, ahead.unwrap()), arrivals, [first.tokens, second.tokens])
}

fn request(id: u64, arrived: u64, input_tokens: u32, output_tokens: u32) -> Request {
    let (id, arrived, prefix) = (RequestId(id), Picos(arrived), Prefix::none());
    Request { id, arrived, input_tokens, output_tokens, tenant: (id.0 % 3) as u32, prefix }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    prop::collection::vec((0_u64..40_000, 1_u32..120, 1_u32..20), 1..60).prop_map(|all| {
        let mut at = 0;
        let one = |(id, (gap, input, output)): (usize, (u64, u32, u32))| {
            at += gap;
            request(id as u64, at, input, output)
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

fn policies() -> impl Strategy<Value = TrainPolicy> {
    (1_u32..6, 6_u32..200, any::<bool>(), 1_u32..20, 1_u32..80).prop_map(
        |(max_num_seqs, max_num_batched_tokens, chunked_prefill, block_tokens, queue_max)| TrainPolicy {
            max_num_seqs,
            max_num_batched_tokens,
            chunked_prefill,
            block_tokens,
            queue_max,
            ..TrainPolicy::default()
        },
    )
}

proptest! {
    #[test]
    fn every_request_comes_out_once_and_every_cache_crosses_whole(
        policy in policies(),
        requests in requests(),
        replicas in [1_u32..4, 1_u32..4],
        capacity in [40_u64..300, 40_u64..300],
        rate in 1_u64..2_000,
    ) {
        let ((outcome, ahead), arrivals, tokens) = serve(&policy, &requests, (replicas, capacity), rate);
        let refused: u64 = outcome.refused.iter().sum();
        prop_assert_eq!(outcome.meter.completed + refused, requests.len() as u64);
        prop_assert!(arrivals.1.len() == requests.len() && arrivals.1.values().all(|&times| times == 1));
        for memory in outcome.memory.iter().chain(&ahead.outcome.memory) {
            prop_assert!(memory.kv_bytes_max <= memory.kv_capacity_bytes);
        }
        // Prompts are computed once, their last tokens twice; each crosses once, with all of its cache.
        let (meter, done) = (&outcome.meter, outcome.meter.completed);
        prop_assert_eq!(tokens, [meter.input_tokens, meter.output_tokens]);
        prop_assert_eq!(ahead.crossed, (done, meter.input_tokens * BYTES));
        // Each part was counted once, and they add up.
        let Parts { queue, prefill, wait, handover, begin } = &ahead.parts;
        let all = [queue, prefill, wait, handover, begin];
        prop_assert!(all.iter().all(|part| part.count() == done));
        let sum: f64 = all.iter().map(|part| part.summary().mean_ms).sum();
        let ttft = meter.ttft.summary().mean_ms;
        prop_assert!((sum - ttft).abs() <= 1e-9 * ttft.max(1e-3), "{} for {}", sum, ttft);
        // No port was faster than its rate.
        prop_assert!(ahead.busiest.iter().all(|busy| busy.0 <= outcome.ended.0));
    }

    #[test]
    fn replicas_of_one_pool_answer_each_request_once(
        policy in policies(), requests in requests(), replicas in 1_u32..5, capacity in 40_u64..300,
    ) {
        let mut cost = Linear::default();
        let drive = Drive {
            pool: Pool { station: station(&policy, replicas, capacity), cost: &mut cost, stages: 1 },
            ahead: None,
            cache: &mut NoCache,
            meter: Meter::new(Slo::default()),
            progress: &mut |_| (),
            trace: None,
        };
        let mut arrivals = Listed(requests.clone().into(), BTreeMap::new());
        let (outcome, _) = drive.run(&mut arrivals).unwrap();
        prop_assert_eq!(outcome.meter.completed + outcome.refused.iter().sum::<u64>(), requests.len() as u64);
        prop_assert!(arrivals.1.values().all(|&times| times == 1));
        prop_assert!(outcome.memory[0].kv_bytes_max <= outcome.memory[0].kv_capacity_bytes);
        prop_assert_eq!(cost.tokens, outcome.meter.input_tokens + outcome.meter.output_tokens - outcome.meter.completed);
    }
}

/// Two prompts of 1000 tokens at once, one on each of two replicas, and one pool of answers with a rank: by hand.
#[test]
fn a_tiny_case_takes_what_is_worked_out_by_hand() {
    let policy = TrainPolicy::default();
    let two = [request(0, 0, 1_000, 3), request(1, 0, 1_000, 3)];
    let prompt = STEP + 1_000;
    // A link without end: a cache takes a picosecond and the latency.
    let ((outcome, ahead), ..) = serve(&policy, &two[..1], ([1, 1], [4_096; 2]), 1_000_000_000_000);
    let ms = |picos: u64| picos as f64 / 1e9;
    assert_eq!(ahead.parts.prefill.summary().max_ms, ms(prompt));
    assert_eq!(ahead.parts.handover.summary().max_ms, ms(1 + 7));
    assert_eq!(outcome.meter.ttft.summary().max_ms, ms(prompt + 8 + STEP + 1));
    assert_eq!(outcome.meter.tpot.summary().mean_ms, ms(STEP + 1));
    assert_eq!(outcome.duration, Picos(prompt + 8 + 3 * (STEP + 1)));
    // At a byte a picosecond, two caches meet at the one port: the second is through 100,000 ps after the first and rides with the next train.
    let ((outcome, ahead), ..) = serve(&policy, &two, ([2, 1], [4_096; 2]), 1_000_000);
    let cache = 1_000 * BYTES;
    assert_eq!(ahead.parts.handover.summary().max_ms, ms(2 * cache + 7));
    let first = prompt + cache + 7 + STEP + 1;
    let second = prompt + 2 * cache + 7;
    // Whoever comes second finds the rank free: the first has had its three tokens by then.
    assert!(second > first + 2 * (STEP + 1));
    assert_eq!(outcome.meter.ttft.summary().max_ms, ms(second + STEP + 1));
    assert_eq!(outcome.duration, Picos(second + 3 * (STEP + 1)));
    // Room for one alone among answers: the second waits for memory until the first has ended, and only then crosses.
    let ((_, ahead), ..) = serve(&policy, &two, ([2, 1], [4_096, 1_040]), 1_000_000);
    assert_eq!(ahead.parts.wait.summary().max_ms, ms(cache + 7 + 3 * (STEP + 1)));
    assert_eq!(ahead.parts.handover.summary().max_ms, ms(cache + 7));
    // Room for one prompt: its memory is held until the cache has crossed, so that the other's begins only then.
    let ((_, ahead), ..) = serve(&policy, &two, ([1, 1], [1_040, 4_096]), 1_000_000);
    assert_eq!(ahead.parts.queue.summary().max_ms, ms(prompt + cache + 7));
}

#[test]
fn what_fits_in_neither_pool_is_refused_by_name() {
    let policy = TrainPolicy::default();
    let requests = [request(0, 0, 500, 1), request(1, 0, 100, 500), request(2, 0, 100, 10)];
    let ((outcome, _), arrivals, _) = serve(&policy, &requests, ([1, 1], [400, 512]), 1_000);
    assert_eq!((outcome.refused, outcome.meter.completed), ([2, 0, 0], 1));
    let said = "request 0: 500 tokens of the prompt, in the ranks for prompts, don't fit in the 400 that a rank has room for";
    assert_eq!(outcome.first_refusal.as_deref(), Some(said));
    assert_eq!(arrivals.1.len(), 3);
}
