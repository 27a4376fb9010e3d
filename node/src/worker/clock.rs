//! Wall clock and emulated time: `wall = start + emulated * dilation`. The only place that knows the dilation.

use topology::Picos;

/// Wall time that a port may be reserved and a frame handed to QUIC early: covers coarse wake-ups and short bursts.
pub(super) const HORIZON_NS: u64 = 30_000_000;

/// Clock of one phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseClock {
    pub(super) start_ns: u64,
    pub(super) dilation: u64,
}

impl PhaseClock {
    /// Emulated time at a wall time; zero before the start.
    pub(super) fn emulated(self, wall_ns: u64) -> Picos {
        let picos = u128::from(wall_ns.saturating_sub(self.start_ns)) * 1000 / u128::from(self.dilation);
        Picos(u64::try_from(picos).unwrap_or(u64::MAX))
    }

    /// First wall time at which the emulated clock shows `time` or later.
    pub(super) fn wall_ns(self, time: Picos) -> u64 {
        let ns = (u128::from(time.0) * u128::from(self.dilation)).div_ceil(1000);
        u64::try_from(ns).unwrap_or(u64::MAX).saturating_add(self.start_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_is_never_delivered_before_its_stamp(time in 0u64..1 << 50, dilation in 1u64..1 << 20, start in 0u64..1 << 60) {
            let clock = PhaseClock { start_ns: start, dilation };
            let wall = clock.wall_ns(Picos(time));
            prop_assume!(wall != u64::MAX);
            prop_assert!(clock.emulated(wall) >= Picos(time));
            prop_assert!(clock.emulated(wall.saturating_sub(1).max(start)) <= Picos(time));
        }
    }
}
