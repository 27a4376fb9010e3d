//! The uplink of a rack: what its ranks share of the way to other racks where it is oversubscribed, and what a second job takes of the way.
//!
//! A rack of G ranks with scale-out ports of rate W has an uplink of `G W / X` each way, X its oversubscription: the ports below a leaf
//! switch over what leads up from it. It is one queue each way, in the order in which frames come to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Rate, UnitError};

/// Ratios and shares are counted in millionths, so that rates follow from integers.
const WHOLE: u64 = 1_000_000;
/// The largest ratio: a rack of thousands behind one port.
const MOST: f64 = 1_000.0;
/// The largest share of a second job.
const TAKEN_MOST: f64 = 0.999;

/// What the scale-out ports of a rack carry together over what its uplink carries: 1 where it never blocks, and never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Oversubscription {
    millionths: u64,
}

impl Oversubscription {
    /// 1: an uplink that is as fast as all ports of its rack, and is left out of all arithmetic.
    pub const NONE: Self = Self { millionths: WHOLE };

    /// A ratio from 1 to 1000, rounded to millionths.
    ///
    /// # Errors
    /// [`UnitError::Oversubscription`] for another.
    pub fn new(ratio: f64) -> Result<Self, UnitError> {
        if !(1.0..=MOST).contains(&ratio) {
            return Err(UnitError::Oversubscription(ratio));
        }
        Ok(Self { millionths: (ratio * WHOLE as f64).round() as u64 })
    }

    /// Whether an uplink can hold back what its rack's ports send.
    #[must_use]
    pub const fn blocks(self) -> bool {
        self.millionths > WHOLE
    }

    /// The ratio.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.millionths as f64 / WHOLE as f64
    }

    /// The rate each way of the uplink of `ranks` ranks with such ports: `floor(ranks x port / ratio)`, at least 1 byte/s.
    ///
    /// ```
    /// # use topology::{Oversubscription, Rate};
    /// // 8 ranks with ports of 50 GB/s, 4 to 1: 100 GB/s.
    /// let uplink = Oversubscription::new(4.0)?.uplink(8, Rate::new(50_000_000_000)?);
    /// assert_eq!(uplink.bytes_per_s(), 100_000_000_000);
    /// # Ok::<(), topology::UnitError>(())
    /// ```
    #[must_use]
    pub fn uplink(self, ranks: u32, port: Rate) -> Rate {
        let rate = u128::from(ranks) * u128::from(port.bytes_per_s()) * u128::from(WHOLE)
            / u128::from(self.millionths);
        Rate::new(u64::try_from(rate).unwrap_or(u64::MAX).max(1)).unwrap_or(port)
    }

    /// That of the same uplink to ports that are used up to `reached` of their rate: what doesn't fill a port fills its part of an
    /// uplink no more.
    #[must_use]
    pub fn of_ports_at(self, reached: f64) -> Self {
        let ratio = (self.ratio() * reached).min(MOST);
        if self.blocks() { Self::new(ratio).unwrap_or(Self::NONE) } else { self }
    }
}

impl Default for Oversubscription {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Oversubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ratio().fmt(f)
    }
}

impl TryFrom<f64> for Oversubscription {
    type Error = UnitError;

    fn try_from(ratio: f64) -> Result<Self, UnitError> {
        Self::new(ratio)
    }
}

impl From<Oversubscription> for f64 {
    fn from(ratio: Oversubscription) -> Self {
        ratio.ratio()
    }
}

impl Rate {
    /// What a second job leaves that takes the share `taken` at all times, rounded down to whole bytes a second.
    ///
    /// # Errors
    /// [`UnitError::Background`] unless the share is from 0 to 0.999.
    pub fn left_by(self, taken: f64) -> Result<Self, UnitError> {
        if !(0.0..=TAKEN_MOST).contains(&taken) {
            return Err(UnitError::Background(taken));
        }
        let left = WHOLE - (taken * WHOLE as f64).round() as u64;
        let rate = u128::from(self.bytes_per_s()) * u128::from(left) / u128::from(WHOLE);
        Self::new(u64::try_from(rate).unwrap_or(u64::MAX)).map_err(|_| UnitError::Background(taken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_and_shares_that_cannot_be_are_refused() {
        for ratio in [0.999, 0.0, -4.0, f64::NAN, f64::INFINITY, 1_001.0] {
            assert!(matches!(Oversubscription::new(ratio), Err(UnitError::Oversubscription(_))), "{ratio}");
        }
        let port = Rate::new(50_000_000_000).expect("nonzero");
        for taken in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(port.left_by(taken), Err(UnitError::Background(_))), "{taken}");
        }
        assert!(Rate::new(1).expect("nonzero").left_by(0.5).is_err(), "nothing is left");
        assert_eq!(port.left_by(0.3).map(Rate::bytes_per_s), Ok(35_000_000_000));
        assert_eq!(port.left_by(0.0), Ok(port));
    }

    #[test]
    fn ports_that_are_not_filled_fill_no_uplink() {
        let four = Oversubscription::new(4.0).expect("a ratio");
        assert_eq!(four.of_ports_at(0.5).ratio(), 2.0);
        assert!(!four.of_ports_at(0.2).blocks());
        assert!(!Oversubscription::NONE.of_ports_at(3.0).blocks());
    }

    proptest! {
        #[test]
        fn an_uplink_is_what_its_ports_carry_over_the_ratio(
            ranks in 1u32..1_000, port in 1_000u64..1 << 41, ratio in 1.0f64..1_000.0,
        ) {
            let port = Rate::new(port).expect("nonzero");
            let all = f64::from(ranks) * port.bytes_per_s() as f64;
            let ratio = Oversubscription::new(ratio).expect("in range");
            let uplink = ratio.uplink(ranks, port).bytes_per_s() as f64;
            prop_assert!((uplink - all / ratio.ratio()).abs() <= 1.0 + all * 1e-12);
            prop_assert_eq!(Oversubscription::NONE.uplink(ranks, port).bytes_per_s(), u64::from(ranks) * port.bytes_per_s());
            prop_assert_eq!(Oversubscription::try_from(f64::from(ratio)), Ok(ratio));
        }
    }
}
