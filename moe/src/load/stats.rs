//! How uneven loads are, of experts or of ranks: largest over mean, balancedness, Gini coefficient, percentiles.

use serde::Serialize;

/// The statistics of some loads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoadStats {
    /// Mean load.
    pub mean: f64,
    /// Largest load.
    pub max: f64,
    /// See [`max_over_mean`].
    pub max_over_mean: f64,
    /// See [`balancedness`].
    pub balancedness: f64,
    /// See [`gini`].
    pub gini: f64,
    /// Smallest load that at least half of the loads don't exceed.
    pub p50: f64,
    /// The same for nine tenths.
    pub p90: f64,
    /// The same for 99 of 100.
    pub p99: f64,
}

impl LoadStats {
    /// The statistics of `loads`, each at least 0; those of nothing are those of an idle rank.
    #[must_use]
    pub fn of(loads: &[f64]) -> Self {
        Self {
            mean: mean(loads),
            max: largest(loads),
            max_over_mean: max_over_mean(loads),
            balancedness: balancedness(loads),
            gini: gini(loads),
            p50: percentile(loads, 50.0),
            p90: percentile(loads, 90.0),
            p99: percentile(loads, 99.0),
        }
    }

    /// The same of whole counts.
    #[must_use]
    pub fn of_counts(counts: &[u64]) -> Self {
        Self::of(&counts.iter().map(|&count| count as f64).collect::<Vec<_>>())
    }
}

fn mean(loads: &[f64]) -> f64 {
    if loads.is_empty() { 0.0 } else { loads.iter().sum::<f64>() / loads.len() as f64 }
}

fn largest(loads: &[f64]) -> f64 {
    loads.iter().copied().fold(0.0, f64::max)
}

/// Largest load over mean load, 1 where all are alike and where there is no load at all.
#[must_use]
pub fn max_over_mean(loads: &[f64]) -> f64 {
    let largest = largest(loads);
    if largest == 0.0 { 1.0 } else { largest / mean(loads) }
}

/// Mean over largest load, 1 where all are alike, as vLLM and SGLang report it; 1 where there is no load at all.
#[must_use]
pub fn balancedness(loads: &[f64]) -> f64 {
    let largest = largest(loads);
    if largest == 0.0 { 1.0 } else { mean(loads) / largest }
}

/// Gini coefficient: mean difference of two loads over twice their mean, 0 where all are alike (or all 0), `(n - 1) / n`
/// where one of n has everything. With loads ascending from i = 1: `sum((2 i - n - 1) x_i) / (n sum(x_i))`.
#[must_use]
pub fn gini(loads: &[f64]) -> f64 {
    let (n, sum) = (loads.len() as f64, loads.iter().sum::<f64>());
    if sum == 0.0 {
        return 0.0;
    }
    let mut ascending = loads.to_vec();
    ascending.sort_by(f64::total_cmp);
    let weighted: f64 =
        ascending.iter().enumerate().map(|(at, load)| (2.0 * (at + 1) as f64 - n - 1.0) * load).sum();
    weighted / (n * sum)
}

/// Nearest-rank percentile: the `ceil(percent / 100 * n)`-th smallest load, the smallest for 0; 0 of no loads.
///
/// # Panics
/// If `percent` is not within 0 to 100.
#[must_use]
pub fn percentile(loads: &[f64], percent: f64) -> f64 {
    assert!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
    let mut ascending = loads.to_vec();
    ascending.sort_by(f64::total_cmp);
    // Multiplied first: 0.07 * 100 is more than 7.
    let rank = (percent * loads.len() as f64 / 100.0).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hand_made_example() {
        // Mean 4; differences: |1-3| |1-8| |3-8| twice each over 9 pairs: 28 / 9, over 2 * 4 = 7 / 18.
        let stats = LoadStats::of_counts(&[8, 1, 3]);
        assert_eq!((stats.mean, stats.max, stats.max_over_mean, stats.balancedness), (4.0, 8.0, 2.0, 0.5));
        assert!((stats.gini - 7.0 / 18.0).abs() < 1e-15);
        assert_eq!((stats.p50, stats.p90, stats.p99), (3.0, 8.0, 8.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for percent in [1.0, 7.0, 50.0, 99.0, 100.0] {
            assert_eq!(percentile(&hundred, percent), percent);
        }
        assert_eq!(percentile(&hundred, 0.0), 1.0);
    }

    #[test]
    fn no_load_is_even() {
        for loads in [&[][..], &[0.0, 0.0]] {
            assert_eq!((max_over_mean(loads), balancedness(loads), gini(loads)), (1.0, 1.0, 0.0));
            assert_eq!(percentile(loads, 50.0), 0.0);
        }
    }

    proptest! {
        #[test]
        fn identities(n in 1_usize..200, load in 1_u32..1000, at in 0_usize..200) {
            let equal = vec![f64::from(load); n];
            prop_assert_eq!(gini(&equal), 0.0);
            prop_assert_eq!((max_over_mean(&equal), balancedness(&equal)), (1.0, 1.0));
            let mut one = vec![0.0; n];
            one[at % n] = f64::from(load);
            prop_assert!((gini(&one) - (n as f64 - 1.0) / n as f64).abs() < 1e-12);
            prop_assert!((balancedness(&one) - 1.0 / n as f64).abs() < 1e-12);
        }

        #[test]
        fn of_any_loads(loads in prop::collection::vec(0_u32..1000, 1..100)) {
            let loads: Vec<f64> = loads.into_iter().map(f64::from).collect();
            let stats = LoadStats::of(&loads);
            prop_assert!((stats.max_over_mean * stats.balancedness - 1.0).abs() < 1e-12);
            prop_assert!((0.0..1.0).contains(&stats.gini));
            prop_assert!(stats.p50 <= stats.p90 && stats.p90 <= stats.p99 && stats.p99 <= stats.max);
            if stats.max > 0.0 {
                prop_assert!((stats.balancedness - stats.mean / stats.max).abs() < 1e-12);
            }
        }
    }
}
