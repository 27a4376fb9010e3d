//! What a serving run yields, in the words of `vllm bench serve` where it has them.

use super::deploy::Deployment;
use super::pool_record::Pools;
use super::spec::ServeSpec;
use blackboard::published::{Asked, Trust, trust};
use serde::{Deserialize, Serialize};
use serving::cost::{MemoCheck, Overlap};
use serving::ledger::StageReport;
use serving::tiers::{CacheReport, TierReport};
use serving::{Outcome, OverTime, Span, Summary};
use std::collections::BTreeMap;

/// Where stages' time went, as shares of the time they worked. Parts that overlap add up to more than 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Attention, dense and shared blocks, head.
    pub local: f64,
    /// Routed experts.
    pub experts: f64,
    /// Dispatch and combine.
    pub all_to_all: f64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServeRecord {
    /// Where times are from: `analytic`, `frames`, `memoised`.
    pub cost: String,
    /// `measured`, `simulated` or `computed`.
    pub clock: String,
    /// From the first request to the last token, s.
    pub duration: f64,
    /// Requests answered.
    pub completed: u64,
    /// Requests refused.
    pub failed: u64,
    /// The first refusal.
    pub first_refusal: Option<String>,
    /// Tokens of answered requests' prompts.
    pub total_input: u64,
    /// Tokens of answers.
    pub total_output: u64,
    /// Answered requests a second.
    pub request_throughput: f64,
    /// Of them, those that keep the SLO; `None` where none is asked.
    pub request_goodput: Option<f64>,
    /// Tokens of answers a second.
    pub output_throughput: f64,
    /// All tokens a second.
    pub total_token_throughput: f64,
    /// All metrics in ms: `mean_ttft_ms` and so on; none of what no request has, as TPOT where no answer has a second token.
    #[serde(flatten)]
    pub times: BTreeMap<String, f64>,
    /// Of a rank.
    pub output_throughput_per_rank: f64,
    /// What a user sees of it: 1 over the mean TPOT; `None` where no answer has a second token.
    #[serde(default)]
    pub output_throughput_per_user: Option<f64>,
    /// Ranks in all.
    pub ranks: u32,
    /// What one costs, $/h, as the experiment says.
    pub usd_per_rank_hour: f64,
    /// Their price over the whole run, by a million tokens of answers.
    pub usd_per_mtok_output: f64,
    /// The same by a million tokens of prompts and answers.
    pub usd_per_mtok_total: f64,
    /// Steps.
    pub steps: u64,
    /// Mean time from a train's departure until the next of the same, ms: of stages and hops.
    pub mean_step_ms: f64,
    /// Sequences on a train, on average.
    pub mean_batch: f64,
    /// New tokens of a step, on average.
    pub mean_step_tokens: f64,
    /// Most sequences aboard at once.
    pub max_num_running: usize,
    /// Most requests that waited at once.
    pub max_num_waiting: usize,
    /// Tokens of prompts that were found in a cache, over all tokens of prompts.
    pub cached_share: f64,
    /// Share of the duration in which a stage worked, the mean over stages.
    pub busy_share: f64,
    /// The rest.
    pub idle_share: f64,
    /// Where stages' time went.
    pub share: Shares,
    /// Hops between stages over all steps' time.
    pub hop_share: f64,
    /// Memory of each stage's fullest rank.
    pub memory: Vec<StageReport>,
    /// Weights on the fullest rank of the fullest stage, GB.
    pub weights_gb_per_rank: f64,
    /// Weights of the fullest stage, GB.
    pub weights_gb_per_stage: f64,
    /// Caches on the fullest rank at the fullest moment, GB.
    pub kv_gb_per_rank: f64,
    /// Memory use of the fullest rank, as a share.
    pub memory_use: f64,
    /// Measured over simulated time of the same steps; `None` where nothing was measured.
    pub over_sim: Option<f64>,
    /// How far remembered steps were off.
    pub memo: Option<MemoCheck>,
    /// What holding and reading caches of ended requests costs, $: the tiers' prices for what they held.
    pub cache_usd: f64,
    /// What computing again what was found there would have cost, $.
    pub cache_saved_usd: f64,
    /// Tiers.
    pub cache: Option<CacheReport>,
    /// What waited, sat and rode over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// What the stages of a pipeline did first; left out for one stage, and where stages go in step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Where prompts have ranks of their own: each pool, the way between them, what first tokens wait for. Steps, stages and memory above are
    /// of the ranks that answer then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pools: Option<Box<Pools>>,
    /// How far it can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// What to know beside.
    pub notes: Vec<String>,
    /// Why it can't be trusted; `None` if it can.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Largest error of remembered steps, all that were checked together.
pub const MEMO_ERROR_MAX: f64 = 0.03;

/// What a record has beside the outcome.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Where times are from, in a word.
    pub cost: &'a str,
    /// Ranks of all pools and replicas.
    pub ranks: u32,
    /// How far remembered steps were off.
    pub memo: Option<MemoCheck>,
    /// Tiers.
    pub cache: Option<CacheReport>,
    /// What the ranks that compute prompts are asked, where they are others.
    pub prompts: Option<Asked>,
}

