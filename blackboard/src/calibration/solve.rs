//! Least squares of relative errors over a few positive parameters: Levenberg and Marquardt's method on their logarithms.
//!
//! Squares of errors beyond [`HUBER`] count linearly (Huber), so that an outlier stays in the fit and doesn't lead it.

/// Relative error from which on a measurement counts linearly.
pub(super) const HUBER: f64 = 0.05;
const ITERATIONS: usize = 200;
const STEP: f64 = 1e-6;

/// A solution in logarithms.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    pub(super) at: Vec<f64>,
    /// Sum of losses.
    pub(super) loss: f64,
    /// Relative standard error of each parameter; infinite where nothing depends on it.
    pub(super) deviations: Vec<f64>,
}

fn loss(errors: &[f64]) -> f64 {
    let of = |error: &f64| {
        let size = error.abs();
        if size <= HUBER { size * size } else { HUBER * (2.0 * size - HUBER) }
    };
    errors.iter().map(of).sum()
}

/// The least loss near `start`, each parameter within its `bounds`, both as logarithms; `errors` gives `predicted / measured - 1`.
pub(super) fn solve(start: &[f64], bounds: &[(f64, f64)], errors: &dyn Fn(&[f64]) -> Vec<f64>) -> Solution {
    let clamp = |at: &mut [f64]| {
        for (value, (low, high)) in at.iter_mut().zip(bounds) {
            *value = value.clamp(*low, *high);
        }
    };
    let mut at = start.to_vec();
    clamp(&mut at);
    let mut now = errors(&at);
    let mut damping = 1e-3;
    for _ in 0..ITERATIONS {
        let (normal, slope) = normal_equations(&at, bounds, &now, errors);
        let mut better = None;
        while damping < 1e12 {
            let mut damped = normal.clone();
            for (i, row) in damped.iter_mut().enumerate() {
                row[i] += damping * normal[i][i].max(1e-12);
            }
            let Some(step) = gauss(damped, slope.iter().map(|s| -s).collect()) else { break };
            let mut next: Vec<f64> = at.iter().zip(&step).map(|(a, s)| a + s.clamp(-1.0, 1.0)).collect();
            clamp(&mut next);
            let found = errors(&next);
            if loss(&found) < loss(&now) {
                better = Some((next, found));
                damping = (damping / 5.0).max(1e-9);
                break;
            }
            damping *= 4.0;
        }
        let Some((next, found)) = better else { break };
        let gain = loss(&now) - loss(&found);
        (at, now) = (next, found);
        if gain < 1e-10 * loss(&now) {
            break;
        }
    }
    let (normal, _) = normal_equations(&at, bounds, &now, errors);
    let freedom = now.len().saturating_sub(at.len()).max(1) as f64;
    let variance = loss(&now) / freedom;
    let deviation = |i: usize| {
        let unit = (0..at.len()).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
        let inverse = gauss(normal.clone(), unit).map(|column| column[i]);
        inverse.filter(|entry| *entry >= 0.0).map_or(f64::INFINITY, |entry| (entry * variance).sqrt())
    };
    Solution { loss: loss(&now), deviations: (0..at.len()).map(deviation).collect(), at }
}

/// `J'WJ` and `J'We`, the Jacobian by forward differences that stay within bounds.
fn normal_equations(
    at: &[f64],
    bounds: &[(f64, f64)],
    now: &[f64],
    errors: &dyn Fn(&[f64]) -> Vec<f64>,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let columns: Vec<Vec<f64>> = (0..at.len())
        .map(|i| {
            let step = if at[i] + STEP > bounds[i].1 { -STEP } else { STEP };
            let mut moved = at.to_vec();
            moved[i] += step;
            errors(&moved).iter().zip(now).map(|(b, a)| (b - a) / step).collect()
        })
        .collect();
    let weight = |error: f64| if error.abs() <= HUBER { 1.0 } else { HUBER / error.abs() };
    let sum = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).zip(now).map(|((a, b), error)| a * b * weight(*error)).sum()
    };
    let normal = columns.iter().map(|a| columns.iter().map(|b| sum(a, b)).collect()).collect();
    let slope = columns.iter().map(|a| sum(a, now)).collect();
    (normal, slope)
}

/// Solves a small linear system by elimination with pivots; `None` where it is singular.
fn gauss(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        if rows[pivot][i].abs() < 1e-14 {
            return None;
        }
        rows.swap(i, pivot);
        right.swap(i, pivot);
        for below in i + 1..n {
            let factor = rows[below][i] / rows[i][i];
            let (above, rest) = rows.split_at_mut(below);
            for (entry, pivot) in rest[0][i..].iter_mut().zip(&above[i][i..]) {
                *entry -= factor * pivot;
            }
            right[below] -= factor * right[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * right[j]).sum();
        right[i] = (right[i] - known) / rows[i][i];
    }
    Some(right)
}
