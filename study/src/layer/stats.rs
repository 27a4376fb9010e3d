//! Median and nearest-rank percentiles of a few samples.

/// The middle sample, or the mean of the two in the middle; 0 of none.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The nearest-rank percentile, `percent` in 0 to 100 (as nccl-tests has it): the smallest sample that so many percent
/// of all don't exceed; 0 of none.
pub(super) fn percentile(samples: &[f64], percent: u32) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent as usize).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_nearest_rank() {
        assert_eq!((median(&[]), percentile(&[], 50)), (0.0, 0.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let five = [50.0, 10.0, 40.0, 20.0, 30.0];
        assert_eq!((percentile(&five, 10), percentile(&five, 50), percentile(&five, 90)), (10.0, 30.0, 50.0));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!((percentile(&ten, 10), percentile(&ten, 90)), (1.0, 9.0));
    }
}
