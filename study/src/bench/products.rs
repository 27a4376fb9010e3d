//! The expert phase in rows a second: the grouped products of the experts of a rank, beside the roofline of the hardware.

use crate::layer::{CompareSpec, Record};
use topology::HardwareError;

/// One number of tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// Tokens of each rank.
    pub tokens: u32,
    /// Rows (token, expert) of the rank that computes most; of a closed form, of the mean rank.
    pub rows: u64,
    /// Time of the slowest rank, emulated microseconds.
    pub time_us: f64,
    /// Time that its arithmetic takes at the peak, microseconds: weights that are read make up the rest.
    pub arithmetic_us: f64,
    /// FLOP of these rows.
    pub flop: f64,
}

impl Product {
    /// That of `record`, which is of `spec`.
    ///
    /// # Errors
    /// Where the hardware has no rate for the layer's format.
    pub fn new(spec: &CompareSpec, record: &Record) -> Result<Self, HardwareError> {
        let mean = u64::from(spec.tokens) * u64::from(spec.shape.top_k);
        let most = record.detail.as_ref().and_then(|detail| detail.rows_per_rank.iter().max().copied());
        let rows = most.unwrap_or(mean);
        let flop = spec.shape.expert_flops(rows);
        let peak = spec.hardware.flops(spec.shape.dtype)?;
        Ok(Self {
            tokens: spec.tokens,
            rows,
            time_us: record.compute_us,
            arithmetic_us: flop / peak * 1e6,
            flop,
        })
    }

    /// Share of the time that arithmetic at the peak takes.
    #[must_use]
    pub fn peak_share(&self) -> f64 {
        if self.time_us > 0.0 { self.arithmetic_us / self.time_us } else { 0.0 }
    }
}

/// What stands above the data.
#[must_use]
pub fn product_header(spec: &CompareSpec, backend: &str) -> String {
    format!(
        "# railyard bench {}: experts of {} on {}, {} weights, {} ranks, {} experts a token\n\
         # time: {backend}, emulated microseconds of the slowest rank: the roofline of the hardware (assumed), each expert's weights read once\n\
         # of peak: share of the time that the rank's arithmetic takes at the hardware's peak; the rest is weights that are read\n\
         # {:>10}  {:>10}  {:>12}  {:>14}  {:>10}  {:>8}  {:>8}\n",
        env!("CARGO_PKG_VERSION"),
        spec.model.name,
        spec.hardware.name,
        spec.shape.dtype,
        spec.rack_sizes.iter().sum::<u32>(),
        spec.shape.top_k,
        "tokens",
        "rows",
        "time(us)",
        "rows/s",
        "TFLOP/s",
        "of peak",
        "bound",
    )
}

/// A line of data.
#[must_use]
pub fn product_line(product: &Product) -> String {
    let rate = |amount: f64| if product.time_us > 0.0 { amount / product.time_us * 1e6 } else { 0.0 };
    // Reading and computing overlap: what takes longer binds.
    let bound = if product.peak_share() > 0.99 { "compute" } else { "memory" };
    format!(
        "  {:>10}  {:>10}  {:>12.2}  {:>14.0}  {:>10.2}  {:>7.2}%  {bound:>8}\n",
        product.tokens,
        product.rows,
        product.time_us,
        rate(product.rows as f64),
        rate(product.flop) / 1e12,
        100.0 * product.peak_share(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_a_second_and_what_binds() {
        let product = Product { tokens: 32, rows: 256, time_us: 100.0, arithmetic_us: 2.0, flop: 2.2e10 };
        assert_eq!(product.peak_share(), 0.02);
        let line = product_line(&product);
        for part in ["       32", "2560000", "220.00", "2.00%", "memory"] {
            assert!(line.contains(part), "`{part}` in {line}");
        }
        assert!(product_line(&Product { arithmetic_us: 99.9, ..product }).contains("compute"));
    }
}
