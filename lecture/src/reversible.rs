//! Chapter "reversibility": layers that can be undone, and what that saves.
//!
//! A Feistel cipher turns any function into a bijection: `(x, y) -> (y + f(x), x)` keeps x, so that f(x) can
//! be computed again and taken away. f itself need not be invertible. RevNet's layers are the same
//! construction (Gomez et al. 2017): the backward pass makes each layer's input again from its output instead
//! of keeping it. That is the opposite of a KV cache, which spends memory to save compute; one formula prices
//! both ([`activation_break_even`]). Sources: T, S1, S2.
//!
//! The inverse is exact where addition is, over the integers modulo 2^64: [`Halves<i64>`], whatever rounding
//! f does inside, as it gets the same bits both times. With floating-point addition it drifts
//! ([`float_drift`], bounded by [`drift_bound`]).

use crate::prices::break_even_hold;
use blackboard::units::{Bytes, Flop, FlopPerS, Seconds, quotient};

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

/// Bits after the point of a fixed-point number: steps of 2.3e-10 from -2.1e9 to 2.1e9.
pub const FRACTION_BITS: u32 = 32;
const ONE: f64 = (1u64 << FRACTION_BITS) as f64;

/// The nearest fixed-point number; the ends of the range for anything beyond it, 0 for NaN.
pub fn to_fixed(value: f64) -> i64 {
    (value * ONE).round() as i64
}

/// The value of a fixed-point number, to the 53 bits of an f64.
pub fn from_fixed(value: i64) -> f64 {
    value as f64 / ONE
}

/// The activations between two reversible layers: two vectors of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Halves<T> {
    x: Vec<T>,
    y: Vec<T>,
}

impl<T: Copy + Default> Halves<T> {
    /// `None` if the lengths differ.
    pub fn new(x: Vec<T>, y: Vec<T>) -> Option<Self> {
        (x.len() == y.len()).then_some(Self { x, y })
    }

    /// The half that f sees next.
    pub fn x(&self) -> &[T] {
        &self.x
    }

    /// The half that f's result is added to next.
    pub fn y(&self) -> &[T] {
        &self.y
    }

    fn couple(self, f: impl Fn(&[T], &mut [T]), add: impl Fn(T, T) -> T) -> Self {
        let z = Self::join(self.y, &self.x, f, add);
        Self { x: z, y: self.x }
    }

    fn uncouple(self, f: impl Fn(&[T], &mut [T]), subtract: impl Fn(T, T) -> T) -> Self {
        let y = Self::join(self.x, &self.y, f, subtract);
        Self { x: self.y, y }
    }

    fn join(
        mut into: Vec<T>,
        seen: &[T],
        f: impl Fn(&[T], &mut [T]),
        operation: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let mut update = vec![T::default(); into.len()];
        f(seen, &mut update);
        for (element, update) in into.iter_mut().zip(update) {
            *element = operation(*element, update);
        }
        into
    }
}

impl Halves<i64> {
    /// A layer: `x' = y + f(x)`, `y' = x`, modulo 2^64. f writes its result into its second argument, which
    /// is all 0 before.
    ///
    /// ```
    /// # use lecture::reversible::{Halves, from_fixed, to_fixed};
    /// // In floating point inside, as a layer would be.
    /// let layer = |x: &[i64], update: &mut [i64]| {
    ///     for (update, x) in update.iter_mut().zip(x) {
    ///         *update = to_fixed(from_fixed(*x).sin());
    ///     }
    /// };
    /// let input = Halves::new(vec![to_fixed(0.1)], vec![to_fixed(0.2)]).expect("one length");
    /// assert_eq!(input.clone().forward(layer).inverse(layer), input);
    /// ```
    #[must_use]
    pub fn forward(self, f: impl Fn(&[i64], &mut [i64])) -> Self {
        self.couple(f, i64::wrapping_add)
    }

    /// The layer's input from its output, exactly: `x = y'`, `y = x' - f(y')`.
    #[must_use]
    pub fn inverse(self, f: impl Fn(&[i64], &mut [i64])) -> Self {
        self.uncouple(f, i64::wrapping_sub)
    }
}

impl Halves<f64> {
    /// A layer: `x' = y + f(x)`, `y' = x`, rounded. f as in [`Halves<i64>::forward`](Halves::forward).
    #[must_use]
    pub fn forward(self, f: impl Fn(&[f64], &mut [f64])) -> Self {
        self.couple(f, |y, update| y + update)
    }

    /// The layer's input from its output up to rounding: adding and taking away again is not exact.
    #[must_use]
    pub fn inverse(self, f: impl Fn(&[f64], &mut [f64])) -> Self {
        self.uncouple(f, |z, update| z - update)
    }

    fn largest(&self) -> f64 {
        self.x.iter().chain(&self.y).fold(0.0, |largest, value| value.abs().max(largest))
    }
}