impl ServeRecord {
    /// The record of `outcome`.
    #[must_use]
    pub fn new(
        spec: &ServeSpec,
        deployment: &Deployment,
        outcome: &Outcome,
        Found { cost, ranks, memo, cache, prompts }: Found<'_>,
    ) -> Self {
        let meter = &outcome.meter;
        let duration = outcome.duration.0 as f64 / 1e12;
        let per_s = |count: u64| if duration > 0.0 { count as f64 / duration } else { 0.0 };
        let share = |part: u64, all: u64| if all > 0 { part as f64 / all as f64 } else { 0.0 };
        let usd = duration / 3600.0 * f64::from(ranks) * spec.serve.usd_per_rank_hour;
        let per_mtok = |tokens: u64| if tokens > 0 { usd / tokens as f64 * 1e6 } else { 0.0 };
        let spent = &outcome.spent;
        let busy = outcome.busy.iter().map(|busy| share(busy.0, outcome.duration.0)).sum::<f64>()
            / outcome.busy.len().max(1) as f64;
        let fullest = outcome.memory.iter().max_by_key(|stage| stage.used_bytes());
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let weights = outcome.memory.iter().map(|stage| stage.weights_bytes).max().unwrap_or(0);
        let refused: u64 = outcome.refused.iter().sum();
        let tpot_ms = meter.tpot.summary().mean_ms;
        let tiers =
            |of: fn(&TierReport) -> f64| cache.iter().flat_map(|cache| &cache.tiers).map(of).sum::<f64>();
        let (cache_usd, cache_saved_usd) =
            (tiers(|tier| tier.hold_usd + tier.read_usd), tiers(|tier| tier.saved_usd));
        let asked: Vec<Asked> = [asked_of(spec, deployment, outcome)].into_iter().chain(prompts).collect();
        Self {
            cost: cost.to_owned(),
            clock: if cost == "analytic" { "computed" } else { "simulated" }.to_owned(),
            duration,
            completed: meter.completed,
            failed: refused,
            first_refusal: outcome.first_refusal.clone(),
            total_input: meter.input_tokens,
            total_output: meter.output_tokens,
            request_throughput: per_s(meter.completed),
            request_goodput: meter.slo().is_asked().then(|| per_s(meter.good)),
            output_throughput: per_s(meter.output_tokens),
            total_token_throughput: per_s(meter.input_tokens + meter.output_tokens),
            times: times(outcome),
            output_throughput_per_rank: per_s(meter.output_tokens) / f64::from(ranks),
            output_throughput_per_user: (tpot_ms > 0.0).then(|| 1e3 / tpot_ms),
            ranks,
            usd_per_rank_hour: spec.serve.usd_per_rank_hour,
            usd_per_mtok_output: per_mtok(meter.output_tokens),
            usd_per_mtok_total: per_mtok(meter.input_tokens + meter.output_tokens),
            steps: outcome.steps,
            mean_step_ms: share((spent.total + spent.hops).0, outcome.steps) / 1e9,
            mean_batch: share(outcome.riders, outcome.steps),
            mean_step_tokens: share(outcome.tokens.iter().sum(), outcome.steps),
            max_num_running: outcome.aboard_max,
            max_num_waiting: outcome.waiting_max,
            cached_share: share(meter.cached_tokens, meter.input_tokens),
            busy_share: busy,
            idle_share: 1.0 - busy,
            share: Shares {
                local: share(spent.local.0, spent.total.0),
                experts: share(spent.experts.0, spent.total.0),
                all_to_all: share(spent.all_to_all.0, spent.total.0),
            },
            hop_share: share(spent.hops.0, (spent.total + spent.hops).0),
            weights_gb_per_rank: gb(weights),
            weights_gb_per_stage: gb(weights) * f64::from(deployment.stack.columns()),
            kv_gb_per_rank: fullest.map_or(0.0, |stage| gb(stage.kv_bytes_max)),
            memory_use: fullest.map_or(0.0, |stage| share(stage.used_bytes(), stage.capacity_bytes)),
            memory: outcome.memory.clone(),
            over_sim: None,
            memo,
            cache_usd,
            cache_saved_usd,
            cache,
            over_time: outcome.over_time.clone(),
            spans: if deployment.stack.num_stages() > 1 { outcome.spans.clone() } else { Vec::new() },
            pools: None,
            trust: Some(trust(&deployment.hardware, &asked)),
            notes: deployment.notes.clone(),
            problem: problem(outcome, memo),
        }
    }

