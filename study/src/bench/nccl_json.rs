//! The object that `nccl-tests -J` writes, with its keys.

use super::clock;
use super::nccl::{Line, Sweep, devices, failures, mean_bus_gb_per_s, name_of};
use serde_json::{Value, json};

/// Version of nccl-tests' format that the keys are of.
const VERSION: u32 = 2;

/// What `lines` of `sweep` came to. `begun` is when, as a date; `args` are the command's words. Environment variables are left out: they may
/// hold secrets.
#[must_use]
pub fn json(sweep: &Sweep, lines: &[Line], args: &[String], begun: &str) -> Value {
    let (warmup, iterations) = sweep.iterations;
    let pid = std::process::id();
    let device = |(rank, hostname, device): (usize, String, u32)| {
        json!({
            "rank": rank, "group": 0, "pid": pid, "hostname": hostname, "device": device, "device_hex": "0000:00:00",
            "device_info": name_of(&sweep.hardware),
        })
    };
    let failed = failures(lines);
    json!({
        "version": VERSION,
        "start_time": begun,
        "args": args,
        "env": [],
        "nccl_version": 0,
        "railyard_version": env!("CARGO_PKG_VERSION"),
        "backend": sweep.backend,
        "raw": sweep.raw,
        "config": {
            "nthreads": 1,
            "ngpus": 1,
            "minimum_bytes": sweep.sizes.0,
            "maximum_bytes": sweep.sizes.1,
            "step_factor": sweep.factor,
            "warmup_iters": warmup,
            "iterations": iterations,
            "aggregated_iterations": 1,
            "validation": 1,
            "graph": 0,
            "blocking_collectives": "false",
            "per_iter_timing": "true",
            "parallel_init": "false",
            "devices": devices(&sweep.rack_sizes).map(device).collect::<Vec<_>>(),
        },
        "results": lines.iter().map(|line| result(line, sweep.collective.name())).collect::<Vec<_>>(),
        "out_of_bounds": {"count": failed, "okay": (failed == 0).to_string()},
        "average_bus_bandwidth": {"bandwidth": mean_bus_gb_per_s(lines), "okay": "unchecked"},
        "errors": lines.iter().filter_map(|line| line.problem.as_deref()).collect::<Vec<_>>(),
        "end_time": clock::now(),
    })
}

/// Now, as `begun` of [`json()`] takes it.
#[must_use]
pub fn now() -> String {
    clock::now()
}

fn result(line: &Line, name: &str) -> Value {
    let body = |wrong: Option<u64>| {
        json!({
            "time": line.time_us(),
            "alg_bw": line.alg_gb_per_s(),
            "bus_bw": line.bus_gb_per_s(),
            "nwrong": wrong,
        })
    };
    json!({
        "size": line.size,
        "count": line.count,
        "type": "bfloat16",
        "redop": "none",
        "root": "-1",
        "out_of_place": body(line.wrong),
        "out_of_place_per_iter": per_round(&line.times_us),
        "in_place": body(None),
        "actual_iterations": line.times_us.len(),
        "experiment_name": name,
    })
}

/// Statistics of the rounds; percentiles by nearest rank, the deviation that of all rounds.
fn per_round(times: &[f64]) -> Value {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let at = |index: usize| sorted.get(index.min(count.saturating_sub(1))).copied().unwrap_or(0.0);
    let percentile = |percent: usize| at((count * percent).div_ceil(100).saturating_sub(1));
    let mean = sorted.iter().sum::<f64>() / count.max(1) as f64;
    let variance = sorted.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    json!({
        "min_us": at(0),
        "max_us": at(count),
        "avg_us": mean,
        "p50_us": at(count / 2),
        "p95_us": percentile(95),
        "p99_us": percentile(99),
        "stdev_us": variance.sqrt(),
        "cv_pct": if mean > 0.0 { 100.0 * variance.sqrt() / mean } else { 0.0 },
        "times_us": times,
    })
}

#[cfg(test)]
mod tests {
    use super::per_round;

    #[test]
    fn statistics_of_rounds() {
        let stats = per_round(&[4.0, 2.0, 3.0, 1.0]);
        assert_eq!(
            (&stats["min_us"], &stats["max_us"], &stats["avg_us"]),
            (&1.0.into(), &4.0.into(), &2.5.into())
        );
        assert_eq!((&stats["p50_us"], &stats["p95_us"]), (&3.0.into(), &4.0.into()));
        assert_eq!(stats["times_us"][0], 4.0);
        assert_eq!(per_round(&[])["avg_us"], 0.0);
    }
}
