//! A batch leaves like a train, every period tau: how long a request waits and rides, and where the 20 ms come from.

use crate::units::{Bytes, BytesPerS, Seconds};

/// `C / BW`: the time in which a rank reads its whole memory once, the longest step that full memory makes. Source: T, S1.
///
/// ```
/// # use blackboard::{roofline::drain_time, units::*};
/// let gb200 = drain_time(Bytes(186e9), BytesPerS(8e12));
/// assert_eq!(format!("{:.2} ms", gb200.as_millis()), "23.25 ms");
/// ```
#[must_use]
pub fn drain_time(capacity: Bytes, bandwidth: BytesPerS) -> Seconds {
    capacity / bandwidth
}

/// Wait and ride of a request that just missed a train: `2 tau`. An upper bound. Source: T.
#[must_use]
pub fn worst_wait(period: Seconds) -> Seconds {
    2.0 * period
}

/// Wait and ride on average, arrivals being even: `tau/2 + tau`. Source: T.
///
/// ```
/// # use blackboard::{roofline::{mean_wait, worst_wait}, units::Seconds};
/// let period = Seconds(0.020);
/// assert_eq!(format!("{:.0} {:.0}", mean_wait(period).as_millis(), worst_wait(period).as_millis()), "30 40");
/// ```
#[must_use]
pub fn mean_wait(period: Seconds) -> Seconds {
    1.5 * period
}
