//! What classes of models assume where a configuration is silent, as in `transformers`; no other type needs an entry.

use serde_json::{Map, Value};

/// Types, and the fields that stand where a configuration has none.
const DEFAULTS: &[(&[&str], &str)] = &[
    (
        &["gpt_oss"],
        r#"{"sliding_window": 128, "sliding_window_pattern": 2, "head_dim": 64, "scoring_func": "softmax_after_topk"}"#,
    ),
    (
        &["gemma2"],
        r#"{"sliding_window": 4096, "sliding_window_pattern": 2, "head_dim": 256, "tie_word_embeddings": true}"#,
    ),
    (
        &["gemma3_text", "gemma3"],
        r#"{"sliding_window": 4096, "sliding_window_pattern": 6, "head_dim": 256, "tie_word_embeddings": true, "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4}"#,
    ),
    (&["gemma", "gemma3n_text"], r#"{"head_dim": 256, "tie_word_embeddings": true}"#),
    (&["cohere", "command-r"], r#"{"tie_word_embeddings": true}"#),
    (&["cohere2"], r#"{"tie_word_embeddings": true, "sliding_window": 4096, "sliding_window_pattern": 4}"#),
    (&["mistral"], r#"{"sliding_window": 4096, "num_key_value_heads": 8}"#),
    (
        &["mixtral"],
        r#"{"num_key_value_heads": 8, "num_experts": 8, "num_experts_per_tok": 2, "scoring_func": "softmax_after_topk"}"#,
    ),
    (
        &["dbrx", "granitemoe", "granitemoeshared", "granitemoehybrid", "phimoe", "grok-1"],
        r#"{"scoring_func": "softmax_after_topk"}"#,
    ),
    (&["phimoe"], r#"{"num_experts": 16, "num_experts_per_tok": 2}"#),
    (&["deepseek_v2"], r#"{"scoring_func": "softmax", "norm_topk_prob": false}"#),
    (
        &[
            "deepseek_v3",
            "deepseek_v32",
            "kimi_k2",
            "glm4_moe",
            "glm_moe_dsa",
            "glm4_moe_lite",
            "dots1",
            "nemotron_h",
            "bailing_moe_v2",
        ],
        r#"{"scoring_func": "sigmoid", "use_routing_bias": true}"#,
    ),
    (&["deepseek_v4", "deepseek_ref"], r#"{"scoring_func": "sqrtsoftplus", "use_routing_bias": true}"#),
    (
        &["llama4_text", "llama4"],
        r#"{"scoring_func": "sigmoid", "norm_topk_prob": false, "n_shared_experts": 1, "attention_chunk_size": 8192, "no_rope_layer_interval": 4, "num_experts": 16, "num_experts_per_tok": 1}"#,
    ),
    (
        &["qwen3_next"],
        r#"{"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32, "full_attention_interval": 4, "attn_output_gate": true, "head_dim": 256, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512}"#,
    ),
    (
        &["qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe"],
        r#"{"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32, "full_attention_interval": 4, "attn_output_gate": true, "head_dim": 256}"#,
    ),
    (&["qwen2_moe", "qwen3_moe", "olmoe"], r#"{"norm_topk_prob": false}"#),
    (&["qwen2_moe"], r#"{"shared_expert_intermediate_size": 5632}"#),
    (&["qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text"], r#"{"head_dim": 128}"#),
    (&["ernie4_5_moe"], r#"{"use_routing_bias": true}"#),
    (&["lfm2_moe"], r#"{"scoring_func": "sigmoid", "use_routing_bias": true}"#),
    (&["llama", "bitnet"], r#"{"gated": true}"#),
    (&["apertus"], r#"{"gated": false}"#),
    (
        &["mamba", "falcon_mamba"],
        r#"{"blocks": "none", "tie_word_embeddings": true, "ssm_state_size": 16, "conv_kernel": 4, "expand": 2}"#,
    ),
    (
        &["mamba2"],
        r#"{"blocks": "none", "heads_of_states": true, "num_attention_heads": 128, "head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "expand": 2}"#,
    ),
    (
        &["gpt2", "gpt_neo", "gptj", "codegen", "gpt_bigcode", "bloom", "mpt", "falcon"],
        r#"{"intermediate_factor": 4}"#,
    ),
    (
        &["gpt2", "gpt_neo", "gpt_bigcode", "bloom", "mpt", "opt", "falcon", "starcoder2"],
        r#"{"tie_word_embeddings": true}"#,
    ),
    (&["afmoe"], r#"{"scoring_func": "sigmoid", "use_routing_bias": true, "attn_output_gate": true}"#),
    (&["arctic"], r#"{"scoring_func": "softmax_after_topk", "moe_layer_frequency": 2}"#),
    (&["mimo_v2_flash"], r#"{"scoring_func": "sigmoid", "use_routing_bias": true}"#),
    (&["bailing_moe_linear", "bailing_moe_linear_v2"], r#"{"linear_kind": "lightning"}"#),
    (&["jetmoe"], r#"{"attention_experts": 8}"#),
    (&["longcat_flash"], r#"{"use_routing_bias": true, "sublayers": 2}"#),
    (&["pangu_pro_moe", "PanguProMoE"], r#"{"n_group": 8, "topk_group": 8, "equal_shares": true}"#),
    (
        &["minimax", "minimax_text_01", "MiniMaxText01", "minimax_m1", "MiniMaxM1"],
        r#"{"scoring_func": "softmax", "linear_kind": "lightning"}"#,
    ),
    (&["falcon_h1"], r#"{"hybrid": "parallel"}"#),
    (
        &["jamba"],
        r#"{"attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 16, "num_experts_per_tok": 2, "norm_topk_prob": false, "ssm_state_size": 16, "conv_kernel": 4, "expand": 2}"#,
    ),
    (
        &[
            "gpt2",
            "gpt_neo",
            "falcon",
            "gpt_neox",
            "gptj",
            "phi",
            "opt",
            "bloom",
            "mpt",
            "starcoder2",
            "gpt_bigcode",
            "codegen",
            "nemotron",
            "persimmon",
        ],
        r#"{"gated": false}"#,
    ),
];

/// The fields that `model_type` assumes, later entries first.
pub(super) fn of(model_type: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    for (_, text) in DEFAULTS.iter().filter(|(types, _)| types.contains(&model_type)) {
        if let Ok(Value::Object(object)) = serde_json::from_str(text) {
            fields.extend(object);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_an_object() {
        for (types, text) in DEFAULTS {
            assert!(serde_json::from_str::<Map<String, Value>>(text).is_ok(), "{types:?}");
        }
    }
}
