//! The numbers of a serving run's records, and words for its settings.

use crate::experiment::Column;
use std::sync::LazyLock;

/// Mean, spread and percentiles of one latency.
macro_rules! latency {
    ($key:literal, $words:literal, $mean:ident) => {
        [
            Column::$mean(concat!("mean_", $key, "_ms"), concat!("mean ", $words), "ms"),
            Column::kept(concat!("median_", $key, "_ms"), concat!("median ", $words), "ms"),
            Column::kept(concat!("std_", $key, "_ms"), concat!("standard deviation of ", $words), "ms"),
            Column::kept(concat!("p90_", $key, "_ms"), concat!("p90 ", $words), "ms"),
            Column::kept(concat!("p99_", $key, "_ms"), concat!("p99 ", $words), "ms"),
            Column::kept(concat!("max_", $key, "_ms"), concat!("max ", $words), "ms"),
        ]
    };
}

/// Throughput, prices and what came of requests.
const REQUESTS: [Column; 16] = [
    Column::kept("duration", "duration", "s"),
    Column::kept("completed", "requests answered", ""),
    Column::kept("failed", "requests refused", ""),
    Column::kept("total_input", "tokens of prompts", ""),
    Column::kept("total_output", "tokens of answers", ""),
    Column::kept("request_throughput", "requests", "/s"),
    Column::kept("request_goodput", "requests within the SLO", "/s"),
    Column::shown("output_throughput", "output", "tok/s"),
    Column::kept("total_token_throughput", "prompts and answers", "tok/s"),
    Column::kept("output_throughput_per_rank", "output of a rank", "tok/s"),
    Column::kept("output_throughput_per_user", "output for a user", "tok/s"),
    Column::shown("usd_per_mtok_output", "price of output", "$/Mtok"),
    Column::kept("usd_per_mtok_total", "price of all tokens", "$/Mtok"),
    Column::kept("cache_usd", "price of caches", "$"),
    Column::kept("cache_saved_usd", "saved by caches", "$"),
    Column::kept("cached_share", "prompt tokens from caches, share", ""),
];

/// Steps, stages and memory.
const DEPLOYMENT: [Column; 20] = [
    Column::kept("ranks", "ranks", ""),
    Column::kept("steps", "steps", ""),
    Column::kept("mean_step_ms", "mean step", "ms"),
    Column::shown("mean_batch", "sequences on a train", ""),
    Column::kept("mean_step_tokens", "new tokens of a step", ""),
    Column::kept("max_num_running", "most seated", ""),
    Column::kept("max_num_waiting", "most waiting", ""),
    Column::kept("busy_share", "stages at work, share", ""),
    Column::shown("idle_share", "stages idle, share", ""),
    Column::kept("share.local", "ranks' own work, share", ""),
    Column::kept("share.experts", "experts, share", ""),
    Column::kept("share.all_to_all", "all-to-all, share", ""),
    Column::kept("hop_share", "hops, share", ""),
    Column::kept("weights_gb_per_rank", "weights of a rank", "GB"),
    Column::kept("weights_gb_per_stage", "weights of a stage", "GB"),
    Column::kept("kv_gb_per_rank", "caches of a rank", "GB"),
    Column::kept("memory_use", "memory in use, share", ""),
    Column::kept("over_sim", "measured over simulated", ""),
    Column::kept("memo.total_error", "error of remembered steps", ""),
    Column::kept("usd_per_rank_hour", "price of a rank", "$/h"),
];

/// Of two pools, where prompts have ranks of their own.
const POOLS: [Column; 22] = [
    Column::kept("pools.prefill.ranks", "ranks for prompts", ""),
    Column::kept("pools.decode.ranks", "ranks for answers", ""),
    Column::kept("pools.prefill.busy_share", "stages for prompts at work, share", ""),
    Column::kept("pools.decode.busy_share", "stages for answers at work, share", ""),
    Column::kept("pools.prefill.mean_step_ms", "mean step for prompts", "ms"),
    Column::kept("pools.decode.mean_step_ms", "mean step for answers", "ms"),
    Column::kept("pools.prefill.max_num_waiting", "most waiting for prompts", ""),
    Column::kept("pools.decode.max_num_waiting", "most waiting for answers", ""),
    Column::kept("pools.prefill.memory_use", "memory in use for prompts, share", ""),
    Column::kept("pools.decode.memory_use", "memory in use for answers, share", ""),
    Column::kept("pools.ttft.queue.mean_ms", "mean TTFT: queue", "ms"),
    Column::kept("pools.ttft.prefill.mean_ms", "mean TTFT: prompt", "ms"),
    Column::kept("pools.ttft.wait.mean_ms", "mean TTFT: memory", "ms"),
    Column::kept("pools.ttft.handover.mean_ms", "mean TTFT: handover", "ms"),
    Column::kept("pools.ttft.begin.mean_ms", "mean TTFT: first step", "ms"),
    Column::kept("pools.ttft.queue.p99_ms", "p99 TTFT: queue", "ms"),
    Column::kept("pools.ttft.wait.p99_ms", "p99 TTFT: memory", "ms"),
    Column::kept("pools.handover.mean_bytes", "bytes of a cache", "B"),
    Column::kept("pools.handover.median_ms", "median handover", "ms"),
    Column::kept("pools.handover.p99_ms", "p99 handover", "ms"),
    Column::kept("pools.handover.sender_share", "busiest port sends, share", ""),
    Column::kept("pools.handover.receiver_share", "busiest port receives, share", ""),
];

