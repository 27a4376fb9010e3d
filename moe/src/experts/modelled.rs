//! The modelled expert: each output element mixes two input elements, with constants of the expert's own.

use rand::RngExt;
use rand_pcg::Pcg64;

/// `y[i] = a * x[i] + b * x[(i + shift) mod hidden]` with a^2 + b^2 = 1, which keeps the variance of x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mix {
    a: f32,
    b: f32,
    shift: usize,
}

impl Mix {
    pub(super) fn new(generator: &mut Pcg64, hidden: u32) -> Self {
        // Half-angle form: sines and cosines without a mathematics library, hence the same bits on every machine.
        let t = generator.random_range(0.2f32..0.8);
        let norm = 1.0 + t * t;
        let shift = if hidden > 1 { generator.random_range(1..hidden) as usize } else { 0 };
        Self { a: (1.0 - t * t) / norm, b: 2.0 * t / norm, shift }
    }

    pub(super) fn apply(&self, hidden: usize, rows: &[f32], out: &mut [f32]) {
        let Self { a, b, shift } = *self;
        for (x, out) in rows.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
            // x[i + shift] without the modulo: two straight runs.
            let (wrapped, ahead) = x.split_at(shift);
            let (x_low, x_high) = x.split_at(hidden - shift);
            let (out_low, out_high) = out.split_at_mut(hidden - shift);
            for (run, x, other) in [(out_low, x_low, ahead), (out_high, x_high, wrapped)] {
                for ((out, x), other) in run.iter_mut().zip(x).zip(other) {
                    *out = a * x + b * other;
                }
            }
        }
    }

    pub(super) fn apply_f64(&self, hidden: usize, rows: &[f64], out: &mut [f64]) {
        for (x, out) in rows.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = f64::from(self.a) * x[i] + f64::from(self.b) * x[(i + self.shift) % hidden];
            }
        }
    }
}
