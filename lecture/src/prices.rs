//! Chapter "prices": what list prices of long contexts, output tokens and caches say about the hardware.
//!
//! Decoding a token multiplies every active parameter (compute, 2 N_act FLOP) and reads the cache of the
//! whole context (bandwidth, L kappa bytes). Compute does not grow with the context, reading does; a price
//! step at L* is read as the context at which the two are equal. The weights' own time t_w is left out, which
//! is right only for batches far above B* ([`load_for_ratio`] shows where that contradicts the price of
//! output).
//!
//! Symbols: L* the context of a price step; kappa bytes of KV cache a token of context; K(L) the time of
//! reading the cache over that of arithmetic; pi a surcharge; u = B / B* the load, 1 where reading the
//! weights takes as long as arithmetic; C bytes of a memory, BW its bytes/s. The further source here is PR,
//! public price pages of 2026.
//!
//! A list price does not measure cost: only ratios of prices are used here, as the levels lie 25 to 150 times
//! above the arithmetic ([`compute_cost`]). Inputs are not negative. 0 / 0 is 0 (nothing to do takes no
//! time), anything else over 0 is infinite.

mod caches;

pub use self::caches::{CachePrice, compute_cost, kv_break_even_hold};
use blackboard::units::{Bytes, BytesPerS, BytesPerToken, FlopPerS, Params, Tokens, quotient};

/// kappa for which the cache takes as long as arithmetic at `step`: `kappa = 2 N_act BW / (F L*)`.
///
/// Per sequence and token `t_c = 2 N_act / F` and `t_kv = L* kappa / BW`; set them equal. T and S1 write
/// `N_act / (rho L*)`: the same at one byte a parameter, and wrong at any other, as rho then contains the
/// weights' bytes. An upper bound: weights that take time too leave the cache less of it.
/// Infinite for a step at 0.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::kv_bytes_at_step};
/// let kappa = |flops, bandwidth| {
///     kv_bytes_at_step(Params(1e11), FlopPerS(flops), BytesPerS(bandwidth), Tokens(200e3)).0.round()
/// };
/// assert_eq!(kappa(600.0, 1.0), 1667.0); // the lecture: 100B active, rho = 300, 200k: "about 2 KB"
/// assert_eq!(kappa(1979e12, 3.35e12), 1693.0); // H100, FP8
/// assert_eq!(kappa(989.5e12, 3.35e12), 3386.0); // H100, BF16: twice that on the same hardware
/// ```
pub fn kv_bytes_at_step(
    active: Params,
    flops: FlopPerS,
    bandwidth: BytesPerS,
    step: Tokens,
) -> BytesPerToken {
    BytesPerToken(quotient(active.flop_per_token().0 * bandwidth.0, flops.0 * step.0))
}

/// L*, the context at which reading the cache takes as long as arithmetic: `2 N_act BW / (F kappa)`, the
/// inverse of [`kv_bytes_at_step`]. Source: T, S1. Infinite for a model without a cache.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::context_step};
/// // DeepSeek-V3's 70,272 bytes a token, FP8 arithmetic on GB200: a price step at 1.7k tokens, not at 200k.
/// let step = context_step(Params(37e9), FlopPerS(5e15), BytesPerS(8e12), BytesPerToken(70_272.0));
/// assert_eq!(step.0.round(), 1685.0);
/// ```
pub fn context_step(active: Params, flops: FlopPerS, bandwidth: BytesPerS, kv: BytesPerToken) -> Tokens {
    Tokens(quotient(active.flop_per_token().0 * bandwidth.0, flops.0 * kv.0))
}

/// K(L), the time of reading the cache over that of arithmetic: `L kappa F / (2 N_act BW) = L / L*`.
///
/// In units of arithmetic a token costs `max(1, K)` if the two overlap (lower bound) and `1 + K` if they take
/// turns (upper bound), whatever the batch. Source: T.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::kv_to_compute};
/// let k = kv_to_compute(Params(1e11), FlopPerS(5e15), BytesPerS(8e12), BytesPerToken(1600.0), Tokens(1e6));
/// assert_eq!(k, 5.0);
/// ```
pub fn kv_to_compute(
    active: Params,
    flops: FlopPerS,
    bandwidth: BytesPerS,
    kv: BytesPerToken,
    context: Tokens,
) -> f64 {
    let read = kv * context;
    quotient(read.0 * flops.0, active.flop_per_token().0 * bandwidth.0)
}

