//! What the all-to-all is weighed against: the experts' arithmetic and the reading of their weights.

use moe::LayerShape;
use topology::{Dtype, Hardware};

use super::CopiesPerToken;
use crate::BlackboardError;
use crate::units::{BytesPerElement, Tokens};

/// Bytes per element of FP8 dispatch and BF16 combine together, block scales not counted (V3, EP).
pub const FP8_OUT_BF16_BACK: BytesPerElement = BytesPerElement(3.0);

/// x, the busier port's load in scale-up copies per chosen expert: `max(c_u, beta c_o) / k`. 1 if all k
/// copies go through the scale-up port; beta/2 for flat over two racks.
pub fn port_load(copies: CopiesPerToken, beta: f64, top_k: u32) -> f64 {
    copies.intra.max(beta * copies.inter) / f64::from(top_k)
}

/// The expert width below which the all-to-all outlasts the arithmetic: `(b_d + b_c) F x / (6 W_u)`.
///
/// A rank sends k x rows of h elements a token, b bytes an element over both phases: `T k x h b / W_u`.
/// Balanced, it computes k T rows of `6 h f` FLOP (three matrices, two FLOP a weight): `6 T k h f / F`. T, k
/// and h cancel, and what is left is solved for f. F is that of the layer's dtype; `bytes` is b, such as
/// [`FP8_OUT_BF16_BACK`].
///
/// ```
/// # use blackboard::scale_up::{FP8_OUT_BF16_BACK, expert_inter_min};
/// # use topology::{Dtype, Hardware};
/// let width = expert_inter_min(&Hardware::preset("gb200")?, Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK)?;
/// assert_eq!(width.round(), 2778.0); // V3's experts have 2048
/// # Ok::<(), blackboard::BlackboardError>(())
/// ```
///
/// # Errors
/// [`BlackboardError::Hardware`] if the hardware has no such dtype.
pub fn expert_inter_min(
    hardware: &Hardware,
    dtype: Dtype,
    load: f64,
    bytes: BytesPerElement,
) -> Result<f64, BlackboardError> {
    let scale_up = hardware.scale_up.bytes_per_s() as f64;
    Ok(bytes.0 * hardware.flops(dtype)? * load / (6.0 * scale_up))
}

/// The global batch from which on the all-to-all takes longer than reading the experts' weights:
/// `n T* = E 3 f w W_u / (k x (b_d + b_c) BW)`.
///
/// A rank reads E/n experts of `3 h f w` bytes at BW and sends `T k x h b` bytes at W_u; set equal and solve
/// for n T. The number of ranks cancels: more ranks have fewer tokens and fewer weights each.
///
/// ```
/// # use blackboard::scale_up::{FP8_OUT_BF16_BACK, weight_load_batch};
/// # use moe::gate::{GateKind, GateSpec, Softmax};
/// # use moe::LayerShape;
/// # use topology::{Dtype, Hardware};
/// let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
/// let v3 = LayerShape {
///     hidden: 7168, num_experts: 256, top_k: 8, expert_inter: 2048, gate, dtype: Dtype::Fp8, zero_experts: 0, gated: true, weight_bits: None
/// };
/// // Two racks of GB200, flat, beta = 8: less than the lecture's batch of 2400.
/// let batch = weight_load_batch(&v3, &Hardware::preset("gb200")?, 4.0, FP8_OUT_BF16_BACK);
/// assert_eq!(batch.0.round(), 1843.0);
/// # Ok::<(), topology::HardwareError>(())
/// ```
#[must_use]
pub fn weight_load_batch(
    shape: &LayerShape,
    hardware: &Hardware,
    load: f64,
    bytes: BytesPerElement,
) -> Tokens {
    let row_weights = 3.0 * f64::from(shape.expert_inter) * shape.dtype.bytes();
    let scale_up = hardware.scale_up.bytes_per_s() as f64;
    let per_token = f64::from(shape.top_k) * load * bytes.0 * hardware.hbm_bytes_per_s as f64;
    Tokens(f64::from(shape.num_experts) * row_weights * scale_up / per_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_dtype_is_named() {
        let a100 = Hardware::preset("a100").expect("a preset");
        let error = expert_inter_min(&a100, Dtype::Fp8, 1.0, FP8_OUT_BF16_BACK).expect_err("no fp8");
        assert_eq!(error.to_string(), "a100-sxm has no fp8 arithmetic; use bf16");
    }

    #[test]
    fn the_load_is_that_of_the_busier_port() {
        let copies = CopiesPerToken { intra: 4.0, inter: 1.0 };
        assert_eq!((port_load(copies, 2.0, 8), port_load(copies, 8.0, 8)), (0.5, 1.0));
    }
}