    /// Adds what came of two pools.
    pub(super) fn add_pools(&mut self, pools: Pools) {
        let off = pools.prefill.memo.and_then(|memo| too_far_off(&memo)).map(|off| format!("prefill: {off}"));
        self.problem = self.problem.take().or(off);
        self.pools = Some(Box::new(pools));
    }
}

/// What `outcome` asked of the ranks of `deployment`.
pub(super) fn asked_of(spec: &ServeSpec, deployment: &Deployment, outcome: &Outcome) -> Asked {
    let tokens = outcome.tokens.iter().sum::<u64>() as f64;
    let steps = outcome.steps as f64 * f64::from(deployment.stack.columns());
    let racks = deployment.stage_cluster.rack_sizes();
    Asked {
        overlaps: spec.parallel.overlap != Overlap::None,
        shares_links: deployment.fabric.oversubscription.blocks(),
        ..Asked::layer(&deployment.stack.shape(), racks, (steps > 0.0).then(|| tokens / steps))
    }
}

/// Why `outcome` can't be trusted.
fn problem(outcome: &Outcome, memo: Option<MemoCheck>) -> Option<String> {
    let nothing = (outcome.meter.completed == 0).then(|| {
        let why = outcome.first_refusal.as_deref().unwrap_or("none came");
        format!("no request was answered: {why}")
    });
    nothing.or_else(|| memo.and_then(|memo| too_far_off(&memo)))
}

/// Why remembered steps can't be trusted, if they are too far off.
fn too_far_off(memo: &MemoCheck) -> Option<String> {
    (memo.total_error.abs() > MEMO_ERROR_MAX).then(|| {
        format!(
            "remembered steps are {:+.1}% off in all, more than {:.0}%; give serve.cost = \"frames\"",
            memo.total_error * 100.0,
            MEMO_ERROR_MAX * 100.0
        )
    })
}

/// `mean_ttft_ms`, `p99_itl_ms` and so on.
fn times(outcome: &Outcome) -> BTreeMap<String, f64> {
    let meter = &outcome.meter;
    let metrics = [
        ("queue_wait", &meter.wait),
        ("ttft", &meter.ttft),
        ("tpot", &meter.tpot),
        ("itl", &meter.itl),
        ("e2el", &meter.e2el),
    ];
    let mut times = BTreeMap::new();
    for (metric, distribution) in metrics.into_iter().filter(|(_, distribution)| distribution.count() > 0) {
        let Summary { mean_ms, median_ms, std_ms, p90_ms, p99_ms, max_ms } = distribution.summary();
        for (name, value) in [
            ("mean", mean_ms),
            ("median", median_ms),
            ("std", std_ms),
            ("p90", p90_ms),
            ("p99", p99_ms),
            ("max", max_ms),
        ] {
            times.insert(format!("{name}_{metric}_ms"), value);
        }
    }
    times
}
