//! A serving run for people: the block of `vllm bench serve`, then what that one can't know.

use super::pool_record::{PoolRecord, Pools};
use super::record::ServeRecord;
use serving::Summary;
use std::fmt::Write;

/// Width of the block.
const WIDTH: usize = 50;

/// The block of one run.
#[must_use]
pub fn block(record: &ServeRecord) -> String {
    let mut text = record.pools.as_deref().map(answer).unwrap_or_default();
    text.push_str(&heading("Serving Benchmark Result", '='));
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<40} {value:<10}");
    };
    line("Successful requests:", record.completed.to_string());
    if record.failed > 0 {
        line("Failed requests:", record.failed.to_string());
    }
    line("Benchmark duration (s):", format!("{:.2}", record.duration));
    line("Total input tokens:", record.total_input.to_string());
    line("Total generated tokens:", record.total_output.to_string());
    line("Request throughput (req/s):", format!("{:.2}", record.request_throughput));
    if let Some(goodput) = record.request_goodput {
        line("Request goodput (req/s):", format!("{goodput:.2}"));
    }
    line("Output token throughput (tok/s):", format!("{:.2}", record.output_throughput));
    line("Total token throughput (tok/s):", format!("{:.2}", record.total_token_throughput));
    for (title, metric, label) in [
        ("Queue Wait", "queue_wait", "wait"),
        ("Time to First Token", "ttft", "TTFT"),
        ("Time per Output Token (excl. 1st token)", "tpot", "TPOT"),
        ("Inter-token Latency", "itl", "ITL"),
        ("End-to-end Latency", "e2el", "E2EL"),
    ] {
        text.push_str(&heading(title, '-'));
        for (name, of) in [("Mean", "mean"), ("Median", "median"), ("P99", "p99"), ("Max", "max")] {
            let value = record.times.get(&format!("{of}_{metric}_ms"));
            let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let _ = writeln!(text, "{:<40} {value:<10}", format!("{name} {label} (ms):"));
        }
    }
    text.push_str(&yard(record));
    text.push_str(&record.pools.as_deref().map(pools).unwrap_or_default());
    text.push_str(&"=".repeat(WIDTH));
    text.push('\n');
    if let Some(trust) = &record.trust {
        let _ = writeln!(text, "trust: {}", trust.text);
    }
    for note in &record.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(refusal) = &record.first_refusal {
        let _ = writeln!(text, "refused: {} requests, the first: {refusal}", record.failed);
    }
    if let Some(problem) = &record.problem {
        let _ = writeln!(text, "NOT TO BE TRUSTED: {problem}");
    }
    text
}

/// What a benchmark from outside can't know.
fn yard(record: &ServeRecord) -> String {
    let mut text = heading("Yard", '-');
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<40} {value:<10}");
    };
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    line("Times:", format!("{}, {}", record.clock, record.cost));
    line("Ranks, price of one ($/h, assumed):", format!("{}, {:.2}", record.ranks, record.usd_per_rank_hour));
    line("Price ($/Mtok of answers):", format!("{:.4}", record.usd_per_mtok_output));
    line("Price ($/Mtok of all tokens):", format!("{:.4}", record.usd_per_mtok_total));
    line("Steps:", record.steps.to_string());
    line("Mean step (ms):", format!("{:.3}", record.mean_step_ms));
    line("Mean sequences on a train:", format!("{:.1}", record.mean_batch));
    line("Mean new tokens a step:", format!("{:.1}", record.mean_step_tokens));
    line("Most running, most waiting:", format!("{}, {}", record.max_num_running, record.max_num_waiting));
    line("Prompt tokens from cache:", percent(record.cached_share));
    line("Stages idle:", percent(record.idle_share));
    let share = &record.share;
    line(
        "Time of stages (own/experts/all-to-all):",
        format!("{} {} {}", percent(share.local), percent(share.experts), percent(share.all_to_all)),
    );
    line("Weights, most a rank (GB):", format!("{:.2}", record.weights_gb_per_rank));
    line("KV, most a rank (GB):", format!("{:.2}", record.kv_gb_per_rank));
    line("Memory use, most a rank:", percent(record.memory_use));
    if let Some(memo) = &record.memo {
        line("Remembered steps off by (mean):", percent(memo.mean_error));
        line(
            "  most, and what doesn't average out:",
            format!("{} {:+.1}%", percent(memo.max_error), memo.total_error * 100.0),
        );
        line("  over steps, layers computed in full:", format!("{}, {}", memo.steps, memo.layers));
    }
    for tier in record.cache.iter().flat_map(|cache| &cache.tiers) {
        line(
            &format!("Tier {} (hits, $ held + read, saved):", tier.name),
            format!("{} {:.2} {:.2}", percent(tier.hit_rate), tier.hold_usd + tier.read_usd, tier.saved_usd),
        );
    }
    text
}

