//! Emulated time in picoseconds and rates in bytes per second, with the one formula that joins them.
//!
//! Nanoseconds are too coarse (900 GB/s is 1.11 ps a byte), and so is a whole number of picoseconds per byte:
//! a transfer is `ceil(bytes * 10^12 / rate)`, computed in 128 bits.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};
use thiserror::Error;

const PICOS_PER_MICRO: f64 = 1e6;
const PICOS_PER_SECOND: u128 = 1_000_000_000_000;

/// A number that can't be a time or a rate.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum UnitError {
    /// A rate of zero would make every transfer infinite.
    #[error("a rate of 0 bytes/s moves nothing; give at least 1 byte/s")]
    ZeroRate,
    /// A throttle that is no number from 0.001 to 10^6, or leaves less than 1 byte/s.
    #[error("{}: give a number from 0.001 to 1000000", short(*.0))]
    Throttle(f64),
    /// An oversubscription of uplinks that is no number from 1 to 1000.
    #[error("{}: give a number from 1 (an uplink as fast as all ports of its rack) to 1000", short(*.0))]
    Oversubscription(f64),
    /// A second job's share that is no number from 0 to 0.999, or leaves less than 1 byte/s.
    #[error("{}: give the share that a second job takes, from 0 to 0.999", short(*.0))]
    Background(f64),
    /// Not a finite, nonnegative number of microseconds, or beyond 2^64 ps (213 days).
    #[error("{0} us is no usable time: give a finite number from 0 to 1.8e13 us")]
    Time(f64),
}

/// A number without hundreds of zeros.
fn short(number: f64) -> String {
    if number.abs() < 1e15 { number.to_string() } else { format!("{number:e}") }
}

/// Emulated time or a span of it, in picoseconds; 64 bits reach 213 days.
///
/// Addition and subtraction panic on overflow: a time past 213 days, or before zero, is a broken invariant
/// and not an input error (inputs are bounded where they are read).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Picos(pub u64);

impl Picos {
    /// The start of every run, and the empty span.
    pub const ZERO: Self = Self(0);
    /// The end of time; a transfer that would take longer takes this long.
    pub const MAX: Self = Self(u64::MAX);

    /// `micros` microseconds, rounded to the nearest picosecond.
    ///
    /// # Errors
    /// [`UnitError::Time`] if `micros` is negative, not a number, or beyond the range.
    pub fn from_micros_f64(micros: f64) -> Result<Self, UnitError> {
        let picos = (micros * PICOS_PER_MICRO).round();
        // 2^64 itself is representable as f64 and is the first value out of range.
        if picos.is_nan() || picos < 0.0 || picos >= u64::MAX as f64 {
            return Err(UnitError::Time(micros));
        }
        Ok(Self(picos as u64))
    }

    /// This time in microseconds; exact up to 2^53 ps (2.5 hours).
    pub fn as_micros_f64(self) -> f64 {
        self.0 as f64 / PICOS_PER_MICRO
    }

    /// `self - earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// `self + span`, or [`Picos::MAX`] if that lies beyond the end of time.
    #[must_use]
    pub const fn saturating_add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// `self + span`, or `None` if that lies beyond the end of time.
    pub const fn checked_add(self, span: Self) -> Option<Self> {
        match self.0.checked_add(span.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.0 >= other.0 { self } else { other }
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 <= other.0 { self } else { other }
    }
}

impl Add for Picos {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        self.checked_add(span).expect("emulated time stays below 2^64 ps")
    }
}

impl AddAssign for Picos {
    fn add_assign(&mut self, span: Self) {
        *self = *self + span;
    }
}

impl Sub for Picos {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0.checked_sub(earlier.0).expect("a span ends after it begins"))
    }
}

impl Sum for Picos {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Picos {
    /// Microseconds, with the precision the formatter asks for: `{:.1}` prints `12.3 us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.precision() {
            Some(digits) => write!(f, "{:.digits$} us", self.as_micros_f64()),
            None => write!(f, "{} us", self.as_micros_f64()),
        }
    }
}

/// A rate in bytes per second, per direction; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rate(u64);

