//! Fields of a configuration under all the names they go by; remembers which were read.

use super::ConfigError;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Widths that layers with windows may have of their own (MiMo-V2, Step-3.5), by what they are elsewhere.
pub(super) const OWN_HEADS: [(&str, &[&str]); 4] = [
    ("num_attention_heads", &["swa_num_attention_heads", "attention_other_setting.num_attention_heads"]),
    (
        "num_key_value_heads",
        &[
            "swa_num_key_value_heads",
            "attention_other_setting.num_key_value_heads",
            "attention_other_setting.num_attention_groups",
        ],
    ),
    ("head_dim", &["swa_head_dim", "attention_other_setting.head_dim"]),
    ("v_head_dim", &["swa_v_head_dim", "attention_other_setting.v_head_dim"]),
];

/// What a field says, and the names under which models say it. The first is the one of `transformers` and stands in errors.
pub(super) const ALIASES: &[(&str, &[&str])] = &[
    ("hidden_size", &["d_model", "n_embd", "dim", "model_dim"]),
    ("num_hidden_layers", &["n_layers", "num_layers", "n_layer"]),
    ("num_attention_heads", &["n_heads", "n_head", "num_heads"]),
    (
        "num_key_value_heads",
        &[
            "kv_n_heads",
            "num_kv_heads",
            "n_kv_heads",
            "n_head_kv",
            "multi_query_group_num",
            "num_attention_groups",
        ],
    ),
    ("head_dim", &["attention_head_dim", "kv_channels", "d_head"]),
    ("vocab_size", &["padded_vocab_size", "n_vocab"]),
    ("intermediate_size", &["ffn_hidden_size", "n_inner", "ffn_dim", "d_ff", "inner_hidden_size"]),
    (
        "num_experts",
        &[
            "n_routed_experts",
            "num_local_experts",
            "moe_num_experts",
            "num_routed_experts",
            "n_experts",
            "num_moe_experts",
            "moe_num_routed_experts",
            "moe_num_primary_experts",
        ],
    ),
    (
        "num_experts_per_tok",
        &[
            "num_experts_per_token",
            "moe_top_k",
            "moe_topk",
            "experts_per_token",
            "moe_k",
            "top_k_experts",
            "num_selected_experts",
            "moe_router_topk",
            "num_experts_per_topk",
            "n_activated_experts",
            "moe_num_active_primary_experts",
        ],
    ),
    (
        "moe_intermediate_size",
        &[
            "expert_ffn_hidden_size",
            "moe_ffn_hidden_size",
            "expert_intermediate_size",
            "expert_dim",
            "moe_inter_dim",
        ],
    ),
    ("n_shared_experts", &["num_shared_experts", "moe_num_shared_experts", "num_shared_expert"]),
    (
        "shared_expert_intermediate_size",
        &["shared_intermediate_size", "moe_shared_expert_intermediate_size", "share_expert_dim"],
    ),
    ("zero_expert_num", &["num_zero_experts"]),
    ("moe_latent_size", &["routed_expert_hidden_size"]),
    (
        "first_k_dense_replace",
        &["num_dense_layers", "n_dense_layers", "moe_layer_start_index", "n_dense_first_layers"],
    ),
    ("n_group", &["num_expert_group", "num_expert_groups", "moe_n_group", "n_expert_groups"]),
    ("topk_group", &["moe_topk_group", "n_limited_groups", "num_limited_groups"]),
    (
        "scoring_func",
        &[
            "moe_router_activation_func",
            "score_function",
            "moe_gate_type",
            "router_score_function",
            "moe_router_score_function",
            "score_func",
            "moe_router_activation",
        ],
    ),
    (
        "norm_topk_prob",
        &["moe_renormalize", "route_norm", "norm_topk_prob_routing", "normalize_expert_weights"],
    ),
    (
        "routed_scaling_factor",
        &["route_scale", "moe_routed_scaling_factor", "moe_router_scaling_factor", "router_scaling_factor"],
    ),
    ("num_nextn_predict_layers", &["mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers"]),
    ("sliding_window", &["sliding_window_size", "window_size", "attention_window_size"]),
    (
        "sliding_window_pattern",
        &["_sliding_window_pattern", "window_pattern", "global_attn_every_n_layers", "global_attn_every_n"],
    ),
    ("mamba_num_heads", &["mamba_n_heads"]),
    ("mamba_head_dim", &["mamba_d_head"]),
    ("n_groups", &["mamba_n_groups", "mamba_num_groups"]),
    ("ssm_state_size", &["mamba_d_state", "mamba_state_dim", "state_size", "mamba_state_size"]),
    (
        "conv_kernel",
        &[
            "mamba_d_conv",
            "mamba_conv_kernel",
            "short_conv_kernel_size",
            "linear_conv_kernel_dim",
            "conv_L_cache",
        ],
    ),
    ("expand", &["mamba_expand"]),
    ("hidden_act", &["mlp_hidden_act", "activation_function", "hidden_activation", "ffn_act_fn"]),
    ("quantization_config", &["compression_config"]),
    ("tie_word_embeddings", &["tie_embeddings", "tie_embedding"]),
    ("mamba_dt_rank", &["time_step_rank"]),
    ("sliding_window_layout", &["hybrid_layer_pattern"]),
    ("intermediate_factor", &["expansion_ratio"]),
];

