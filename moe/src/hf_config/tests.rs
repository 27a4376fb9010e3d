//! Configurations of every family, and what is said about wrong ones.

use super::samples::{deepseek_v3, maverick, mixtral, qwen3};
use super::*;
use crate::gate::{GateKind, Sigmoid, Softmax};
use crate::model::Attention;
use serde_json::{Value, json};

fn read(config: &Value) -> Result<Model, ModelError> {
    Model::from_hf_config(&config.to_string(), "config.json")
}

fn message(config: &Value) -> String {
    let message = read(config).unwrap_err().to_string();
    assert!(message.starts_with("config.json: "), "{message}");
    message
}

/// `config` with `field` set to `value`.
fn with(config: &Value, field: &str, value: Value) -> Value {
    let mut changed = config.clone();
    changed[field] = value;
    changed
}

/// A read configuration must equal the preset in everything but its name, its source and what was published.
fn assert_is_preset(config: &Value, preset: &str) {
    let mut model = read(config).unwrap();
    let preset = Model::preset(preset).unwrap();
    assert_eq!(model.source, "config.json");
    model.name.clone_from(&preset.name);
    model.source.clone_from(&preset.source);
    (model.published_total, model.published_active) = (preset.published_total, preset.published_active);
    assert_eq!(model, preset);
}

#[test]
fn a_model_without_experts_is_read_by_its_own_door() {
    // Llama 3 70B as in SB: 80 layers of 8192, 28,672 wide, 64 heads with 8 of them for keys and values.
    let config = json!({
        "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 128256,
        "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8
    });
    assert!(message(&config).contains("llama"), "no door for what dispatches");
    let model = Model::dense_from_hf_config(&config.to_string(), "config.json").unwrap();
    assert_eq!((model.moe_layers, model.total_params()), (0, model.active_params()));
    assert_eq!((model.total_params() / 1e9).round(), 71.0);
    assert_eq!(model.attention.kv_elements() * 80, 2 * 8 * 128 * 80);
    let error = Model::dense_from_hf_config(&mixtral().to_string(), "config.json").unwrap_err().to_string();
    assert!(error.contains("model_type = mixtral") || error.contains("model_type = \"mixtral\""), "{error}");
    let error =
        Model::dense_from_hf_config(&with(&config, "intermediate_size", json!(0)).to_string(), "config.json");
    assert!(error.unwrap_err().to_string().contains("intermediate_size"));
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
            "routed_scaling_factor": 1.0, "first_k_dense_replace": 1, "n_shared_experts": 1,
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
    let model = read(&config).unwrap();
    assert_eq!((model.moe_layers, model.dense_inter), (22, 6144));
    assert!(model.is_moe_layer(1) && !model.is_moe_layer(2) && !model.is_moe_layer(3));
    assert_eq!((model.shared_experts, model.shared_inter), (1, 5632));
}

#[test]
fn gates_of_deepseek_follow_scoring_and_method() {
    let v3 = deepseek_v3();
    let kind = |scoring: &str, method: &str| {
        read(&with(&with(&v3, "scoring_func", json!(scoring)), "topk_method", json!(method))).map(|m| m.gate)
    };
    let grouped = kind("softmax", "group_limited_greedy").unwrap();
    assert_eq!((grouped.kind, grouped.n_group), (GateKind::of(&Softmax).norm_topk(true), 8));
    assert_eq!(kind("softmax", "greedy").unwrap().n_group, 1);
    let plain = GateKind::of(&Sigmoid).norm_topk(true);
    assert_eq!(kind("sigmoid", "greedy").unwrap().kind, plain);
    assert!(kind("tanh", "greedy").unwrap_err().to_string().contains("scoring_func = tanh"));
    assert!(kind("softmax", "noaux_tc").unwrap_err().to_string().contains("topk_method = noaux_tc"));
}

#[test]
fn every_required_field_is_asked_for_by_name() {
    for config in [deepseek_v3(), mixtral(), qwen3(), maverick()["text_config"].clone()] {
        let optional = [
            "scoring_func",
            "topk_method",
            "norm_topk_prob",
            "moe_layer_freq",
            "num_key_value_heads",
            "q_lora_rank",
            "tie_word_embeddings",
            "decoder_sparse_step",
            "mlp_only_layers",
            "head_dim",
            "interleave_moe_layer_step",
        ];
        for field in config.as_object().unwrap().keys() {
            let dense_unneeded =
                field.starts_with("intermediate_size") && config["model_type"] == "qwen3_moe";
            let mut without = config.clone();
            without.as_object_mut().unwrap().remove(field);
            if optional.contains(&field.as_str()) || dense_unneeded {
                read(&without).unwrap_or_else(|e| panic!("without {field}: {e}"));
            } else {
                let message = message(&without);
                assert!(message.contains(&format!("field '{field}' is missing; ")), "{message}");
            }
        }
    }
}

