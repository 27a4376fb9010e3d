//! A comparison without throttle: ports so fast that what is left is what the host's processes and QUIC take.

use crate::layer::{BackendKind, CompareSpec, Dilation, LatencyChoice, Record};
use coordinator::Limits;
use topology::{Fabric, LinkSpec, Picos, Rate};

/// Bytes a second of a port that never holds anything back: a megabyte takes a nanosecond.
const NO_THROTTLE: u64 = 1_000_000_000_000_000;
/// Delay of a link: a microsecond at that rate, so that a pair's credit, which is for what a link holds, is 2 GB and holds nothing back.
const DELAY: Picos = Picos(1_000_000);

/// The same on processes over QUIC, ports out of the way, and an emulated second a second of the wall.
#[must_use]
pub fn unthrottled(spec: CompareSpec) -> CompareSpec {
    let Ok(rate) = Rate::new(NO_THROTTLE) else { return spec };
    let link = LinkSpec { rate, latency: DELAY };
    let mut spec = CompareSpec {
        fabric: Fabric::new(link, link),
        latencies: vec![LatencyChoice::Preset],
        backends: vec![BackendKind::Quic],
        dilation: Dilation::Fixed(1),
        ..spec
    };
    spec.hardware.kernels = None;
    spec
}

/// How times of a record become times that are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wall {
    factor: f64,
    lead_us: f64,
}

impl Wall {
    /// As they are: emulated.
    pub const EMULATED: Self = Self { factor: 1.0, lead_us: 0.0 };

    /// Those of the wall, of an unthrottled run: one that was disturbed was repeated more slowly. Ranks send as soon as they are told of a
    /// phase, and where that is `limits`' lead before the common start, time counts from there.
    #[must_use]
    pub fn of(record: &Record, limits: &Limits) -> Self {
        let lead_ns =
            limits.lead_ns.saturating_add(limits.lead_per_rank_ns.saturating_mul(record.ranks.into()));
        Self { factor: record.network_dilation.unwrap_or(1) as f64, lead_us: lead_ns as f64 / 1e3 }
    }

    /// Limits without lead: ranks are told of a phase when it begins.
    #[must_use]
    pub fn no_lead() -> Limits {
        Limits { lead_ns: 0, lead_per_rank_ns: 0, ..Limits::default() }
    }

    /// Whether times are emulated.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        *self == Self::EMULATED
    }

    /// The time that `us` microseconds of a record stand for.
    #[must_use]
    pub fn us(&self, us: f64) -> f64 {
        us * self.factor + self.lead_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_counts_and_so_does_a_slower_clock() {
        let wall = Wall { factor: 2.0, lead_us: 18_000.0 };
        assert_eq!(wall.us(1_000.0), 20_000.0);
        assert!(Wall::EMULATED.is_emulated() && !wall.is_emulated());
        assert_eq!((Wall::no_lead().lead_ns, Wall::no_lead().lead_per_rank_ns), (0, 0));
    }
}
