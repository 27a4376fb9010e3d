//! What every gate of the registry keeps to, and that one more needs no more than its line.

use super::*;
use crate::gate::{GateKind, GateSpec, Scratch, Selector};
use crate::topk::Routing;
use proptest::prelude::*;
use softplus::Softplus;

/// The registry with one more line.
fn with_softplus() -> Registry<dyn Gate> {
    let entries: Vec<&dyn Gate> = GATES.iter().chain([&Softplus as _]).collect();
    Registry::new("gate", entries.leak())
}

/// Every gate under every setting of its options.
pub(crate) fn any_kind() -> impl Strategy<Value = GateKind> {
    let gate = prop::sample::select(with_softplus().iter().collect::<Vec<_>>());
    (gate, any::<bool>(), any::<bool>())
        .prop_map(|(gate, bias, norm_topk)| GateKind::of(gate).bias(bias).norm_topk(norm_topk))
}

proptest! {
    /// The larger logits are selected, and no weight is negative or infinite.
    #[test]
    fn every_gate_prefers_larger_logits_and_weighs_soundly(
        kind in any_kind(),
        logits in prop::collection::vec(-8.0_f32..8.0, 8),
        top_k in 1_u32..=8,
    ) {
        let selector = Selector::new(&GateSpec::ungrouped(kind), 8, top_k, vec![0.0; 8], None);
        let mut routing = Routing::with_capacity(top_k, 1);
        selector.select(&mut logits.clone(), &mut Scratch::default(), &mut routing);
        let chosen: Vec<f32> = routing.topk_idx.iter().map(|&expert| logits[expert as usize]).collect();
        let least = chosen.iter().copied().fold(f32::INFINITY, f32::min);
        // Scores of logits nearer than that can be equal in f32.
        let passed_over = (0..8).filter(|expert| !routing.topk_idx.contains(expert));
        prop_assert!(passed_over.into_iter().all(|expert| logits[expert as usize] <= least + 1e-3));
        prop_assert!(routing.topk_weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0));
    }

    #[test]
    fn kinds_are_read_as_they_are_written(kind in any_kind()) {
        prop_assume!(GATES.named(kind.gate().name()).is_ok());
        let text = serde_json::to_string(&kind).unwrap();
        prop_assert_eq!(serde_json::from_str::<GateKind>(&text).unwrap(), kind, "{}", text);
    }
}

#[test]
fn kinds_are_written_as_ever_and_refused_by_name() {
    for (kind, text) in [
        (GateKind::of(&Softmax).norm_topk(true), r#"{"softmax":{"norm_topk":true}}"#),
        (GateKind::of(&SoftmaxAfterTopk).norm_topk(true), r#""softmax_after_topk""#),
        (GateKind::of(&Sigmoid).bias(true), r#"{"sigmoid":{"bias":true,"norm_topk":false}}"#),
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), text);
    }
    let error = |text: &str| serde_json::from_str::<GateKind>(text).unwrap_err().to_string();
    for (text, said) in [
        (r#""sigmoyd""#, "no gate is called `sigmoyd`, did you mean `sigmoid`?; there are softmax, "),
        (
            r#""sigmoid""#,
            "give all of them, true or false, as gate.kind.sigmoid = { bias = true, norm_topk = true }",
        ),
        (r#"{"softmax_after_topk":{"bias":true}}"#, "gate `softmax_after_topk` takes no options"),
        (r#"{"softmax":{}}"#, "missing field `norm_topk`"),
        (r#"{"softmax":{"bias":true}}"#, "gate `softmax` has no option `bias`; it has norm_topk"),
        (r#"{"softmax":{"norm_topk":true,"norm_topk":true}}"#, "`norm_topk` twice"),
    ] {
        assert!(error(text).contains(said), "{text}: {}", error(text));
    }
}

#[test]
fn a_gate_is_named_in_errors_and_documentation_by_its_line() {
    let registry = with_softplus();
    let error = registry.named("softpluss").unwrap_err().to_string();
    assert!(error.contains("did you mean `softplus`?") && error.ends_with(", softplus"), "{error}");
    assert!(registry.markdown().ends_with(&format!("| `softplus` | {} |\n", Softplus.help())));
    for gate in registry.iter() {
        let (name, help) = (gate.name(), gate.help());
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(!help.is_empty() && !help.contains(['\n', '|']) && !help.ends_with('.'), "{name}: {help}");
    }
}

#[cfg(not(feature = "extending"))]
#[test]
fn the_documentation_has_every_gate() {
    let page = include_str!("../../../../docs/models.md");
    assert!(page.contains(&GATES.markdown()), "docs/models.md should have\n{}", GATES.markdown());
    let page = include_str!("../../../../docs/extending.md");
    assert!(page.contains(include_str!("tests/softplus.rs")), "docs/extending.md shows another softplus.rs");
}
