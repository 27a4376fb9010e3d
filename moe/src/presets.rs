//! Published mixture-of-experts models by name, with the sources of their numbers.
//!
//! Sources are named with each entry. Total and active parameters are kept as published and recomputed from the
//! shapes; the tests hold the two recomputations together.

mod table;

use crate::model::{Model, ModelError};
use table::{PRESETS, Preset};
use topology::did_you_mean;

impl Model {
    /// The preset of that name or alias. Letter case, punctuation and an organisation in front (`org/name`) don't
    /// matter.
    ///
    /// # Errors
    /// [`ModelError::UnknownPreset`] with the nearest name, if one is near, and all of them.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        let wanted = plain(name);
        let found = PRESETS.iter().find(|preset| preset.names().any(|known| plain(known) == wanted));
        found.map(Preset::model).ok_or_else(|| ModelError::UnknownPreset {
            name: name.to_owned(),
            hint: did_you_mean(name, PRESETS.iter().flat_map(Preset::names)),
            known: Self::preset_names().collect::<Vec<_>>().join(", "),
        })
    }

    /// The canonical names of all presets.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|preset| preset.name)
    }
}

impl Preset {
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    fn model(&self) -> Model {
        let (num_layers, first_dense_layers) = self.layers;
        let (num_experts, top_k, expert_inter) = self.experts;
        Model {
            name: self.name.to_owned(),
            hidden: self.hidden,
            num_layers,
            first_dense_layers,
            moe_layer_step: self.moe_layer_step,
            extra_dense_layers: Vec::new(),
            moe_layers: (num_layers - first_dense_layers) / self.moe_layer_step,
            num_experts,
            top_k,
            expert_inter,
            dense_inter: self.dense_inter,
            shared_experts: self.shared.0,
            shared_inter: self.shared.1,
            attention: self.attention,
            vocab: self.vocab,
            tied_embeddings: self.tied_embeddings,
            gate: self.gate,
            published_total: self.published.map(|(total, _)| total),
            published_active: self.published.map(|(_, active)| active),
            source: self.source.to_owned(),
        }
    }
}

/// The letters and digits of a name, in lower case, after the last slash.
fn plain(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Total and active parameters recomputed from the published shapes, in billions; granite-1b by hand from its shape.
    const RECOMPUTED: &[(&str, f64, f64)] = &[
        ("deepseek-v3", 671.03, 37.55),
        ("deepseek-v2", 235.7, 21.4),
        ("deepseek-v2-lite", 15.7, 2.66),
        ("kimi-k2", 1026.4, 32.9),
        ("mixtral-8x7b", 46.70, 12.88),
        ("mixtral-8x22b", 140.6, 39.2),
        ("qwen3-235b-a22b", 235.09, 22.19),
        ("qwen3-30b-a3b", 30.53, 3.35),
        ("gpt-oss-120b", 116.8, 5.7),
        ("gpt-oss-20b", 20.9, 4.2),
        ("glm-4.5", 352.8, 33.6),
        ("glm-4.5-air", 106.9, 13.4),
        ("llama-4-maverick", 400.7, 17.2),
        ("llama-4-scout", 107.8, 17.2),
        ("olmoe-1b-7b", 6.92, 1.28),
        ("granite-1b", 1.334, 0.429),
        ("lab-moe", 0.107, 0.050),
    ];

    #[test]
    fn parameters_add_up_to_the_table() {
        assert_eq!(RECOMPUTED.len(), PRESETS.len());
        for &(name, total, active) in RECOMPUTED {
            let model = Model::preset(name).unwrap();
            let (t, a) = (model.total_params() / 1e9, model.active_params() / 1e9);
            assert!((t / total - 1.0).abs() < 0.02, "{name}: {t} B in total, table {total}");
            assert!((a / active - 1.0).abs() < 0.02, "{name}: {a} B active, table {active}");
        }
    }

    #[test]
    fn published_totals_are_near() {
        for name in Model::preset_names() {
            let model = Model::preset(name).unwrap();
            let Some(published) = model.published_total else { continue };
            assert!((model.total_params() / published - 1.0).abs() < 0.03, "{name}");
        }
    }

    #[test]
    fn every_preset_is_valid_and_its_names_are_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for preset in PRESETS {
            preset.model().validate().unwrap();
            for name in preset.names() {
                assert!(seen.insert(plain(name)), "{name} names two presets");
                assert_eq!(Model::preset(name).unwrap().name, preset.name);
            }
        }
    }

    #[test]
    fn names_are_forgiving() {
        for (written, meant) in [
            ("DeepSeek-V3", "deepseek-v3"),
            ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
            ("dsv3", "deepseek-v3"),
            ("Qwen/Qwen3-235B-A22B", "qwen3-235b-a22b"),
            ("mixtral_8x7b", "mixtral-8x7b"),
            ("gpt-oss-120B", "gpt-oss-120b"),
            ("glm4.5", "glm-4.5"),
        ] {
            assert_eq!(Model::preset(written).unwrap().name, meant);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let message = Model::preset("mixtrall-8x7").unwrap_err().to_string();
        assert!(message.contains("did you mean `mixtral-8x7b`?"), "{message}");
        let message = Model::preset("zzz").unwrap_err().to_string();
        assert!(!message.contains("did you mean") && message.contains("granite-1b"), "{message}");
    }

    #[test]
    fn layers_with_experts_are_counted_by_index() {
        let maverick = Model::preset("maverick").unwrap();
        assert_eq!(maverick.moe_layers, 24);
        assert!(!maverick.is_moe_layer(0) && maverick.is_moe_layer(1) && maverick.is_moe_layer(47));
        let v3 = Model::preset("dsv3").unwrap();
        assert_eq!(v3.moe_layers, 58);
        assert!(!v3.is_moe_layer(2) && v3.is_moe_layer(3) && !v3.is_moe_layer(61));
    }

    #[test]
    fn expert_bytes_and_cache_of_deepseek_v3() {
        let v3 = Model::preset("dsv3").unwrap();
        // DeepSeek-V3: 44.0 MB in FP8; 576 elements per token and layer.
        assert_eq!(v3.layer().expert_weight_bytes(), 3 * 7168 * 2048);
        assert_eq!(v3.attention.kv_elements(), 576);
        assert_eq!(v3.layer().expert_flops(10), 60.0 * 7168.0 * 2048.0);
    }
}