#[test]
fn impossible_values_are_named_with_the_remedy() {
    for (config, field, value, said) in [
        (
            mixtral(),
            "num_experts_per_tok",
            json!(9),
            "num_experts_per_tok = 9 is not possible; give at most num_local_experts = 8",
        ),
        (
            mixtral(),
            "hidden_size",
            json!(0),
            "hidden_size = 0 is not possible; give an integer between 1 and 65536",
        ),
        (mixtral(), "hidden_size", json!(1_u64 << 40), "hidden_size = 1099511627776"),
        (mixtral(), "hidden_size", json!(-1), "hidden_size = -1"),
        (mixtral(), "hidden_size", json!(4096.5), "hidden_size = 4096.5"),
        (mixtral(), "hidden_size", json!("4096"), "hidden_size = \"4096\""),
        (
            mixtral(),
            "hidden_size",
            json!(4097),
            "num_attention_heads = 32 is not possible; give a divisor of hidden_size",
        ),
        (mixtral(), "num_key_value_heads", json!(5), "num_key_value_heads = 5"),
        (
            mixtral(),
            "num_local_experts",
            json!(100_000),
            "num_local_experts = 100000 is not possible; give an integer between 1 and 4096",
        ),
        (
            mixtral(),
            "tie_word_embeddings",
            json!(1),
            "tie_word_embeddings = 1 is not possible; give true or false",
        ),
        (
            deepseek_v3(),
            "n_group",
            json!(7),
            "n_group = 7 is not possible; give a divisor of n_routed_experts = 256",
        ),
        (deepseek_v3(), "topk_group", json!(9), "topk_group = 9"),
        (
            deepseek_v3(),
            "n_group",
            json!(256),
            "topk_group = 4 is not possible; give enough of the 256 groups",
        ),
        (deepseek_v3(), "routed_scaling_factor", json!(0), "routed_scaling_factor = 0"),
        (deepseek_v3(), "routed_scaling_factor", json!(1e300), "routed_scaling_factor = 1e+300"),
        (deepseek_v3(), "first_k_dense_replace", json!(61), "first_k_dense_replace = 61"),
        (deepseek_v3(), "moe_layer_freq", json!(2), "moe_layer_freq = 2"),
        (
            qwen3(),
            "mlp_only_layers",
            json!([48]),
            "mlp_only_layers = 48 is not possible; give a list of layer indices below 48",
        ),
        (qwen3(), "mlp_only_layers", json!(3), "mlp_only_layers = 3"),
        (
            qwen3(),
            "model_type",
            json!("qwen9_moe"),
            "model_type = qwen9_moe is not possible; give one of deepseek_v2",
        ),
        (maverick()["text_config"].clone(), "moe_layers", json!([0, 1]), "moe_layers = [0, 1]"),
    ] {
        let message = message(&with(&config, field, value));
        assert!(message.contains(said), "{message}\n  should contain: {said}");
    }
}

#[test]
fn dense_models_and_other_texts_are_refused() {
    let llama = json!({ "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32 });
    assert!(message(&llama).contains("model type 'llama' has no routed experts"));
    let all_dense = with(&qwen3(), "mlp_only_layers", json!((0..48).collect::<Vec<_>>()));
    assert!(message(&all_dense).contains("has no routed experts"));
    for text in ["", "{", "[]", "3"] {
        let message = Model::from_hf_config(text, "config.json").unwrap_err().to_string();
        assert!(message.starts_with("config.json: not a JSON object: "), "{message}");
    }
    let long = " ".repeat(MAX_CONFIG_BYTES + 1);
    assert!(
        Model::from_hf_config(&long, "config.json").unwrap_err().to_string().contains("more than 1048576")
    );
}

#[test]
fn the_name_is_the_path_it_was_saved_from() {
    assert_eq!(read(&maverick()).unwrap().name, "maverick");
    assert_eq!(read(&mixtral()).unwrap().name, "mixtral");
    assert!(matches!(read(&deepseek_v3()).unwrap().attention, Attention::Latent { q_lora: Some(1536), .. }));
}

/// The page shows the file as it is compiled here.
#[test]
fn the_family_of_the_page_on_extending_is_read() {
    let page = include_str!("../../../docs/extending.md");
    assert!(page.contains(include_str!("families/phimoe.rs")), "docs/extending.md has another phimoe.rs");
    let config = with(&mixtral(), "model_type", json!("phimoe")).to_string();
    let model = Model::read_hf_config(&config, "config.json", &[families::phimoe::FAMILY]).unwrap();
    assert_eq!((model.num_experts, model.gate.kind), (8, GateKind::of(&Softmax)));
    assert!(read(&with(&mixtral(), "model_type", json!("phimoe"))).is_err(), "it is an example");
}
