//! Configurations for the tests: the fields that matter, with the values of published models.

use serde_json::{Value, json};

pub(super) fn deepseek_v3() -> Value {
    json!({
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "vocab_size": 129280,
        "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "intermediate_size": 18432,
        "n_group": 8, "topk_group": 4, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
        "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "n_shared_experts": 1, "moe_layer_freq": 1,
        "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "tie_word_embeddings": false
    })
}

pub(super) fn mixtral() -> Value {
    json!({
        "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000,
        "num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8
    })
}

pub(super) fn qwen3() -> Value {
    json!({
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "vocab_size": 151936,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "intermediate_size": 6144,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": true,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128
    })
}

pub(super) fn maverick() -> Value {
    json!({
        "model_type": "llama4", "_name_or_path": "maverick",
        "text_config": {
            "model_type": "llama4_text", "hidden_size": 5120, "num_hidden_layers": 48, "vocab_size": 202048,
            "num_local_experts": 128, "num_experts_per_tok": 1, "intermediate_size": 8192,
            "intermediate_size_mlp": 16384, "interleave_moe_layer_step": 2,
            "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128
        },
        "vision_config": { "hidden_size": 1408 }
    })
}
