//! The experts of one rank on the roofline of its hardware.

use moe::LayerShape;
use topology::{Hardware, Picos};

use crate::BlackboardError;

/// One expert's grouped product over `rows` rows: `max(6 h f rows / F, 3 h f w / BW)`, nothing without rows.
///
/// Three matrices of h by f are read once, whatever the rows, and each row costs two FLOP a weight.
/// Activations are left out: a row's `2 h` elements are a thousandth of `3 h f`. Source: T's roofline on one
/// expert; sizes as in V3.
///
/// ```
/// # use blackboard::roofline::expert_time;
/// # use moe::gate::{GateKind, GateSpec, Softmax};
/// # use moe::LayerShape;
/// # use topology::{Dtype, Hardware, Picos};
/// let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
/// let v3 = LayerShape {
///     hidden: 7168, num_experts: 256, top_k: 8, expert_inter: 2048, gate, dtype: Dtype::Fp8, zero_experts: 0, gated: true, weight_bits: None
/// };
/// let gb200 = Hardware::preset("gb200")?;
/// assert_eq!(expert_time(&v3, &gb200, 75)?, Picos(5_505_024)); // 44.0 MB at 8 TB/s
/// assert_eq!(expert_time(&v3, &gb200, 625)?, Picos(11_010_048)); // twice the balance of 312.5 rows
/// # Ok::<(), blackboard::BlackboardError>(())
/// ```
///
/// # Errors
/// [`BlackboardError::Hardware`] if the hardware can't compute in the layer's dtype, or not in finite time.
pub fn expert_time(shape: &LayerShape, hardware: &Hardware, rows: u64) -> Result<Picos, BlackboardError> {
    if rows == 0 {
        return Ok(Picos::ZERO);
    }
    let (flops, bytes) = (shape.expert_flops(rows), shape.expert_weight_bytes() as f64);
    Ok(hardware.expert_time(flops, shape.expert_flops(1), bytes, shape.dtype)?)
}

#[cfg(test)]
mod tests {
    use moe::gate::{GateKind, GateSpec, Softmax};
    use topology::Dtype;

    use super::*;

    #[test]
    fn an_expert_without_rows_is_not_read() {
        let gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true));
        let shape = LayerShape {
            hidden: 1024,
            num_experts: 8,
            top_k: 2,
            expert_inter: 512,
            gate,
            dtype: Dtype::Bf16,
            zero_experts: 0,
            gated: true,
            weight_bits: None,
        };
        let hardware = Hardware::preset("a100").expect("a preset");
        let one = expert_time(&shape, &hardware, 1).expect("bf16");
        assert!(one > Picos::ZERO);
        assert_eq!(expert_time(&shape, &hardware, 0), Ok(Picos::ZERO));
        let eight_bit = LayerShape { dtype: Dtype::Fp8, ..shape };
        assert!(expert_time(&eight_bit, &hardware, 1).is_err());
    }
}
