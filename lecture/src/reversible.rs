//! Chapter "reversibility": layers that can be undone, and what that saves.
//!
//! A Feistel cipher turns any function into a bijection: `(x, y) -> (y + f(x), x)` keeps x, so that f(x) can
//! be computed again and taken away. f itself need not be invertible. RevNet's layers are the same
//! construction (Gomez et al. 2017): the backward pass makes each layer's input again from its output instead
//! of keeping it. That is the opposite of a KV cache, which spends memory to save compute. Sources: T, S1, S2.
//!
//! The inverse is exact where addition is, as over the integers modulo 2^64; with floating-point addition it drifts.

use blackboard::units::Bytes;

/// `rounds` rounds of a Feistel network: `(x, y) -> (y + f(x, round), x)` modulo 2^64. Source: T, S1, S2.
///
/// ```
/// # use lecture::reversible::{feistel, feistel_inverse};
/// // A round function that forgets all but one bit of its input.
/// let lossy = |word: u64, round: u32| (word & 1) << round;
/// let sealed = feistel((7, 9), 16, lossy);
/// assert_ne!(sealed, (7, 9));
/// assert_eq!(feistel_inverse(sealed, 16, lossy), (7, 9));
/// ```
pub fn feistel(block: (u64, u64), rounds: u32, f: impl Fn(u64, u32) -> u64) -> (u64, u64) {
    (0..rounds).fold(block, |(x, y), round| (y.wrapping_add(f(x, round)), x))
}

/// The inverse of [`feistel`]: the rounds backwards, each `(z, x) -> (x, z - f(x, round))`.
pub fn feistel_inverse(block: (u64, u64), rounds: u32, f: impl Fn(u64, u32) -> u64) -> (u64, u64) {
    (0..rounds).rev().fold(block, |(z, x), round| (x, z.wrapping_sub(f(x, round))))
}

/// What training keeps of the forward pass for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Every layer's activations.
    StoreAll,
    /// Those of every sqrt(L)-th layer; between two of them they are made again.
    SqrtCheckpoints,
    /// The last layer's; all others are made again backwards.
    Reversible,
}

impl Policy {
    /// From most memory to least.
    pub const ALL: [Self; 3] = [Self::StoreAll, Self::SqrtCheckpoints, Self::Reversible];

    /// Bytes kept for L layers of a bytes each: `L a`; `2 sqrt(L) a` (the checkpoints, and the layers between
    /// two of them while these are at work; no gain up to 4 layers); `a`. Lower bounds, as checkpoints are
    /// whole layers and working memory comes on top. Source: T, S1, S2.
    ///
    /// ```
    /// # use {blackboard::units::Bytes, lecture::reversible::Policy};
    /// let memory = Policy::ALL.map(|policy| policy.activation_memory(61, Bytes(1.0)).0);
    /// assert_eq!(memory.map(|bytes| format!("{bytes:.1}")), ["61.0", "15.6", "1.0"]);
    /// ```
    pub fn activation_memory(self, layers: u32, per_layer: Bytes) -> Bytes {
        let layers = f64::from(layers);
        per_layer
            * match self {
                Self::StoreAll => layers,
                Self::SqrtCheckpoints => 2.0 * layers.sqrt(),
                Self::Reversible => layers.min(1.0),
            }
    }

    /// Arithmetic over that of [`Policy::StoreAll`], a forward pass and a backward pass of twice that: a third more where the
    /// forward pass is made again. Source: T, S1, S2.
    ///
    /// ```
    /// # use lecture::reversible::Policy;
    /// let factors = Policy::ALL.map(|policy| format!("{:.2}", policy.compute_factor()));
    /// assert_eq!(factors, ["1.00", "1.33", "1.33"]);
    /// ```
    pub fn compute_factor(self) -> f64 {
        match self {
            Self::StoreAll => 1.0,
            Self::SqrtCheckpoints | Self::Reversible => 4.0 / 3.0,
        }
    }
}

#[cfg(test)]
mod tests;
