//! Where a cache can wait: which memory suits it, what holding it costs, and how long making it again takes.

use crate::units::{
    Bytes, BytesPerS, BytesPerToken, Dollars, DollarsPerS, DollarsPerToken, FlopPerS, Params, Seconds,
    quotient,
};

/// A memory in which a cache can wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryTier {
    /// Name of the part, as people buy it.
    pub name: &'static str,
    /// C, bytes of one part.
    pub capacity: Bytes,
    /// BW, bytes/s that can be read from it.
    pub bandwidth: BytesPerS,
}

impl MemoryTier {
    /// How long reading all of it takes, `C / BW`.
    ///
    /// Held for t, an entry takes the share `kappa/C` of the space for t; read once, the share `kappa/BW` of
    /// a second of its port. The shares are equal at `t = C/BW`: held much longer the memory is full while
    /// its port idles, much shorter the other way round. So each duration has its tier. Source: T, S1.
    ///
    /// ```
    /// # use blackboard::caches::TIERS;
    /// let seconds = TIERS.map(|tier| format!("{:.3e}", tier.drain_time().0));
    /// assert_eq!(seconds, ["2.325e-2", "9.375e-1", "1.250e0", "3.257e0", "5.486e2", "4.389e3", "1.091e5"]);
    /// ```
    pub fn drain_time(self) -> Seconds {
        Seconds(quotient(self.capacity.0, self.bandwidth.0))
    }
}

/// From fast to slow. The drives are representative parts of our choice. T puts a disk at about an hour; a
/// modern one takes 30, and it is QLC flash that takes an hour.
pub const TIERS: [MemoryTier; 7] = [
    tier("HBM of a GB200", 186e9, 8e12),
    tier("LPDDR of a Grace", 480e9, 512e9),
    tier("LPDDR of a Vera", 1.5e12, 1.2e12),
    tier("DDR5 of a socket", 2e12, 614e9),
    tier("NVMe TLC", 7.68e12, 14e9),
    tier("NVMe QLC", 30.72e12, 7e9),
    tier("hard disk", 30e12, 0.275e9),
];

const fn tier(name: &'static str, capacity: f64, bandwidth: f64) -> MemoryTier {
    MemoryTier { name, capacity: Bytes(capacity), bandwidth: BytesPerS(bandwidth) }
}

/// t_remat, how long a device computes to make a token's cache again: `2 N_act / F`, all else hidden and at
/// the peak (lower bound). Source: T.
pub fn remat_time(active: Params, flops: FlopPerS) -> Seconds {
    Seconds(quotient(active.flop_per_token().0, flops.0))
}

/// What it costs to hold a token's cache for `hold` in memory of `capacity` bytes of a device that costs
/// `device`: `$/s kappa t / C`.
pub fn hold_cost(kv: BytesPerToken, capacity: Bytes, device: DollarsPerS, hold: Seconds) -> DollarsPerToken {
    let whole: Dollars = device * hold;
    DollarsPerToken(quotient(whole.0 * kv.0, capacity.0))
}