/// How far [`float_drift`] ends from where it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// The largest difference of an element.
    pub largest: f64,
    /// The largest absolute value on the way.
    pub magnitude: f64,
}

/// Runs `input` through `layers` layers and back, in floating point; f also gets the layer's number.
///
/// ```
/// # use lecture::reversible::{Halves, drift_bound, float_drift};
/// let input = Halves::new(vec![0.1, 0.5], vec![0.2, 0.3]).expect("one length");
/// let drift = float_drift(&input, 61, |_, x, update| {
///     update.iter_mut().zip(x).for_each(|(update, x)| *update = 0.1 * x);
/// });
/// assert!(drift.largest > 0.0);
/// assert!(drift.largest <= drift_bound(61, drift.magnitude, 0.1));
/// ```
pub fn float_drift(input: &Halves<f64>, layers: u32, f: impl Fn(u32, &[f64], &mut [f64])) -> Drift {
    let mut state = input.clone();
    let mut magnitude = state.largest();
    for layer in 0..layers {
        state = state.forward(|x, update| f(layer, x, update));
        magnitude = magnitude.max(state.largest());
    }
    for layer in (0..layers).rev() {
        state = state.inverse(|x, update| f(layer, x, update));
        magnitude = magnitude.max(state.largest());
    }
    let ends = state.x.iter().chain(&state.y).zip(input.x.iter().chain(&input.y));
    let largest = ends.fold(0.0, |largest, (end, begin)| (end - begin).abs().max(largest));
    Drift { largest, magnitude }
}

/// An upper bound of [`Drift::largest`] for an f that is accurate to an ulp and changes by at most
/// `lipschitz` times the largest change of its input.
///
/// Undoing a layer turns errors (d_x', d_y') into `d_x = d_y'` and `d_y = d_x' + lipschitz d_y' + r`. r is
/// the rounding, in units of half an f64's epsilon times the magnitude: 1 each for the addition and the
/// subtraction and 4 for each of the two values of f, which is at most twice the magnitude. Errors grow by
/// `(lipschitz + sqrt(lipschitz^2 + 4)) / 2` a layer, the golden ratio at 1; infinite where that overflows.
/// Derived.
pub fn drift_bound(layers: u32, magnitude: f64, lipschitz: f64) -> f64 {
    let rounding = 10.0 * (f64::EPSILON / 2.0) * magnitude;
    let (mut x, mut y) = (0.0, 0.0);
    for _ in 0..layers {
        (x, y) = (y, x + lipschitz * y + rounding);
        if y == f64::INFINITY {
            return y;
        }
    }
    x.max(y)
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

    /// Arithmetic in units of a forward pass: 1 forward and 2 backward; 1 more where the forward pass is made
    /// again.
    pub fn compute_units(self) -> f64 {
        match self {
            Self::StoreAll => 3.0,
            Self::SqrtCheckpoints | Self::Reversible => 4.0,
        }
    }

    /// Arithmetic over that of [`Policy::StoreAll`]. Source: T, S1, S2.
    ///
    /// ```
    /// # use lecture::reversible::Policy;
    /// let factors = Policy::ALL.map(|policy| format!("{:.2}", policy.compute_factor()));
    /// assert_eq!(factors, ["1.00", "1.33", "1.33"]);
    /// ```
    pub fn compute_factor(self) -> f64 {
        self.compute_units() / Self::StoreAll.compute_units()
    }
}

/// How long a layer's activations are held until that has cost as much as making them again: `t_forward C /
/// a`, the [`break_even_hold`] of a KV cache with the roles exchanged.
///
/// A KV cache holds what would else be computed again; a reversible layer computes again what would else be
/// held. By price alone a training step that is shorter than this keeps its activations, and reversibility
/// pays only where they do not fit. Infinite if they take no space, 0 if making them takes no time. Derived.
///
/// ```
/// # use {blackboard::units::*, lecture::prices::kv_break_even_hold, lecture::reversible::activation_break_even};
/// // A token in one of DeepSeek-V3's 61 layers on GB200 (FP8 arithmetic, 7168 BF16 elements kept): 3 s. The
/// // token's cache in all layers: 39 s.
/// let (active, flops, capacity) = (Params(37e9), FlopPerS(5e15), Bytes(186e9));
/// let forward = active.flop_per_token() / 61.0;
/// let layer = activation_break_even(forward, flops, capacity, Bytes(2.0 * 7168.0));
/// let cache = kv_break_even_hold(active, flops, capacity, BytesPerToken(70_272.0));
/// assert_eq!(format!("{:.1}, {:.1}", layer.0, cache.0), "3.1, 39.2");
/// ```
pub fn activation_break_even(forward: Flop, flops: FlopPerS, capacity: Bytes, per_layer: Bytes) -> Seconds {
    break_even_hold(Seconds(quotient(forward.0, flops.0)), capacity, per_layer)
}

#[cfg(test)]
mod tests;
