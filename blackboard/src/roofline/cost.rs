//! What a token costs by batch, in units of its arithmetic; and what a fast or a slow mode can ask and save.
//!
//! Divide all times by t_w and batches by B*: with u = B/B* a step takes `max(u, 1 + K u)`, where K is how fast t_kv grows
//! over how fast t_c grows. Divide by u and the price of a token is a hyperbola with two floors.

use crate::units::Tokens;

/// `t / t_w = max(u, 1 + K u)` at `share` u of the critical batch. A lower bound. Source: T.
///
/// ```
/// # use blackboard::roofline::relative_time;
/// assert_eq!((relative_time(0.5, 0.0), relative_time(2.5, 0.0)), (1.0, 2.5));
/// ```
#[must_use]
pub fn relative_time(share: f64, kv_ratio: f64) -> f64 {
    share.max(1.0 + kv_ratio * share)
}

/// `c(u) = max(1, 1/u + K)`: the cost of a token over that of its arithmetic. A lower bound. Source: T, S1, S2.
///
/// ```
/// # use blackboard::roofline::relative_cost;
/// assert_eq!(relative_cost(1.0 / 2400.0, 0.0).round(), 2400.0);
/// assert_eq!((relative_cost(1.0, 0.5), relative_cost(1e9, 0.0)), (1.5, 1.0));
/// ```
///
/// Infinite at a share of 0.
#[must_use]
pub fn relative_cost(share: f64, kv_ratio: f64) -> f64 {
    (1.0 / share + kv_ratio).max(1.0)
}

/// How much more an unbatched token costs than one in an endless batch: `(B* + K) / max(1, K)`. Source: T, "1000 times".
///
/// ```
/// # use blackboard::{roofline::unbatched_cost, units::Tokens};
/// assert_eq!((unbatched_cost(Tokens(300.0), 0.0), unbatched_cost(Tokens(2400.0), 2.4).round()), (300.0, 1001.0));
/// ```
#[must_use]
pub fn unbatched_cost(critical_batch: Tokens, kv_ratio: f64) -> f64 {
    (critical_batch.0 + kv_ratio) / kv_ratio.max(1.0)
}

/// The share u of the critical batch at which arithmetic takes as long as weights and cache: `1 / (1 - K)`; `None` from K = 1
/// on, where arithmetic never catches up. Source: T, "should grow larger".
///
/// ```
/// # use blackboard::roofline::optimal_share_with_kv;
/// assert_eq!(optimal_share_with_kv(0.75).map(|u| 2400.0 * u), Some(9600.0));
/// assert_eq!(optimal_share_with_kv(1.0), None);
/// ```
#[must_use]
pub fn optimal_share_with_kv(kv_ratio: f64) -> Option<f64> {
    (kv_ratio < 1.0).then(|| 1.0 / (1.0 - kv_ratio))
}

/// The best share of peak arithmetic where weights don't count: `min(1, t_c / t_kv) = min(1, 1/K)`. Source: T on contexts
/// beyond the optimum.
#[must_use]
pub fn utilisation(kv_ratio: f64) -> f64 {
    if kv_ratio <= 1.0 { 1.0 } else { 1.0 / kv_ratio }
}

/// Two batches on one machine whose tokens differ in price and speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FastMode {
    /// The normal batch over the critical one.
    pub normal_share: f64,
    /// The fast batch over the critical one.
    pub fast_share: f64,
}

impl FastMode {
    /// Cost of a fast token over that of a normal one.
    #[must_use]
    pub fn price_ratio(&self, kv_ratio: f64) -> f64 {
        relative_time(self.fast_share, kv_ratio)
            / self.fast_share
            / (relative_time(self.normal_share, kv_ratio) / self.normal_share)
    }

    /// Time of a normal step over that of a fast one.
    #[must_use]
    pub fn speed_ratio(&self, kv_ratio: f64) -> f64 {
        relative_time(self.normal_share, kv_ratio) / relative_time(self.fast_share, kv_ratio)
    }
}

