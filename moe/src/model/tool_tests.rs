//! What tools that quantise say of what they left out, what fields stand for in rarer families, and what is refused of both by its own name.

use super::config_tests::{read, small};
use super::*;
use serde_json::{Value, json};

fn refusal(config: &Value) -> String {
    Model::from_config(&config.to_string(), "config.json").unwrap_err().to_string()
}

#[test]
fn what_a_second_tool_leaves_out_keeps_the_format_of_the_first() {
    // As DeepSeek-V4-Flash's export: FP8 blocks, and NVFP4 for experts alone.
    let export = |ignore: &[&str]| {
        small(json!({"quantization_config": {
            "quant_method": "fp8", "weight_block_size": [128, 128], "quant_algo": "MIXED_PRECISION",
            "moe_quant_algo": "NVFP4", "ignore": ignore}}))
    };
    let storage = read(&export(&["*.self_attn.*", "*.shared_experts.*", "lm_head"])).storage;
    assert_eq!(storage.bits(Some(0), Part::Mixer), 8.0 + 32.0 / 16_384.0);
    assert_eq!((storage.bits(Some(0), Part::Experts), storage.bits(None, Part::Head)), (4.5, 16.0));
    assert!(refusal(&export(&["*.experts.*"])).contains("ignore: experts of layer 0"));
    // FP8's own list is of what stays as it was, and that is said.
    let own = small(json!({"quantization_config": {
        "quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["self_attn"]}}));
    let model = read(&own);
    assert_eq!(model.storage.bits(Some(0), Part::Mixer), 16.0);
    assert!(model.assumed.iter().any(|said| said.starts_with("modules left out of quantisation in 16 bits")));
}

#[test]
fn groups_of_no_weights_are_refused() {
    let gptq =
        |group: i64| json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": group}});
    assert_eq!(read(&small(gptq(-1))).storage.products, Format::Int(4, 0));
    assert!(refusal(&small(gptq(0))).contains("quantization_config.group_size: 0; give weights of a group"));
    let weights = json!({"type": "int", "num_bits": 4, "group_size": 0});
    let compressed = json!({"quantization_config": {
        "quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}});
    assert!(refusal(&small(compressed)).contains("group_size 0"));
}

#[test]
fn what_is_missing_goes_by_the_name_that_its_family_has() {
    let base =
        json!({"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 100});
    let with = |more: Value| {
        let mut config = base.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let experts = json!({"moe_num_primary_experts": 8, "moe_num_active_primary_experts": 2});
    assert!(refusal(&with(experts)).starts_with("config.json: moe_intermediate_size: missing"));
    // GPT-2 is four times as wide inside, and has one matrix at both ends.
    let gpt2 = read(&with(json!({"model_type": "gpt2"})));
    assert!(gpt2.tied_embeddings);
    assert_eq!(gpt2.kinds[0].blocks, [Block::Dense { inter: 256, gated: false }]);
    assert!(gpt2.assumed.contains(&"intermediate_factor = 4".to_owned()));
    // A width of its own leaves nothing to be taken from the type; one key for all heads is said in many ways.
    let coder = read(&with(json!({"model_type": "gpt_bigcode", "n_inner": 200, "multi_query": true})));
    assert_eq!(coder.kinds[0].blocks, [Block::Dense { inter: 200, gated: false }]);
    let mpt = read(&with(
        json!({"model_type": "mpt", "attn_config": {"attn_type": "multiquery_attention", "attn_impl": "torch"}}),
    ));
    assert_eq!((coder.cache(1).0.entries, mpt.cache(1).0.entries), (4 * 2 * 16, 4 * 2 * 16));
    // A recurrence alone has no blocks, and its heads are states.
    let mamba2 =
        read(&with(json!({"model_type": "mamba2", "head_dim": 32, "state_size": 16, "n_groups": 1})));
    assert!(mamba2.kinds[0].blocks.is_empty());
    assert_eq!(mamba2.cache(9).0.state, 4 * 4 * 32 * 16);
}

#[test]
fn jamba_takes_the_best_scores_as_they_are() {
    let jamba = read(&small(json!({"model_type": "jamba", "num_experts": 4})));
    let gate = jamba.layer().gate.kind;
    assert_eq!((gate.gate().name(), gate.has(crate::gate::GateOption::NormTopk)), ("softmax", false));
}

#[test]
fn layers_with_windows_may_have_heads_of_their_own() {
    let layout = json!([0, 1, 1, 0, 1, 1, 0, 1]);
    let model =
        read(&small(json!({"hybrid_layer_pattern": layout, "sliding_window": 16, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 16, "swa_num_attention_heads": 8, "swa_num_key_value_heads": 2,
        "swa_head_dim": 16, "v_head_dim": 8, "swa_v_head_dim": 8})));
    // Three layers hold all with one head, five a window with two.
    assert_eq!(model.cache(100).0.entries, 3 * 100 * 24 + 5 * 16 * 2 * 24);
    // Without windows these widths mean nothing.
    assert!(
        read(&small(json!({"swa_num_attention_heads": 8})))
            .ignored
            .contains(&"swa_num_attention_heads".to_owned())
    );
}