/// Objects in a configuration whose fields stand for the text model's own.
const NESTED: [&str; 4] = ["attn_config", "ffn_config", "ssm_cfg", "moe_config"];
/// Objects whose fields are apart from the text model's own: they go by `object.field`.
const APART: [&str; 2] = ["linear_attn_config", "attention_other_setting"];
/// Objects that hold the text model of a larger one, as far in as they nest.
const TEXT_PARTS: [&str; 7] = [
    "text_config",
    "language_config",
    "llm_config",
    "thinker_config",
    "language_model_config",
    "text_model_config",
    "model_config",
];

/// The fields of the text part of a configuration.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) origin: &'a str,
    /// The text part with nested groups laid open.
    values: Vec<(String, &'a Value)>,
    /// What stands outside of the text part, for where it has no word of its own; nothing there has to be understood.
    outside: Vec<(String, &'a Value)>,
    /// Fields that say that there is nothing: no default takes their place.
    nothing: BTreeSet<String>,
    read: RefCell<BTreeSet<String>>,
    /// Keys of objects beside the text part.
    pub(super) other_parts: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(origin: &'a str, object: &'a Map<String, Value>) -> Self {
        let mut text = object;
        let mut other_parts = Vec::new();
        let mut outer = Vec::new();
        while let Some((key, inner)) =
            TEXT_PARTS.iter().find_map(|key| Some((*key, text.get(*key)?.as_object()?)))
        {
            let beside = text
                .iter()
                .filter(|(name, value)| *name != key && value.is_object() && name.ends_with("_config"));
            other_parts
                .extend(beside.map(|(name, _)| name.clone()).filter(|name| name != "quantization_config"));
            outer.extend(text.iter().filter(|(name, value)| {
                *name != key
                    && !(value.is_object() && name.ends_with("_config") && *name != "quantization_config")
            }));
            text = inner;
        }
        let mut values: Vec<(String, &'a Value)> = Vec::new();
        let mut nothing = BTreeSet::new();
        let mut put = |key: &str, value: &'a Value| {
            // A field that is `null` counts as absent, as in `transformers`; so does -1, as many write it.
            if is_nothing(value) {
                nothing.insert(key.to_owned());
            } else if values.iter().all(|(known, _)| known != key) {
                values.push((key.to_owned(), value));
            }
        };
        // Nested groups come last: what they say of themselves, such as a type, is not the model's.
        let is_group = |key: &str| NESTED.contains(&key) || APART.contains(&key);
        for (key, value) in text.iter().filter(|(key, value)| !(is_group(key) && value.is_object())) {
            put(key, value);
        }
        for (key, group) in text.iter().filter(|(key, _)| is_group(key)) {
            for (inner, value) in group.as_object().into_iter().flatten() {
                let apart = format!("{key}.{inner}");
                put(if NESTED.contains(&key.as_str()) { inner } else { &apart }, value);
            }
        }
        let said = outer.into_iter().filter(|(_, value)| !is_nothing(value));
        let outside = said.map(|(key, value)| (key.clone(), value)).collect();
        Self { origin, values, outside, nothing, read: RefCell::default(), other_parts }
    }

    /// With what stands where the configuration has no word.
    pub(super) fn or(mut self, assumed: &'a Map<String, Value>) -> Self {
        self.values.extend(assumed.iter().map(|(key, value)| (key.clone(), value)));
        self
    }

    /// Whether the configuration says of a field, under any of its names, that there is nothing.
    pub(super) fn says_nothing(&self, field: &str) -> bool {
        names(field).any(|name| self.nothing.contains(name))
    }

    /// A value by its name in [`ALIASES`] or by its own, and the name that it goes by here. Of two names with one meaning the first
    /// counts; the other is said to be read where it says the same.
    pub(super) fn find<'b>(&'b self, field: &'b str) -> Option<(&'b str, &'a Value)> {
        let of = |list: &'b [(String, &'a Value)]| {
            names(field).filter_map(move |name| list.iter().find(|(key, _)| key == name))
        };
        let mut found = of(&self.values).chain(of(&self.outside));
        let (key, value) = found.next()?;
        let same = found.filter(|(_, other)| other == value).map(|(key, _)| key.clone());
        self.read.borrow_mut().extend(same.chain([key.clone()]));
        Some((key, value))
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.find(field).is_some()
    }

    /// An error about a field.
    pub(super) fn wrong(&self, field: &str, problem: &str) -> ConfigError {
        let origin = self.origin.to_owned();
        ConfigError { origin, field: Some(field.to_owned()), problem: format!("{field}: {problem}") }
    }

    /// A number from `min` to `max`, where the field is there. A list of one number, or of equal ones, is that number.
    pub(super) fn number(&self, field: &str, min: u32, max: u32) -> Result<Option<u32>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        if *value == Value::Bool(false) {
            return Ok(None);
        }
        let one = match value.as_array().map(Vec::as_slice) {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => first,
            _ => value,
        };
        let whole =
            one.as_u64().or_else(|| one.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
        let number =
            whole.and_then(|number| u32::try_from(number).ok()).filter(|number| (min..=max).contains(number));
        number
            .map(Some)
            .ok_or_else(|| self.wrong(key, &format!("{}; give a number from {min} to {max}", short(value))))
    }

    /// As [`Self::number`]; an error where the field is missing.
    pub(super) fn required(&self, field: &str, max: u32) -> Result<u32, ConfigError> {
        self.number(field, 1, max)?.ok_or_else(|| {
            let names =
                ALIASES.iter().find(|(name, _)| *name == field).map_or(String::new(), |(_, others)| {
                    if others.is_empty() { String::new() } else { format!(" (or {})", others.join(", ")) }
                });
            self.wrong(field, &format!("missing{names}; give a number from 1 to {max}"))
        })
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(key, &format!("{}; give true or false", short(value))))
    }

    pub(super) fn word(&self, field: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, &format!("{}; give a word", short(value))))
    }

    pub(super) fn list(&self, field: &str) -> Result<Option<&'a [Value]>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        let list = value.as_array().map(|list| Some(list.as_slice()));
        list.ok_or_else(|| self.wrong(key, &format!("{}; give a list", short(value))))
    }

    /// A positive number that need not be whole.
    pub(super) fn factor(&self, field: &str) -> Result<Option<f64>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        number.map(Some).ok_or_else(|| self.wrong(key, &format!("{}; give a number above 0", short(value))))
    }

    /// Layers that a list names, each below `num_layers`; `first` is the number of the first layer.
    pub(super) fn indices(
        &self,
        field: &str,
        first: u64,
        num_layers: u32,
    ) -> Result<Option<BTreeSet<u32>>, ConfigError> {
        let Some((key, value)) = self.find(field) else { return Ok(None) };
        let parsed: Option<Vec<u64>> = match value {
            Value::Array(list) => list.iter().map(Value::as_u64).collect(),
            Value::String(text) => text.split(',').map(|word| word.trim().parse().ok()).collect(),
            _ => None,
        };
        let index = |number: u64| {
            number.checked_sub(first).filter(|&layer| layer < num_layers.into()).map(|layer| layer as u32)
        };
        let indices = parsed.and_then(|list| list.into_iter().map(index).collect());
        let remedy = || {
            self.wrong(
                key,
                &format!("{}; give numbers of layers, from {first}, {num_layers} in all", short(value)),
            )
        };
        indices.map(Some).ok_or_else(remedy)
    }

    /// Fields that nobody asked for.
    pub(super) fn unread(&self) -> Vec<(&str, &'a Value)> {
        let read = self.read.borrow();
        self.values
            .iter()
            .filter(|(key, _)| !read.contains(key))
            .map(|(key, value)| (key.as_str(), *value))
            .collect()
    }
}

/// All names of a field, the one in [`ALIASES`] first.
fn names(field: &str) -> impl Iterator<Item = &str> {
    let others = ALIASES.iter().find(|(name, _)| *name == field).map_or(&[][..], |(_, others)| others);
    std::iter::once(field).chain(others.iter().copied())
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_i64() == Some(-1) || value.as_str() == Some("")
}

/// A value as it stands, cut where it is long.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
