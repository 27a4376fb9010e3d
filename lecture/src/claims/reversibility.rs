//! Claims F: layers that can be undone.

use super::{Equation, value};
use crate::prices::kv_break_even_hold;
use crate::reversible::{Policy, feistel, feistel_inverse};
use blackboard::units::{Bytes, BytesPerToken, FlopPerS, Params};

/// Blocks that don't come back from a Feistel network whose round function can't be undone.
fn blocks_lost(rounds: u32) -> f64 {
    let round = |x: u64, round: u32| (x >> 7).wrapping_mul(x) ^ u64::from(round);
    let blocks = (0..64_u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15), u64::MAX - n));
    let lost = blocks.filter(|&block| feistel_inverse(feistel(block, rounds, round), rounds, round) != block);
    lost.count() as f64
}

pub(super) const EQUATIONS: &[Equation] = &[
    ("F1", |i| vec![value("of 64 blocks, those that don't come back", "", blocks_lost(i.count("rounds")))]),
    ("F2", |i| {
        let memory = |policy: Policy| policy.activation_memory(i.count("layers"), Bytes(1.0)).0;
        vec![
            value("arithmetic over storing all", "", Policy::Reversible.compute_factor()),
            value("memory, store all", "layers", memory(Policy::StoreAll)),
            value("memory, sqrt(L) checkpoints", "layers", memory(Policy::SqrtCheckpoints)),
            value("memory, reversible", "layers", memory(Policy::Reversible)),
        ]
    }),
    ("F3", |i| {
        let hold = kv_break_even_hold(
            Params(i.get("active_params_held")),
            FlopPerS(i.get("flops")),
            Bytes(i.get("hbm_bytes")),
            BytesPerToken(i.get("kv_bytes_held")),
        );
        vec![value("holding pays for", "s", hold.0)]
    }),
];
