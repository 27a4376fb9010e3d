//! Numbers and estimates as text for people.

use crate::deployment::{Estimate, Mode};

/// A number in four significant digits: 2400, 0.08222, 2.63e14.
///
/// ```
/// # use blackboard::text::number;
/// assert_eq!([2400.0, 12_686.4, 0.082_22, 2.63e14, 1.0, 0.0].map(number).join(" "), "2400 12686 0.08222 2.63e14 1 0");
/// ```
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !value.is_finite() {
        return if value.is_nan() { "none".to_owned() } else { value.to_string() };
    }
    if !(1e-4..1e7).contains(&size) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

/// Without zeros after the point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// One estimate, a step in `mode`, as aligned lines.
#[must_use]
pub fn estimate(estimate: &Estimate, mode: Mode) -> String {
    let e = estimate;
    let bound = format!("{:?}", e.bound_by).to_lowercase();
    let with_kv = e
        .optimal_batch_with_kv
        .map_or_else(|| "none: caches and states outgrow arithmetic".to_owned(), number);
    let capacity = e.capacity_batch.map_or_else(|| "any number".to_owned(), number);
    let lines = [
        ("compute", format!("{} ms", number(e.t_compute_ms))),
        (
            "weights",
            format!(
                "{} ms; of a layer's experts the step touches {}%",
                number(e.t_weights_ms),
                number(100.0 * e.experts_touched)
            ),
        ),
        ("KV cache", format!("{} ms", number(e.t_kv_ms))),
        (
            "all-to-all",
            format!(
                "{} ms, {} of the experts' arithmetic; copies a token: {} in racks, {} between",
                number(e.t_a2a_ms),
                number(e.a2a_over_expert_compute),
                number(e.intra_copies_per_token),
                number(e.inter_copies_per_token)
            ),
        ),
        ("tensor-par", format!("{} ms", number(e.t_tp_ms))),
        (
            "step",
            format!(
                "{} ms, bound by {bound}; {}",
                number(e.step_ms),
                match mode {
                    Mode::Max | Mode::Sum => format!(
                        "{} ms if attention overlaps nothing, {} ms if the all-to-all doesn't either",
                        number(e.step_sum_ms),
                        number(e.step_serial_ms)
                    ),
                    Mode::Serial => format!(
                        "with sums over all products, whose arithmetic and weights hide each other: {} ms if the all-to-all is hidden too, {} ms if not",
                        number(e.step_sum_ms),
                        number(e.step_serial_ms)
                    ),
                }
            ),
        ),
        (
            "pipeline",
            format!(
                "{} ms a stage, {} ms a hop, {}% idle, {} sequences a micro-batch",
                number(e.stage_ms),
                number(e.hop_ms),
                number(100.0 * e.bubble),
                number(e.micro_batch)
            ),
        ),
        (
            "tokens/s",
            format!(
                "{} in all, {} a rank, {} a user",
                number(e.tokens_per_s),
                number(e.tokens_per_s_per_rank),
                number(e.tokens_per_s_per_user)
            ),
        ),
        ("price", format!("$ {} a million tokens", number(e.usd_per_mtok))),
        (
            "batch",
            format!(
                "optimal {} by weights, with this context {with_kv}; memory holds {capacity}",
                if e.optimal_batch.is_finite() {
                    number(e.optimal_batch) + " sequences"
                } else {
                    "none".to_owned()
                }
            ),
        ),
        ("memory", memory(e)),
    ];
    let lines = lines.iter().filter(|(name, _)| *name != "tensor-par" || e.t_tp_ms > 0.0);
    lines.map(|(key, value)| format!("{key:<10} = {value}\n")).collect()
}

/// What lies in a rank's memory.
fn memory(e: &Estimate) -> String {
    format!(
        "{} GB weights + {} GB cache + {} GB buffers a rank of {} GB usable ({}%): {}",
        number(e.weights_gb_per_rank),
        number(e.kv_gb_per_rank),
        number(e.buffers_gb_per_rank),
        number(e.capacity_gb_per_rank),
        number(100.0 * e.memory_use),
        e.verdict
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        let texts = [17.474, 0.0, -1.5, 1e-9, 9_999_999.0, 1e7, f64::NAN, f64::INFINITY].map(number);
        assert_eq!(texts, ["17.47", "0", "-1.5", "1e-9", "9999999", "1e7", "none", "inf"]);
    }
}
