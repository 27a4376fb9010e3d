//! Configurations of published models equal their presets; what is not built is refused by name.

use super::*;
use serde_json::{Value, json};

fn deepseek_v3() -> Value {
    json!({
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "vocab_size": 129280,
        "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "intermediate_size": 18432,
        "n_group": 8, "topk_group": 4, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
        "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "n_shared_experts": 1, "moe_layer_freq": 1,
        "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "tie_word_embeddings": false,
        "num_nextn_predict_layers": 1
    })
}

fn mixtral() -> Value {
    json!({
        "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000,
        "num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8
    })
}

fn qwen3() -> Value {
    json!({
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "vocab_size": 151936,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "intermediate_size": 6144,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": true,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128
    })
}

fn maverick() -> Value {
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

fn read(config: &Value) -> Model {
    Model::from_config(&config.to_string(), "config.json").unwrap()
}

/// `config` with `field` set to `value`.
fn with(config: &Value, field: &str, value: Value) -> Value {
    let mut changed = config.clone();
    changed[field] = value;
    changed
}

/// A read configuration must equal the preset in everything but its name, its source and what was published.
fn assert_is_preset(config: &Value, preset: &str) {
    let mut model = read(config);
    let preset = Model::preset(preset).unwrap();
    assert_eq!(model.source, "config.json");
    model.name.clone_from(&preset.name);
    model.source.clone_from(&preset.source);
    (model.published_total, model.published_active) = (preset.published_total, preset.published_active);
    (model.other_parts, model.assumed, model.ignored) = Default::default();
    // Presets say how published files are stored.
    model.storage.clone_from(&preset.storage);
    assert_eq!(model, preset);
}

#[test]
fn every_family_reads_as_its_preset() {
    assert_is_preset(&deepseek_v3(), "deepseek-v3");
    assert_is_preset(&mixtral(), "mixtral-8x7b");
    assert_is_preset(&qwen3(), "qwen3-30b-a3b");
    assert_is_preset(&maverick(), "llama-4-maverick");
    assert_is_preset(
        &json!({
            "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27, "vocab_size": 102400,
            "n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
            "intermediate_size": 10944, "n_group": 1, "topk_group": 1, "scoring_func": "softmax",
            "topk_method": "greedy", "norm_topk_prob": false, "routed_scaling_factor": 1.0,
            "first_k_dense_replace": 1, "n_shared_experts": 2, "num_attention_heads": 16, "q_lora_rank": null,
            "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128
        }),
        "deepseek-v2-lite",
    );
    assert_is_preset(
        &json!({
            "model_type": "olmoe", "hidden_size": 2048, "num_hidden_layers": 16, "vocab_size": 50304,
            "num_experts": 64, "num_experts_per_tok": 8, "intermediate_size": 1024, "norm_topk_prob": false,
            "num_attention_heads": 16, "num_key_value_heads": 16
        }),
        "olmoe-1b-7b",
    );
    assert_is_preset(
        &json!({
            "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 36, "vocab_size": 201088,
            "num_local_experts": 128, "num_experts_per_tok": 4, "intermediate_size": 2880,
            "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64
        }),
        "gpt-oss-120b",
    );
    assert_is_preset(
        &json!({
            "model_type": "glm4_moe", "hidden_size": 4096, "num_hidden_layers": 46, "vocab_size": 151552,
            "n_routed_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1408,
            "intermediate_size": 10944, "n_group": 1, "topk_group": 1, "norm_topk_prob": true,
            "routed_scaling_factor": 1.0, "first_k_dense_replace": 1, "n_shared_experts": 1, "num_nextn_predict_layers": 1,
            "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128
        }),
        "glm-4.5-air",
    );
    assert_is_preset(
        &json!({
            "model_type": "granitemoe", "hidden_size": 1024, "num_hidden_layers": 24, "vocab_size": 49155,
            "num_local_experts": 32, "num_experts_per_tok": 8, "intermediate_size": 512,
            "num_attention_heads": 16, "num_key_value_heads": 8, "tie_word_embeddings": true
        }),
        "granite-1b",
    );
}

#[test]
fn qwen_layers_without_experts_and_the_shared_expert() {
    let mut config = with(&qwen3(), "model_type", json!("qwen2_moe"));
    config["decoder_sparse_step"] = json!(2);
    config["mlp_only_layers"] = json!([3, 5, 3]);
    config["shared_expert_intermediate_size"] = json!(5632);
    let model = read(&config);
    assert_eq!(
        (model.moe_layers(), &model.layer_at(0).blocks[0]),
        (22, &Block::Dense { inter: 6144, gated: true })
    );
    assert!(model.is_moe_layer(1) && !model.is_moe_layer(2) && !model.is_moe_layer(3));
    assert!(matches!(model.routed(), Some(Block::Routed { shared_experts: 1, shared_inter: 5632, .. })));
}

#[test]
fn what_ranks_do_not_do_is_refused_by_name() {
    for (config, said) in [
        (with(&deepseek_v3(), "num_hash_layers", json!(4)), "a table from the token's id"),
        (with(&qwen3(), "mlp_only_layers", json!((0..48).collect::<Vec<u32>>())), "has no routed experts"),
    ] {
        let message = read(&config).check_ranks().unwrap_err().to_string();
        assert!(message.starts_with("config.json: ") && message.contains(said), "{message}");
    }
    for config in [
        deepseek_v3(),
        with(&mixtral(), "sliding_window", json!(4096)),
        maverick(),
        with(&mixtral(), "num_hash_layers", json!(4)),
        with(&mixtral(), "zero_expert_num", json!(4)),
    ] {
        assert!(read(&config).check_ranks().is_ok(), "{config}");
    }
    for (config, said) in [
        (with(&deepseek_v3(), "topk_group", json!(9)), "n_group"),
        (with(&deepseek_v3(), "zero_expert_num", json!(8)), "zero_experts = 8 is not possible"),
        (with(&mixtral(), "num_experts_per_tok", json!(9)), "num_experts_per_tok"),
    ] {
        let message = Model::from_config(&config.to_string(), "config.json").unwrap_err().to_string();
        assert!(message.starts_with("config.json: ") && message.contains(said), "{message}");
    }
}

#[test]
fn experts_of_a_latent_width_or_of_two_matrices_take_and_weigh_less() {
    let shape = read(&with(&deepseek_v3(), "moe_latent_size", json!(1024))).layer();
    assert_eq!((shape.hidden, shape.expert_weight_bytes()), (1024, 3 * 1024 * 2048));
    let shape = read(&with(&mixtral(), "hidden_act", json!("relu2"))).layer();
    assert_eq!(shape.expert_flops(1), 4.0 * 4096.0 * 14_336.0);
}

#[test]
fn a_model_without_experts_has_none_to_dispatch() {
    // Llama 3 70B: 80 layers of 8192, 28,672 wide, 64 heads with 8 of them for keys and values.
    let model = read(&json!({
        "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 128256,
        "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8
    }));
    assert_eq!((model.moe_layers(), model.total_params()), (0, model.active_params()));
    assert_eq!((model.total_params() / 1e9).round(), 71.0);
    assert_eq!(model.cache(1).0.entries, 2 * 8 * 128 * 80);
}
