//! Published mixture-of-experts models by name: the tables of `data/models.toml`, read as a model file is.

use crate::model::{Model, ModelError};
use serde::Deserialize;
use std::iter;
use std::sync::OnceLock;
use topology::did_you_mean;

struct Preset {
    model: Model,
    aliases: Vec<String>,
}

/// All presets, families together, read once.
///
/// # Panics
/// If the file of this crate has a fault, which its tests would show.
fn presets() -> &'static [Preset] {
    /// A model file with what else it is called.
    #[derive(Deserialize)]
    struct Table {
        model: Vec<toml::Table>,
    }
    static PRESETS: OnceLock<Vec<Preset>> = OnceLock::new();
    PRESETS.get_or_init(|| {
        let file: Table =
            toml::from_str(include_str!("../data/models.toml")).expect("data/models.toml is TOML");
        let preset = |mut table: toml::Table| {
            let aliases = table.remove("aliases").map_or(Ok(Vec::new()), toml::Value::try_into);
            let model = table.try_into::<Model>().map_err(|error| error.to_string());
            let model = model
                .and_then(|model| model.read_from("data/models.toml").map_err(|error| error.to_string()));
            Preset {
                model: model.expect("data/models.toml is sound"),
                aliases: aliases.expect("aliases are names"),
            }
        };
        file.model.into_iter().map(preset).collect()
    })
}

impl Preset {
    /// What it is called, its own name first.
    fn names(&self) -> impl Iterator<Item = &str> {
        iter::once(self.model.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

impl Model {
    /// The preset of that name or alias. Letter case, punctuation and an organisation in front (`org/name`) don't
    /// matter.
    ///
    /// # Errors
    /// [`ModelError::UnknownPreset`] with the nearest name, if one is near, and all of them.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        let wanted = plain(name);
        let found = presets().iter().find(|preset| preset.names().any(|known| plain(known) == wanted));
        found.map(|preset| preset.model.clone()).ok_or_else(|| ModelError::UnknownPreset {
            name: name.to_owned(),
            hint: did_you_mean(name, presets().iter().flat_map(Preset::names)),
            known: Self::presets().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// All presets, in the order in which they are listed.
    pub fn presets() -> impl Iterator<Item = &'static Self> {
        presets().iter().map(|preset| &preset.model)
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
        assert_eq!(RECOMPUTED.len(), presets().len());
        for &(name, total, active) in RECOMPUTED {
            let model = Model::preset(name).unwrap();
            let (t, a) = (model.total_params() / 1e9, model.active_params() / 1e9);
            assert!((t / total - 1.0).abs() < 0.02, "{name}: {t} B in total, table {total}");
            assert!((a / active - 1.0).abs() < 0.02, "{name}: {a} B active, table {active}");
        }
    }

    #[test]
    fn published_totals_are_near() {
        for model in Model::presets() {
            let Some(published) = model.published_total else { continue };
            assert!((model.total_params() / published - 1.0).abs() < 0.03, "{}", model.name);
        }
    }

    #[test]
    fn every_preset_has_names_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for preset in presets() {
            for name in preset.names() {
                assert!(seen.insert(plain(name)), "{name} names two presets");
                assert_eq!(Model::preset(name).unwrap(), preset.model);
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
        assert_eq!(maverick.moe_layers(), 24);
        assert!(!maverick.is_moe_layer(0) && maverick.is_moe_layer(1) && maverick.is_moe_layer(47));
        let v3 = Model::preset("dsv3").unwrap();
        assert_eq!(v3.moe_layers(), 58);
        assert!(!v3.is_moe_layer(2) && v3.is_moe_layer(3) && !v3.is_moe_layer(61));
    }

    #[test]
    fn expert_bytes_and_cache_of_deepseek_v3() {
        let v3 = Model::preset("dsv3").unwrap();
        // DeepSeek-V3: 44.0 MB in FP8; 576 elements per token and layer.
        assert_eq!(v3.layer().expert_weight_bytes(), 3 * 7168 * 2048);
        assert_eq!(v3.layer_at(0).mixers[0].entry(), 576);
        assert_eq!(v3.layer().expert_flops(10), 60.0 * 7168.0 * 2048.0);
    }
}