/// The numbers of a serving run's records.
pub(super) static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let groups: [&[Column]; 8] = [
        &REQUESTS,
        &latency!("queue_wait", "wait", kept),
        &latency!("ttft", "TTFT", shown),
        &latency!("tpot", "TPOT", shown),
        &latency!("itl", "ITL", kept),
        &latency!("e2el", "E2EL", kept),
        &DEPLOYMENT,
        &POOLS,
    ];
    groups.concat()
});

/// Words for settings of a serving run.
pub(super) const WORDS: [Column; 69] = [
    Column::kept("serve.cost", "times", ""),
    Column::kept("serve.top_k", "experts a token", ""),
    Column::kept("serve.racks", "racks", ""),
    Column::kept("serve.ranks_per_rack", "ranks in a rack", ""),
    Column::kept("serve.slots", "expert slots", ""),
    Column::kept("serve.dtype", "weights in", ""),
    Column::kept("serve.kv_dtype", "caches in", ""),
    Column::kept("serve.common_weights", "weights of all tokens", ""),
    Column::kept("serve.memory_share", "memory in use, share", ""),
    Column::kept("serve.mtp_depth", "drafts a step", ""),
    Column::kept("serve.mtp_acceptance", "drafts that hold, share", ""),
    Column::kept("serve.prefill", "prompts computed", ""),
    Column::kept("serve.usd_per_rank_hour", "price of a rank", "$/h"),
    Column::kept("serve.replicas", "replicas", ""),
    Column::kept("prefill.replicas", "replicas for prompts", ""),
    Column::kept("prefill.racks", "racks for prompts", ""),
    Column::kept("prefill.ranks_per_rack", "ranks in a rack for prompts", ""),
    Column::kept("prefill.pp", "pipeline stages for prompts", ""),
    Column::kept("prefill.tp", "tensor parallelism for prompts, ranks", ""),
    Column::kept("prefill.common_weights", "weights of all tokens for prompts", ""),
    Column::kept("prefill.memory_share", "memory in use for prompts, share", ""),
    Column::kept("prefill.micro_batches", "micro-batches for prompts", ""),
    Column::kept("prefill.hop_us", "hop for prompts", "us"),
    Column::kept("prefill.period_ms", "period for prompts", "ms"),
    Column::kept("prefill.max_num_seqs", "prompts of a rank", ""),
    Column::kept("prefill.max_num_batched_tokens", "new tokens of a rank for prompts", ""),
    Column::kept("prefill.chunked_prefill", "prompts in pieces by ranks of their own", ""),
    Column::kept("prefill.queue_max", "most waiting for prompts", ""),
    Column::kept("prefill.block_tokens", "tokens of a block for prompts", ""),
    Column::kept("parallel.ep", "ranks of a stage", ""),
    Column::kept("parallel.pp", "pipeline stages", ""),
    Column::kept("parallel.tp", "tensor parallelism, ranks", ""),
    Column::kept("parallel.micro_batches", "micro-batches", ""),
    Column::kept("parallel.lockstep", "stages in step", ""),
    Column::kept("parallel.hop_us", "hop", "us"),
    Column::kept("scheduler.period_ms", "period", "ms"),
    Column::kept("scheduler.leave", "trains leave", ""),
    Column::kept("scheduler.max_num_seqs", "sequences of a rank", ""),
    Column::kept("scheduler.max_num_batched_tokens", "new tokens of a rank", ""),
    Column::kept("scheduler.chunked_prefill", "prompts in pieces", ""),
    Column::kept("scheduler.queue_max", "most waiting", ""),
    Column::kept("scheduler.block_tokens", "tokens of a block", ""),
    Column::kept("arrivals.kind", "arrivals", ""),
    Column::kept("arrivals.users", "users", ""),
    Column::kept("arrivals.max_concurrency", "users", ""),
    Column::kept("arrivals.trace_file", "trace", ""),
    Column::kept("arrivals.block_tokens", "tokens of a block", ""),
    Column::kept("arrivals.request_rate", "rate of requests", "/s"),
    Column::kept("arrivals.think_time_s", "pause of a user", "s"),
    Column::kept("arrivals.num_prompts", "requests", ""),
    Column::kept("arrivals.duration_s", "requests come for", "s"),
    Column::kept("arrivals.input_len", "tokens of a prompt", ""),
    Column::kept("arrivals.output_len", "tokens of an answer", ""),
    Column::kept("arrivals.tenant_weights", "weights of tenants", ""),
    Column::kept("arrivals.rate_scale", "rate over the trace's", ""),
    Column::kept("arrivals.window_start_s", "trace from", "s"),
    Column::kept("arrivals.window_end_s", "trace to", "s"),
    Column::kept("arrivals.max_input_tokens", "most tokens of a prompt", ""),
    Column::kept("arrivals.max_output_tokens", "most tokens of an answer", ""),
    Column::kept("arrivals.zero_lengths", "empty prompts", ""),
    Column::kept("arrivals.prefixes.num_prefixes", "shared prefixes", ""),
    Column::kept("arrivals.prefixes.prefix_len", "tokens of a prefix", ""),
    Column::kept("arrivals.prefixes.block_tokens", "tokens of a block", ""),
    Column::kept("arrivals.prefixes.zipf", "exponent of prefixes", ""),
    Column::kept("cache.block_tokens", "tokens of a block", ""),
    Column::kept("cache.hbm_share", "HBM for caches, share", ""),
    Column::kept("slo.ttft_ms", "TTFT asked for", "ms"),
    Column::kept("slo.tpot_ms", "TPOT asked for", "ms"),
    Column::kept("slo.e2el_ms", "E2EL asked for", "ms"),
];