/// The batches behind a fast mode that costs `price` times as much and is `speed` times as fast; `None` where no batch does.
///
/// Cost is time over batch, so the batches differ by `price * speed` = r. The normal share u solves `t(u) / t(u/r) = speed`:
/// either arithmetic decides the normal step and memory the fast one, `u = speed (1 + K u/r)`, or memory decides both,
/// `1 + K u = speed (1 + K u/r)`. Source: T, S1, S2; prices from PR.
///
/// ```
/// # use blackboard::roofline::fast_mode;
/// let mode = fast_mode(6.0, 2.5, 0.0).expect("there is one");
/// assert_eq!((mode.normal_share, mode.fast_share * 6.0), (2.5, 1.0)); // 6000 and 400 sequences at B* = 2400
/// ```
#[must_use]
pub fn fast_mode(price: f64, speed: f64, kv_ratio: f64) -> Option<FastMode> {
    let ratio = price * speed;
    let slope = kv_ratio / ratio;
    let by_arithmetic = speed / (1.0 - speed * slope);
    let by_memory = (speed - 1.0) / (kv_ratio - speed * slope);
    [by_arithmetic, by_memory]
        .into_iter()
        .filter(|share| share.is_finite() && *share > 0.0)
        .map(|normal_share| FastMode { normal_share, fast_share: normal_share / ratio })
        .find(|mode| (mode.speed_ratio(kv_ratio) / speed - 1.0).abs() < 1e-9)
}

/// What a slow mode with an endless batch saves on the price at share u: `1 - max(1, K) / c(u)`. Source: T, "not much".
///
/// ```
/// # use blackboard::roofline::slow_mode_saving;
/// assert_eq!((slow_mode_saving(2.5, 0.0), slow_mode_saving(1.0, 1.0)), (0.0, 0.5));
/// ```
#[must_use]
pub fn slow_mode_saving(share: f64, kv_ratio: f64) -> f64 {
    1.0 - kv_ratio.max(1.0) / relative_cost(share, kv_ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fast_modes_by_cache() {
        for (kv_ratio, normal, fast) in
            [(0.0, "2.50", "0.167"), (0.5, "2.73", "0.182"), (1.0, "1.80", "0.120")]
        {
            let mode = fast_mode(6.0, 2.5, kv_ratio).expect("there is one");
            assert_eq!(format!("{:.2}", mode.normal_share), normal, "K = {kv_ratio}");
            assert_eq!(format!("{:.3}", mode.fast_share), fast, "K = {kv_ratio}");
            assert!((mode.price_ratio(kv_ratio) - 6.0).abs() < 1e-9);
        }
    }

    #[test]
    fn slow_mode_savings() {
        let savings =
            |share: f64| [0.0, 0.5, 1.0, 2.0].map(|k| format!("{:.0}%", 100.0 * slow_mode_saving(share, k)));
        assert_eq!(savings(2.5), ["0%", "0%", "29%", "17%"]);
        assert_eq!(savings(1.0), ["0%", "33%", "50%", "33%"]);
    }

    #[test]
    fn the_cost_has_a_hyperbola_and_two_floors() {
        assert_eq!([0.0, 0.5, 1.0].map(|k| relative_cost(1.0, k)), [1.0, 1.5, 2.0]);
        assert_eq!(relative_cost(0.0, 0.0), f64::INFINITY);
        assert_eq!((utilisation(0.5), utilisation(2.0)), (1.0, 0.5));
        assert_eq!(unbatched_cost(Tokens(5440.0), 0.0), 5440.0);
    }

    proptest! {
        #[test]
        fn a_larger_batch_never_costs_more_a_token(u in 1e-3f64..1e3, grow in 1.0f64..10.0, k in 0.0f64..10.0) {
            prop_assert!(relative_cost(u * grow, k) <= relative_cost(u, k) + 1e-12);
            prop_assert!(relative_time(u * grow, k) >= relative_time(u, k) - 1e-12);
            prop_assert!((relative_cost(u, k) - relative_time(u, k) / u).abs() < 1e-9 * relative_cost(u, k));
        }

        #[test]
        fn a_fast_mode_is_what_was_asked_for(price in 1.1f64..20.0, speed in 1.01f64..5.0, k in 0.0f64..1.0) {
            if let Some(mode) = fast_mode(price, speed, k) {
                prop_assert!((mode.speed_ratio(k) / speed - 1.0).abs() < 1e-6);
                prop_assert!((mode.price_ratio(k) / price - 1.0).abs() < 1e-6);
            }
        }

        #[test]
        fn no_slow_mode_saves_more_than_half(u in 1.0f64..100.0, k in 0.0f64..10.0) {
            prop_assert!((-1e-12..=0.5 + 1e-12).contains(&slow_mode_saving(u, k)));
        }
    }
}