/// Attention that keeps keys and values of every KV head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupedHeads {
    /// n_kv, heads that have keys and values of their own.
    pub kv_heads: u32,
    /// d, elements of a key and of a value.
    pub head_dim: u32,
    /// Layers with a cache of their own over the whole context: those that share one count once, those with a
    /// short window not at all.
    pub layers: u32,
    /// An element in the cache.
    pub element: Bytes,
}

impl GroupedHeads {
    /// kappa: a key and a value for each head and layer, `2 d n_kv n_layers b`. Source: T, S1.
    ///
    /// ```
    /// # use {blackboard::units::*, lecture::prices::GroupedHeads};
    /// // T's way to 2 KB: 8 heads of 128 at one byte, in one layer that all others share.
    /// let heads = GroupedHeads { kv_heads: 8, head_dim: 128, layers: 1, element: Bytes(1.0) };
    /// assert_eq!(heads.kv_bytes(), BytesPerToken(2048.0));
    /// ```
    pub fn kv_bytes(self) -> BytesPerToken {
        let per_layer = 2.0 * f64::from(self.head_dim) * f64::from(self.kv_heads);
        BytesPerToken(per_layer * f64::from(self.layers) * self.element.0)
    }
}

/// Attention that keeps one latent vector for all heads (MLA of V3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatentHeads {
    /// Elements of the latent vector, from which keys and values are made.
    pub latent: u32,
    /// Elements of the rotated part of the key, which all heads share.
    pub rope: u32,
    /// Query heads, which share the latent vector.
    pub query_heads: u32,
    /// Layers with a cache of their own.
    pub layers: u32,
    /// An element in the cache.
    pub element: Bytes,
}

impl LatentHeads {
    /// kappa: `(latent + rope) n_layers b`, whatever the number of heads. Source: V3, ISCA.
    ///
    /// ```
    /// # use {blackboard::units::*, lecture::prices::LatentHeads};
    /// let v3 = LatentHeads { latent: 512, rope: 64, query_heads: 128, layers: 61, element: Bytes(2.0) };
    /// assert_eq!(v3.kv_bytes(), BytesPerToken(70_272.0)); // as ISCA prints it
    /// assert_eq!(v3.flop_per_byte().round(), 242.0);
    /// ```
    pub fn kv_bytes(self) -> BytesPerToken {
        BytesPerToken(
            (f64::from(self.latent) + f64::from(self.rope)) * f64::from(self.layers) * self.element.0,
        )
    }

    /// Arithmetic of attention for a byte of cache that it reads.
    ///
    /// Every head multiplies its query with the whole entry (latent + rope) and its weight with the latent
    /// part, 2 FLOP each: `2 n_q (2 latent + rope) / ((latent + rope) b)`. Near F / BW of the hardware (591
    /// of an H100 in FP8) "the cache is pure bandwidth" no longer holds. Derived from V3's shapes.
    pub fn flop_per_byte(self) -> f64 {
        let (latent, rope) = (f64::from(self.latent), f64::from(self.rope));
        let flop = 2.0 * f64::from(self.query_heads) * (2.0 * latent + rope);
        quotient(flop, (latent + rope) * self.element.0)
    }
}

/// Up to which context a surcharge of pi from `step` on covers the cost: `(1 + pi) L*`.
///
/// From L* on a token costs K(L) = L / L* times what it costs below, if reading and arithmetic overlap (a
/// lower bound of the cost, so the context is an upper bound). Source: T, S1, S2. PR: Gemini 3.1 Pro takes
/// 50% more for output from 200k on, and 100% more for input, so one K explains at most one of the two.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::covered_context};
/// assert_eq!(covered_context(Tokens(200e3), 0.5), Tokens(300e3));
/// ```
pub fn covered_context(step: Tokens, premium: f64) -> Tokens {
    step * (1.0 + premium)
}