impl Rate {
    /// A rate of `bytes_per_s` bytes per second.
    ///
    /// # Errors
    /// [`UnitError::ZeroRate`] for 0.
    pub const fn new(bytes_per_s: u64) -> Result<Self, UnitError> {
        if bytes_per_s == 0 { Err(UnitError::ZeroRate) } else { Ok(Self(bytes_per_s)) }
    }

    /// The rate in bytes per second.
    pub const fn bytes_per_s(self) -> u64 {
        self.0
    }

    /// This rate over `throttle`, in whole bytes per second: the scale-out rate of ports so many times slower.
    ///
    /// # Errors
    /// [`UnitError::Throttle`].
    pub fn throttled(self, throttle: f64) -> Result<Self, UnitError> {
        let rate = (self.0 as f64 / throttle).round();
        if !(0.001..=1e6).contains(&throttle) || rate < 1.0 {
            return Err(UnitError::Throttle(throttle));
        }
        Self::new(rate as u64)
    }

    /// How long `bytes` occupy a port of this rate: `ceil(bytes * 10^12 / rate)`, at most [`Picos::MAX`].
    ///
    /// ```
    /// # use topology::{Picos, Rate};
    /// let nvlink5 = Rate::new(900_000_000_000)?; // 900 GB/s
    /// assert_eq!(nvlink5.transfer(7_408), Picos(8_232)); // one FP8 row of hidden 7168: 8.23 ns
    /// # Ok::<(), topology::UnitError>(())
    /// ```
    pub fn transfer(self, bytes: u64) -> Picos {
        let picos = (u128::from(bytes) * PICOS_PER_SECOND).div_ceil(u128::from(self.0));
        Picos(u64::try_from(picos).unwrap_or(u64::MAX))
    }
}

impl TryFrom<u64> for Rate {
    type Error = UnitError;

    fn try_from(bytes_per_s: u64) -> Result<Self, UnitError> {
        Self::new(bytes_per_s)
    }
}

impl From<Rate> for u64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn microseconds_round_to_the_nearest_picosecond() {
        assert_eq!(Picos::from_micros_f64(3.7), Ok(Picos(3_700_000)));
        assert_eq!(Picos::from_micros_f64(0.000_000_6), Ok(Picos(1)));
        assert_eq!(Picos(3_700_000).as_micros_f64(), 3.7);
        assert_eq!(format!("{:.2}", Picos(1_234_567)), "1.23 us");
    }

    #[test]
    fn impossible_times_are_refused() {
        for micros in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.9e13] {
            assert!(Picos::from_micros_f64(micros).is_err(), "{micros}");
        }
    }

    #[test]
    fn a_transfer_rounds_up_and_saturates() {
        let rate = Rate::new(3).expect("nonzero");
        assert_eq!(rate.transfer(0), Picos::ZERO);
        assert_eq!(rate.transfer(1), Picos(333_333_333_334));
        assert_eq!(rate.transfer(u64::MAX), Picos::MAX);
        assert_eq!(Rate::new(0), Err(UnitError::ZeroRate));
    }

    #[test]
    #[should_panic(expected = "below 2^64")]
    fn time_does_not_wrap() {
        let _ = Picos::MAX + Picos(1);
    }

    proptest! {
        #[test]
        fn transfer_is_monotone_in_bytes_and_antitone_in_rate(
            a in 0..1u64 << 40, b in 0..1u64 << 40, r in 1..1u64 << 41, s in 1..1u64 << 41,
        ) {
            let (slow, fast) = (Rate(r.min(s)), Rate(r.max(s)));
            prop_assert!(fast.transfer(a.min(b)) <= fast.transfer(a.max(b)));
            prop_assert!(fast.transfer(a) <= slow.transfer(a));
        }

        #[test]
        fn transfer_is_additive_within_one_picosecond(
            a in 0..1u64 << 40, b in 0..1u64 << 40, r in 1_000_000..1u64 << 41,
        ) {
            let rate = Rate(r);
            let (whole, parts) = (rate.transfer(a + b), rate.transfer(a) + rate.transfer(b));
            prop_assert!(whole <= parts && parts - whole <= Picos(1));
        }
    }
}
