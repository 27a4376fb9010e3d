//! Mean and 95% confidence interval over seeds, by Student's t.
//!
//! No statistics crate: what is needed of one is a single quantile. Up to 9 degrees of freedom it is a table, beyond that the
//! expansion of Abramowitz and Stegun 26.7.5, which is right to four digits from there on.

/// 97.5% quantile of the normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;
/// 97.5% quantiles of Student's t for 1 to 9 degrees of freedom.
const FEW: [f64; 9] =
    [12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157];

/// 97.5% quantile of Student's t: a two-sided interval of 95%.
fn quantile(degrees: usize) -> f64 {
    if let Some(known) = degrees.checked_sub(1).and_then(|at| FEW.get(at)) {
        return *known;
    }
    let (z, n) = (NORMAL, degrees as f64);
    z + (z.powi(3) + z) / (4.0 * n)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * n.powi(3))
}

/// The mean of `samples`, and half the width of its 95% confidence interval; the latter is `None` for fewer than two.
#[must_use]
pub fn mean_and_interval(samples: &[f64]) -> (f64, Option<f64>) {
    let count = samples.len() as f64;
    if samples.is_empty() {
        return (0.0, None);
    }
    let mean = samples.iter().sum::<f64>() / count;
    // Equal samples have no spread, whatever the rounding of their mean.
    if samples.windows(2).all(|pair| pair[0] == pair[1]) {
        return (samples[0], (samples.len() > 1).then_some(0.0));
    }
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, Some(quantile(samples.len() - 1) * (variance / count).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_printed_tables() {
        for (degrees, printed) in [
            (1, 12.706),
            (4, 2.776),
            (9, 2.262),
            (10, 2.228),
            (15, 2.131),
            (30, 2.042),
            (60, 2.000),
            (120, 1.980),
            (999, 1.962),
        ] {
            assert!((quantile(degrees) - printed).abs() < 5.1e-4, "{degrees}: {}", quantile(degrees));
        }
    }

    #[test]
    fn intervals_by_hand() {
        // Standard deviation 1, 5 samples: 2.776445 * sqrt(2.5 / 5).
        let (mean, half) = mean_and_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((mean, format!("{:.4}", half.expect("five"))), (3.0, "1.9632".to_owned()));
        assert_eq!(mean_and_interval(&[0.1, 0.1, 0.1]), (0.1, Some(0.0)));
        assert_eq!(mean_and_interval(&[7.0]), (7.0, None));
        assert_eq!(mean_and_interval(&[]), (0.0, None));
    }
}