/// The price of a token at `context` over that below `step` that covers its cost: `max(1, L / L*)`, a lower
/// bound as in [`covered_context`].
///
/// ```
/// # use {blackboard::units::*, lecture::prices::covering_price};
/// assert_eq!(covering_price(Tokens(200e3), Tokens(1e6)), 5.0); // a million takes a surcharge of 400%
/// ```
pub fn covering_price(step: Tokens, context: Tokens) -> f64 {
    quotient(context.0, step.0).max(1.0)
}

/// Cost of an output token over an input token: `max(1, 1/u + K)`.
///
/// Prefill runs at the compute floor. Decode reads the weights once for u B* sequences, 1/u floors each, and
/// the cache, K floors; arithmetic overlaps both (lower bound). Source: T, S1, S2. Infinite without load.
///
/// ```
/// # use lecture::prices::output_to_input;
/// assert_eq!(output_to_input(0.25, 1.0), 5.0);
/// assert_eq!(output_to_input(3.0, 0.5), 1.0); // compute-bound
/// ```
pub fn output_to_input(load: f64, kv_to_compute: f64) -> f64 {
    (1.0 / load + kv_to_compute).max(1.0)
}

/// Share of the peak FLOP/s that decode reaches if output costs `ratio` times as much as input that is
/// computed at the peak: `1/r`. Source: T, S1. Infinite for a ratio of 0.
///
/// ```
/// # use lecture::prices::decode_mfu;
/// assert_eq!(decode_mfu(5.0), 0.2);
/// ```
pub fn decode_mfu(ratio: f64) -> f64 {
    1.0 / ratio
}

/// u at which output costs `ratio` times as much as input, `1 / (r - K)`: the largest load that explains it.
/// `None` if no load does: `ratio` below 1 or not above K.
///
/// Here two readings of T collide. A step at 200k means K <= 1 below it with t_w left out, u >> 1. Output at
/// 5 times the input with K <= 1 means 1/u >= 4. Both can't hold at one (u, K); neither is corrected here.
///
/// ```
/// # use lecture::prices::load_for_ratio;
/// assert_eq!(load_for_ratio(5.0, 1.0), Some(0.25));
/// assert_eq!(load_for_ratio(5.0, 5.0), None);
/// ```
pub fn load_for_ratio(ratio: f64, kv_to_compute: f64) -> Option<f64> {
    (ratio >= 1.0 && ratio > kv_to_compute).then(|| 1.0 / (ratio - kv_to_compute))
}

/// L_q, the context at which attention's own arithmetic equals that of the weights: `N_act / (2 n_q d_h
/// n_global)`. `query_width` is n_q d_h, `global_layers` those that see the whole context.
///
/// A token's query meets L keys and then L values, 2 FLOP an element each: 4 n_q d_h L a layer, against 2
/// N_act. (Over a prefill the mean context is L/2: twice L_q.) Source: T, whose "millions" is right only for
/// one global layer. Infinite if nothing attends.
///
/// ```
/// # use {blackboard::units::Params, lecture::prices::quadratic_context};
/// let thousands = |global_layers| (quadratic_context(Params(1e11), 16_384, global_layers).0 / 1e3).round();
/// assert_eq!([thousands(1), thousands(6), thousands(61)], [3052.0, 509.0, 50.0]);
/// ```
pub fn quadratic_context(active: Params, query_width: u32, global_layers: u32) -> Tokens {
    Tokens(quotient(active.0, 2.0 * f64::from(query_width) * f64::from(global_layers)))
}

/// How much of its context a token reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// A token reads its whole context.
    Dense,
    /// About the square root.
    Sparse,
}

impl Attention {
    /// How many times more a token costs at context `to` than at `from`, where reading the cache is what
    /// costs: `L/L0` dense, `sqrt(L/L0)` sparse. Both are upper bounds: arithmetic does not grow. Source: T.
    ///
    /// ```
    /// # use {blackboard::units::Tokens, lecture::prices::Attention};
    /// let growth = |attention: Attention| attention.cost_growth(Tokens(2e5), Tokens(1e8)).round();
    /// assert_eq!([growth(Attention::Dense), growth(Attention::Sparse)], [500.0, 22.0]);
    /// ```
    pub fn cost_growth(self, from: Tokens, to: Tokens) -> f64 {
        let longer = quotient(to.0, from.0);
        match self {
            Self::Dense => longer,
            Self::Sparse => longer.sqrt(),
        }
    }
}

#[cfg(test)]
mod tests;
