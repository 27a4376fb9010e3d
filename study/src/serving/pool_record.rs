//! What a run of two pools yields beside its requests: each pool's steps and memory, the way of the caches, what first tokens waited for.

use super::pools::Ready;
use serde::{Deserialize, Serialize};
use serving::cost::MemoCheck;
use serving::handover::{Ahead, Parts};
use serving::ledger::StageReport;
use serving::{Outcome, Summary};
use topology::Picos;

/// One of two pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Like deployments.
    pub replicas: u32,
    /// Ranks of all of them.
    pub ranks: u32,
    /// Share of the duration in which a stage worked, the mean over stages and replicas.
    pub busy_share: f64,
    /// Steps.
    pub steps: u64,
    /// Mean step, ms: of stages and hops.
    pub mean_step_ms: f64,
    /// Sequences on a train, on average.
    pub mean_batch: f64,
    /// New tokens of a step, on average.
    pub mean_step_tokens: f64,
    /// Most sequences aboard at once, all replicas.
    pub max_num_running: usize,
    /// Most that waited for a place at once: in the queue, or with a prompt that was done.
    pub max_num_waiting: usize,
    /// Memory of each stage's fullest rank.
    pub memory: Vec<StageReport>,
    /// Memory use of the fullest rank, as a share.
    pub memory_use: f64,
    /// How far remembered steps were off.
    pub memo: Option<MemoCheck>,
}

/// Caches on their way from pool to pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandoverRecord {
    /// Caches that crossed.
    pub caches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of one, on average.
    pub mean_bytes: f64,
    /// From a place in the second pool until all of the cache has come.
    #[serde(flatten)]
    pub times: Summary,
    /// Most on their way at once.
    pub max_under_way: usize,
    /// Share of the duration in which the busiest port sent.
    pub sender_share: f64,
    /// In which the busiest port received.
    pub receiver_share: f64,
}

/// What a first token waits for, one after the other: they add up to TTFT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TtftParts {
    /// For a place in the pool of prompts.
    pub queue: Summary,
    /// For the prompt.
    pub prefill: Summary,
    /// For a place, with memory, in the pool of answers.
    pub wait: Summary,
    /// For the cache.
    pub handover: Summary,
    /// For the next train and its step.
    pub begin: Summary,
}

impl TtftParts {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &Summary); 5] {
        let Self { queue, prefill, wait, handover, begin } = self;
        [
            ("queue", queue),
            ("prefill", prefill),
            ("memory", wait),
            ("handover", handover),
            ("first step", begin),
        ]
    }
}

/// Two pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pools {
    /// That computes prompts.
    pub prefill: PoolRecord,
    /// That computes answers.
    pub decode: PoolRecord,
    /// The way from one to the other.
    pub handover: HandoverRecord,
    /// Where times to the first token go.
    pub ttft: TtftParts,
}

/// Of a mean TTFT, the share from which on a part of it is what is short.
const SHORT: f64 = 0.1;

impl Pools {
    /// What first tokens wait for most, in words: `prompts`, `answers` or `links` are short, or none.
    #[must_use]
    pub fn short(&self) -> &'static str {
        let TtftParts { queue, wait, handover, .. } = &self.ttft;
        let all = self.ttft.named().iter().map(|(_, part)| part.mean_ms).sum::<f64>();
        let waits = [
            (queue.mean_ms, "ranks for prompts are short: requests wait for them longest"),
            (
                wait.mean_ms,
                "ranks for answers are short: prompts that are done wait for their places and memory longest",
            ),
            (handover.mean_ms, "links are short: caches on their way are waited for longest"),
        ];
        let longest = waits.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
        if longest.0 > SHORT * all { longest.1 } else { "nothing is short: no wait is a tenth of TTFT" }
    }

    /// Of `outcome`, ahead of which were `prompts`; `memos` of both, prompts first.
    pub(super) fn new(
        (prompts, answers): (&Ready, &Ready),
        (ahead, outcome): (&Ahead, &Outcome),
        memos: [Option<MemoCheck>; 2],
    ) -> Self {
        let share = |time: Picos| ratio(time.0, outcome.duration.0);
        let Parts { queue, prefill, wait, handover, begin } = &ahead.parts;
        let (caches, bytes) = ahead.crossed;
        Self {
            prefill: PoolRecord::new(prompts, (&ahead.outcome, outcome.duration), memos[0]),
            decode: PoolRecord {
                max_num_waiting: ahead.waiting_max,
                ..PoolRecord::new(answers, (outcome, outcome.duration), memos[1])
            },
            handover: HandoverRecord {
                caches,
                bytes,
                mean_bytes: ratio(bytes, caches),
                times: handover.summary(),
                max_under_way: ahead.under_way_max,
                sender_share: share(ahead.busiest[0]),
                receiver_share: share(ahead.busiest[1]),
            },
            ttft: TtftParts {
                queue: queue.summary(),
                prefill: prefill.summary(),
                wait: wait.summary(),
                handover: handover.summary(),
                begin: begin.summary(),
            },
        }
    }
}

fn ratio(part: u64, all: u64) -> f64 {
    if all > 0 { part as f64 / all as f64 } else { 0.0 }
}

impl PoolRecord {
    fn new(ready: &Ready, (outcome, duration): (&Outcome, Picos), memo: Option<MemoCheck>) -> Self {
        let busy = outcome.busy.iter().map(|busy| ratio(busy.0, duration.0)).sum::<f64>();
        let fullest = outcome.memory.iter().map(|stage| ratio(stage.used_bytes(), stage.capacity_bytes));
        let spent = &outcome.spent;
        Self {
            replicas: ready.spec.serve.replicas,
            ranks: ready.ranks(),
            busy_share: busy / outcome.busy.len().max(1) as f64,
            steps: outcome.steps,
            mean_step_ms: ratio((spent.total + spent.hops).0, outcome.steps) / 1e9,
            mean_batch: ratio(outcome.riders, outcome.steps),
            mean_step_tokens: ratio(outcome.tokens.iter().sum(), outcome.steps),
            max_num_running: outcome.aboard_max,
            max_num_waiting: outcome.waiting_max,
            memory_use: fullest.fold(0.0, f64::max),
            memory: outcome.memory.clone(),
            memo,
        }
    }
}
