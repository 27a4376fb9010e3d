//! The figure of chapter F: memory against arithmetic.

use super::{computed, even, line};
use crate::claims::Chapter;
use crate::reversible::Policy;
use blackboard::figure::{Axis, Figure};
use blackboard::units::Bytes;

pub(super) fn figures() -> Vec<Figure> {
    let layers = 61;
    let at = |policy: Policy| (policy.compute_factor(), policy.activation_memory(layers, Bytes(1.0)).0);
    let (all, checkpoints, reversible) =
        (at(Policy::StoreAll), at(Policy::SqrtCheckpoints), at(Policy::Reversible));
    // Reversible layers are computed once more in the backward pass, a unit in three; one state is kept for all of them.
    let share = |part: f64| (1.0 + part * (reversible.0 - 1.0), (1.0 - part) * all.1 + part * reversible.1);
    vec![Figure {
        id: "f-frontier",
        chapter: Chapter::Reversible.name(),
        title: "Memory for arithmetic".to_owned(),
        caption: "Activations kept for the backward pass of 61 layers, in layers, against the arithmetic of a step (3 units without recomputation, \
                  4 with a second forward pass)."
            .to_owned(),
        x: Axis::linear("arithmetic over storing all"),
        y: Axis::log("activations kept, layers"),
        layers: vec![
            line("a share of the layers reversible", even(0.0, 1.0, 40).map(share)),
            computed(&[
                (all.0, all.1, "store all"),
                (checkpoints.0, checkpoints.1, "sqrt(L) checkpoints"),
                (reversible.0, reversible.1, "reversible"),
            ]),
        ],
    }]
}