/// Two pools in a few lines: what is short, how busy each is, what TTFT is made of.
fn answer(pools: &Pools) -> String {
    let pool = |pool: &PoolRecord| {
        let PoolRecord { replicas, ranks, busy_share, .. } = pool;
        format!("{replicas} x {} ranks, {:.0}% busy", ranks / replicas.max(&1), busy_share * 100.0)
    };
    let parts = pools.ttft.named();
    let ttft = parts.iter().map(|(_, part)| part.mean_ms).sum::<f64>();
    let parts: Vec<String> = parts.iter().map(|(name, part)| format!("{name} {:.2}", part.mean_ms)).collect();
    format!(
        "{}\nprompts: {}; answers: {}\nmean TTFT {ttft:.2} ms: {}\n",
        pools.short(),
        pool(&pools.prefill),
        pool(&pools.decode),
        parts.join(" + ")
    )
}

/// What stands in a section of its own.
fn pools(pools: &Pools) -> String {
    let mut text = heading("Pools (prompts, answers)", '-');
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<40} {value:<10}");
    };
    let both = |of: &dyn Fn(&PoolRecord) -> String| format!("{}, {}", of(&pools.prefill), of(&pools.decode));
    line("Replicas:", both(&|pool| pool.replicas.to_string()));
    line("Ranks:", both(&|pool| pool.ranks.to_string()));
    line("Stages busy:", both(&|pool| format!("{:.1}%", pool.busy_share * 100.0)));
    line("Steps:", both(&|pool| pool.steps.to_string()));
    line("Mean step (ms):", both(&|pool| format!("{:.3}", pool.mean_step_ms)));
    line("Mean new tokens a step:", both(&|pool| format!("{:.1}", pool.mean_step_tokens)));
    line("Most waiting:", both(&|pool| pool.max_num_waiting.to_string()));
    line("Memory use, most a rank:", both(&|pool| format!("{:.1}%", pool.memory_use * 100.0)));
    for (name, part) in pools.ttft.named() {
        let Summary { mean_ms, median_ms, p99_ms, .. } = part;
        line(
            &format!("TTFT: {name} (mean, median, P99, ms):"),
            format!("{mean_ms:.2}, {median_ms:.2}, {p99_ms:.2}"),
        );
    }
    let way = &pools.handover;
    line("Caches handed over, mean (MB):", format!("{}, {:.2}", way.caches, way.mean_bytes / 1e6));
    line("Most on their way:", way.max_under_way.to_string());
    line(
        "Busiest port sends, receives:",
        format!("{:.1}%, {:.1}%", way.sender_share * 100.0, way.receiver_share * 100.0),
    );
    text
}

fn heading(title: &str, fill: char) -> String {
    let title = if fill == '=' { format!(" {title} ") } else { title.to_owned() };
    let left = (WIDTH.saturating_sub(title.len())) / 2;
    let right = WIDTH.saturating_sub(title.len() + left);
    let fill = |count: usize| fill.to_string().repeat(count);
    format!("{}{title}{}\n", fill(left), fill(right))
}
