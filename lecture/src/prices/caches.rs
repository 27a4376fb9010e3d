//! Caches of prompts: what providers charge for them, which memory suits them, and when to compute again
//! instead.

use blackboard::units::{
    Bytes, BytesPerToken, DollarsPerS, DollarsPerToken, FlopPerS, Params, Seconds, quotient,
};

/// What it costs to write a prompt to a cache, as a line over the time that it stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CachePrice {
    /// What writing a token costs, however short it stays.
    pub fixed: DollarsPerToken,
    /// For each hour more.
    pub per_hour: DollarsPerToken,
}

impl CachePrice {
    /// The line through two published tiers, each (how long it stays, what writing a token costs). `None` if
    /// both stay equally long.
    ///
    /// ```
    /// # use {blackboard::units::*, lecture::prices::CachePrice};
    /// // PR, Claude Opus: input $5 a million, written for 5 minutes $6.25, for an hour $10. (S1 takes these
    /// // tiers for Gemini's.)
    /// let five_minutes = (Seconds(300.0), DollarsPerToken(6.25e-6));
    /// let hour = (Seconds(3600.0), DollarsPerToken(10e-6));
    /// let line = CachePrice::through(five_minutes, hour).expect("two durations");
    /// let per_mtok = [line.fixed, line.per_hour].map(|price| format!("{:.2}", price.per_mtok()));
    /// assert_eq!(per_mtok, ["5.91", "4.09"]); // and the latter for each hour
    /// ```
    pub fn through(one: (Seconds, DollarsPerToken), other: (Seconds, DollarsPerToken)) -> Option<Self> {
        let hours = (other.0 - one.0).0 / SECONDS_PER_HOUR;
        if hours == 0.0 {
            return None;
        }
        let per_hour = (other.1 - one.1) / hours;
        Some(Self { fixed: one.1 - per_hour * (one.0.0 / SECONDS_PER_HOUR), per_hour })
    }

    /// A token that stays for `hold`.
    pub fn price(self, hold: Seconds) -> DollarsPerToken {
        self.fixed + self.per_hour * (hold.0 / SECONDS_PER_HOUR)
    }
}

const SECONDS_PER_HOUR: f64 = 3600.0;

/// How long a token's KV cache is held in a device's memory until holding has cost as much as making it again:
/// `t_recompute C / M = 2 N_act C / (F kappa)`. Below it holding is cheaper.
///
/// M of C bytes for t take the share M/C of the device for t, making it again takes all of it for
/// t_recompute; the device's price cancels. Infinite if it takes no space. A lower bound: making it again at less than the
/// peak makes holding worth while for longer. Derived; T compares the two in words.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::kv_break_even_hold};
/// // 100B active, 2 KB a token, FP8 on GB200: an hour, as it happens the longest published cache tier.
/// let hold = kv_break_even_hold(Params(1e11), FlopPerS(5e15), Bytes(186e9), BytesPerToken(2048.0));
/// assert_eq!(hold.0.round(), 3633.0);
/// // DeepSeek-V3 with a BF16 cache, FP8 on H800 of 80 GB: under a minute.
/// let hold = kv_break_even_hold(Params(37e9), FlopPerS(1979e12), Bytes(80e9), BytesPerToken(70_272.0));
/// assert_eq!(format!("{:.1}", hold.0), "42.6");
/// ```
pub fn kv_break_even_hold(active: Params, flops: FlopPerS, capacity: Bytes, kv: BytesPerToken) -> Seconds {
    Seconds(quotient(active.flop_per_token().0 * capacity.0, flops.0 * kv.0))
}

/// What the arithmetic of a token costs: `2 N_act / (F MFU) $/s`. A lower bound at an MFU of 1. Source: T.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::compute_cost};
/// // 100B active, FP8 on GB200 at $3 an hour: 25 to 150 times below list prices of $2 to $5.
/// let cost = |mfu| compute_cost(Params(1e11), FlopPerS(5e15), DollarsPerS::per_hour(3.0), mfu).per_mtok();
/// assert_eq!(format!("{:.3}, {:.3}", cost(1.0), cost(0.4)), "0.033, 0.083");
/// ```
pub fn compute_cost(active: Params, flops: FlopPerS, device: DollarsPerS, mfu: f64) -> DollarsPerToken {
    DollarsPerToken(quotient(active.flop_per_token().0 * device.0, flops.0 * mfu))
}
