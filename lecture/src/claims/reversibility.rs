//! Claims F: layers that can be undone.

use super::{Chapter, Definition, Rule, Stated, Verdict, input, value};
use crate::claims::verdict::EXACT;
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

pub(super) const CLAIMS: &[Definition] = &[
    Definition {
        id: "F1",
        chapter: Chapter::Reversible,
        claim: "a Feistel network makes any function invertible",
        source: "T, S1, S2",
        formula: "(x, y) -> (y + f(x), x); inverse y = z - f(x)",
        inputs: &[input("rounds", "", 16.0)],
        values: |i| {
            vec![value("of 64 blocks, those that don't come back", "", blocks_lost(i.count("rounds")))]
        },
        stated: Stated::Words("any function"),
        rule: Rule::AtMost(0.0),
        note: "exact in integers; floats need fixed point, or their drift is bounded",
    },
    Definition {
        id: "F2",
        chapter: Chapter::Reversible,
        claim: "reversible layers take less memory and more arithmetic",
        source: "T, S1, S2",
        formula: "store all: L a, 3 units; reversible: a, 4 units; sqrt(L) checkpoints: 2 sqrt(L) a, 4 units",
        inputs: &[input("layers", "", 61.0)],
        values: |i| {
            let memory = |policy: Policy| policy.activation_memory(i.count("layers"), Bytes(1.0)).0;
            vec![
                value("arithmetic over storing all", "", Policy::Reversible.compute_factor()),
                value("memory, store all", "layers", memory(Policy::StoreAll)),
                value("memory, sqrt(L) checkpoints", "layers", memory(Policy::SqrtCheckpoints)),
                value("memory, reversible", "layers", memory(Policy::Reversible)),
            ]
        },
        stated: Stated::Number(4.0 / 3.0, "4/3"),
        rule: Rule::Near(EXACT),
        note: "checkpoints of every sqrt(L)-th layer cost the same arithmetic",
    },
    Definition {
        id: "F3",
        chapter: Chapter::Reversible,
        claim: "that is the opposite of a KV cache",
        source: "T, S1, S2",
        formula: "both priced by t_hold of E8",
        inputs: &[
            input("active_params_held", "params", 1e11),
            input("flops", "FLOP/s", 5e15),
            input("hbm_bytes", "B", 186e9),
            input("kv_bytes_held", "B", 2048.0),
        ],
        values: |i| {
            let hold = kv_break_even_hold(
                Params(i.get("active_params_held")),
                FlopPerS(i.get("flops")),
                Bytes(i.get("hbm_bytes")),
                BytesPerToken(i.get("kv_bytes_held")),
            );
            vec![value("holding pays for", "s", hold.0)]
        },
        stated: Stated::Words("opposite"),
        rule: Rule::Always(Verdict::Reproduces),
        note: "a cache gives memory for arithmetic, a reversible layer arithmetic for memory",
    },
];
