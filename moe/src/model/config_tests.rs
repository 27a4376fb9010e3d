//! Configurations of every kind of layer, with parameters as published and caches by hand.

use super::*;
use serde_json::{Value, json};

pub(super) fn read(config: &Value) -> Model {
    Model::from_config(&config.to_string(), "config.json").unwrap()
}

fn refused(config: &Value) -> ConfigError {
    Model::from_config(&config.to_string(), "config.json").unwrap_err()
}

/// A model of eight layers with 16 experts, and `fields` in place of its own.
pub(super) fn small(fields: Value) -> Value {
    let mut config = json!({
        "model_type": "qwen3_moe", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1000, "num_experts": 16,
        "num_experts_per_tok": 4, "moe_intermediate_size": 128, "intermediate_size": 1024
    });
    let (Value::Object(config), Value::Object(fields)) = (&mut config, fields) else { unreachable!() };
    config.extend(fields);
    json!(config)
}

/// Elements of the caches of [`small`]'s layers of full attention, a token: keys and values of 2 heads of 64.
const ENTRY: u64 = 2 * 2 * 64;

/// Shapes of published models, what their publishers say of them, and sums by hand, in billions.
#[derive(serde::Deserialize)]
struct Published {
    model: String,
    published_total: String,
    published_active: String,
    total: f64,
    active: f64,
    config: Value,
}

/// The page's table is what the reader adds up, and that is what was added up by hand.
#[test]
fn parameters_as_published() {
    let mut table =
        "| model | parameters | published | for a token | published | cache held | read |\n".to_owned();
    table += "| --- | --- | --- | --- | --- | --- | --- |\n";
    for line in include_str!("published.jsonl").lines() {
        let row: Published = serde_json::from_str(line).unwrap();
        let model = read(&row.config);
        let (total, active) = (model.total_params() / 1e9, model.active_params() / 1e9);
        assert!((total / row.total - 1.0).abs() < 0.002, "{}: {total} B, by hand {}", row.model, row.total);
        assert!(
            (active / row.active - 1.0).abs() < 0.01,
            "{}: {active} B, by hand {}",
            row.model,
            row.active
        );
        let [held, next] = <[Cache; 2]>::from(model.cache(131_072)).map(|cache| cache.bytes(16) as f64 / 1e9);
        let Published { model, published_total, published_active, .. } = row;
        table += &format!(
            "| {model} | {total:.1} | {published_total} | {active:.2} | {published_active} | {held:.2} | {next:.2} |\n"
        );
    }
    assert!(include_str!("../../../docs/models.md").contains(&table), "docs/models.md should have\n{table}");
}

#[test]
fn windows_and_chunks_keep_what_they_reach() {
    let window = small(json!({"sliding_window": 100, "layer_types": ["sliding_attention", "full_attention",
        "sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"]}));
    let chunks = small(json!({"model_type": "llama4_text", "attention_chunk_size": 100}));
    // Tokens kept by a window, and by a chunk that the last token is in.
    for (context, window_keeps, chunk_keeps) in
        [(1, 1, 1), (99, 99, 99), (100, 100, 100), (101, 100, 1), (1000, 100, 100), (1_000_000, 100, 100)]
    {
        let full = 4 * context * ENTRY;
        assert_eq!(read(&window).cache(context).0.entries, full + 4 * window_keeps * ENTRY, "{context}");
        // Every fourth layer sees everything.
        assert_eq!(
            read(&chunks).cache(context).1.entries,
            2 * context * ENTRY + 6 * chunk_keeps * ENTRY,
            "{context}"
        );
    }
}

#[test]
fn the_pattern_of_windows_is_said_in_many_ways() {
    let windows = |fields: Value| {
        let model = read(&small(fields));
        let slides =
            |layer: &Layer| matches!(layer.mixers[..], [Mixer::Grouped { span: Span::Window(_), .. }]);
        model.layers().filter(|layer| slides(layer)).count()
    };
    assert_eq!(windows(json!({"sliding_window": 64, "use_sliding_window": false})), 0);
    assert_eq!(windows(json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 6})), 2);
    assert_eq!(windows(json!({"sliding_window": null})), 0);
    assert_eq!(windows(json!({"model_type": "mixtral", "sliding_window": 64})), 8);
    assert_eq!(windows(json!({"sliding_window": 64, "sliding_window_pattern": 4})), 6);
    assert_eq!(windows(json!({"sliding_window": 64, "sliding_window_pattern": "LLG"})), 6);
    assert_eq!(windows(json!({"model_type": "gpt_oss"})), 4);
}

#[test]
fn a_sparse_index_holds_all_and_reads_some() {
    let model = read(&small(json!({"model_type": "deepseek_v32", "kv_lora_rank": 512, "q_lora_rank": 256,
        "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 64, "index_topk": 2048, "index_n_heads": 8,
        "index_head_dim": 128})));
    for (context, read) in [(1, 1), (2048, 2048), (100_000, 2048)] {
        let (held, next) = model.cache(context);
        assert_eq!((held.entries, held.index_keys), (8 * context * 576, 8 * context * 128));
        assert_eq!((next.entries, next.index_keys), (8 * read * 576, 8 * context * 128));
    }
}

#[test]
fn states_do_not_grow() {
    let model = read(&small(
        json!({"model_type": "qwen3_next", "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 32, "linear_value_head_dim": 32}),
    ));
    for context in [1, 1_000_000] {
        let held = model.cache(context).0;
        assert_eq!(held.entries, 2 * context * ENTRY, "every fourth layer has a cache");
        assert_eq!((held.state, held.conv_state), (6 * 4 * 32 * 32, 6 * 3 * (2 * 2 * 32 + 4 * 32)));
    }
}

#[test]
fn compressed_attention_holds_a_window_and_groups() {
    let model = read(&small(
        json!({"model_type": "deepseek_v4", "head_dim": 512, "q_lora_rank": 64, "o_groups": 2,
        "o_lora_rank": 64, "sliding_window": 128, "compress_ratios": [0, 4, 128, 4, 128, 4, 128, 4, 0],
        "index_topk": 64, "index_n_heads": 4, "index_head_dim": 128, "num_key_value_heads": 1, "num_hash_layers": 1}),
    ));
    let (held, next) = model.cache(1024);
    assert_eq!(held.entries, 512 * (8 * 128 + 4 * 256 + 3 * 8));
    assert_eq!(next.entries, 512 * (8 * 128 + 4 * 64 + 3 * 8));
    assert_eq!((held.index_keys, next.index_keys), (4 * 256 * 128, 4 * 256 * 128));
    let hashed = |layer: &Layer| matches!(layer.routed(), Some(Block::Routed { hashed: true, .. }));
    assert_eq!(model.layers().filter(|layer| hashed(layer)).count(), 1);
}

#[test]
fn which_layers_have_experts() {
    let routed = |fields: Value| {
        let model = read(&small(fields));
        model.layers().map(|layer| if layer.routed().is_some() { 'E' } else { '-' }).collect::<String>()
    };
    assert_eq!(routed(json!({})), "EEEEEEEE");
    assert_eq!(routed(json!({"first_k_dense_replace": 3})), "---EEEEE");
    assert_eq!(routed(json!({"decoder_sparse_step": 2})), "-E-E-E-E");
    assert_eq!(routed(json!({"mlp_only_layers": [0, 7]})), "-EEEEEE-");
    assert_eq!(routed(json!({"moe_layer_freq": [0, 1, 1, 1, 1, 1, 1, 0]})), "-EEEEEE-");
    assert_eq!(routed(json!({"expert_layer_period": 2, "expert_layer_offset": 1})), "-E-E-E-E");
    assert_eq!(routed(json!({"moe_layers_enum": "4,5,6,7"})), "----EEEE");
    assert_eq!(
        routed(
            json!({"mlp_layer_types": ["dense", "sparse", "sparse", "sparse", "sparse", "sparse", "sparse", "dense"]})
        ),
        "-EEEEEE-"
    );
    assert_eq!(routed(json!({"num_experts": 0})), "--------");
}

#[test]
fn names_that_were_changed_are_the_same_model() {
    let plain = small(json!({}));
    let mut renamed = small(json!({"num_local_experts": 16}));
    renamed.as_object_mut().unwrap().remove("num_experts");
    assert_eq!(read(&plain).kinds, read(&renamed).kinds);
    let nested = json!({"model_type": "some_vl", "vision_config": {"depth": 2}, "text_config": plain});
    assert_eq!(read(&plain).kinds, read(&nested).kinds);
    assert_eq!(read(&nested).other_parts, ["vision_config"]);
    let both = small(json!({"experts_per_token": 4}));
    assert_eq!(read(&plain).kinds, read(&both).kinds);
}

#[test]
fn widths_under_other_names() {
    let dense = |fields: Value| match read(&small(fields)).kinds[0].blocks[..] {
        [Block::Dense { inter, .. }] => inter,
        _ => unreachable!("no experts"),
    };
    assert_eq!(dense(json!({"num_experts": 0})), 1024);
    // Granite without experts.
    assert_eq!(dense(json!({"num_experts": 0, "shared_intermediate_size": 768})), 768);
    let keys = |fields: Value| match read(&small(fields)).kinds[0].mixers[..] {
        [Mixer::Grouped { kv_heads, .. }] => kv_heads,
        _ => unreachable!("full attention"),
    };
    assert_eq!(keys(json!({"num_key_value_heads": null, "multi_query": true})), 1);
    assert_eq!(keys(json!({"num_key_value_heads": null, "multi_query": false})), 8);
    assert_eq!(keys(json!({"use_cla": false, "cla_share_factor": 2})), 2);
    assert_eq!(
        refused(&small(json!({"use_cla": true, "cla_share_factor": 2}))).field.as_deref(),
        Some("cla_share_factor")
    );
}

#[test]
fn nothing_is_a_word_too() {
    let mixer = |fields: Value| read(&small(fields)).kinds[0].mixers[0];
    let full = |mixer: Mixer| matches!(mixer, Mixer::Grouped { span: Span::Full, .. });
    // Mistral's class assumes a window; files that say null, or -1, have none.
    assert!(!full(mixer(json!({"model_type": "mistral", "num_experts": 0}))));
    assert!(full(mixer(json!({"model_type": "mistral", "num_experts": 0, "sliding_window": null}))));
    assert!(full(mixer(json!({"model_type": "mistral", "num_experts": 0, "sliding_window_size": -1}))));
}

#[test]
fn blocks_by_their_activation() {
    let gated = |fields: Value| {
        let model = read(&small(fields));
        let gated = matches!(model.kinds[0].blocks[..], [Block::Routed { gated: true, .. }]);
        (gated, model.assumed.iter().any(|word| word.starts_with("blocks with")))
    };
    assert_eq!(gated(json!({"hidden_act": "silu"})), (true, false));
    assert_eq!(gated(json!({"hidden_act": "relu2"})), (false, false));
    assert_eq!(gated(json!({"hidden_act": "gelu", "model_type": "other"})), (true, true));
    assert_eq!(gated(json!({"hidden_act": "relu2", "model_type": "bitnet"})), (true, false));
}

#[test]
fn a_state_space_alone_has_no_other_blocks() {
    // mamba-2.8b: 2.77 B published.
    let model = read(
        &json!({"model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64, "state_size": 16,
        "conv_kernel": 4, "expand": 2, "intermediate_size": 5120, "time_step_rank": 160, "vocab_size": 50_280}),
    );
    assert!((model.params().total() / 1e9 - 2.77).abs() < 0.01, "{}", model.params().total());
    assert!(model.layers().all(|layer| layer.blocks.is_empty()));
}

#[test]
fn the_largest_numbers_are_added_up() {
    let model =
        read(&small(json!({"num_hidden_layers": 1024, "hidden_size": 65_536, "num_attention_heads": 65_536,
        "num_key_value_heads": 65_536, "head_dim": 65_536})));
    assert_eq!(model.cache(1_000_000).0.bytes(16), 1024 * 1_000_000 * 2 * (1 << 32) * 2);
    let names: Vec<String> = (0..20_000).map(|at| format!("model.layers.{at}.self_attn.q_proj")).collect();
    let many = json!({"quantization_config": {"quant_method": "fp8", "modules_to_not_convert": names}});
    assert_eq!(read(&small(many)).storage.left_out.len(), 8);
    let patterns = vec!["re:.*x"; 1000];
    let many = json!({"quantization_config": {"quant_method": "fp8", "ignore": patterns}});
    assert_eq!(refused(&small(many)).field.as_deref(), Some("quantization_config.ignore"));
}

#[test]
fn formats_of_storage() {
    let bits = |config: Value| {
        let storage = read(&small(json!({"quantization_config": config}))).storage;
        (
            storage.bits(Some(0), Part::Experts),
            storage.bits(Some(0), Part::Mixer),
            storage.bits(None, Part::Head),
        )
    };
    let weights = |kind: &str, bits: u32, group: u32| {
        json!({"quant_method": "compressed-tensors", "ignore": ["lm_head", "re:.*self_attn.*"],
            "config_groups": {"group_0": {"weights": {"type": kind, "num_bits": bits, "group_size": group}}}})
    };
    assert_eq!(bits(json!({"quant_method": "mxfp4"})), (4.25, 16.0, 16.0));
    let blocks = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    assert_eq!(bits(blocks), (8.0 + 32.0 / 16_384.0, 8.0 + 32.0 / 16_384.0, 16.0));
    assert_eq!(bits(weights("float", 4, 16)), (4.5, 16.0, 16.0));
    assert_eq!(bits(weights("float", 4, 32)), (4.25, 16.0, 16.0));
    assert_eq!(bits(weights("int", 4, 32)), (4.5, 16.0, 16.0));
    assert_eq!(bits(json!({"quant_method": "gptq", "bits": 4, "group_size": 128})), (4.125, 4.125, 16.0));
    let modelopt = json!({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["model.layers.0*"],
        "kv_cache_scheme": {"num_bits": 8, "type": "float"}});
    assert_eq!(bits(modelopt.clone()), (16.0, 16.0, 8.0));
    let storage = read(&small(json!({"quantization_config": modelopt}))).storage;
    assert_eq!((storage.bits(Some(1), Part::Experts), storage.cache_bits), (8.0, Some(8)));
    let twice =
        json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_use_double_quant": true});
    assert_eq!(bits(twice).0, 4.0 + 0.125 + 1.0 / 512.0);
    let older = json!({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}});
    assert_eq!(bits(older), (8.0, 8.0, 16.0));
    for (key, config) in [
        ("quant_method", json!({"quant_method": "aqlm"})),
        ("dynamic", json!({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*attn.*": {}}})),
    ] {
        let refused = refused(&small(json!({"quantization_config": config})));
        assert_eq!(refused.field, Some(format!("quantization_config.{key}")), "{refused}");
    }
}

#[test]
fn what_may_cost_and_is_not_understood_is_refused_by_name() {
    for (field, value) in [
        ("num_memory_layers", json!(4)),
        ("hidden_size_per_layer_input", json!(256)),
        ("block_configs", json!([{}])),
        ("share_expert_groups", json!(2)),
        ("layer_types", json!(vec!["quantum_attention"; 8])),
        ("scoring_func", json!("argmax")),
        ("hybrid_override_pattern", json!("MEM?")),
        ("num_key_value_heads", json!(3)),
        ("num_experts_per_tok", json!(17)),
        ("hidden_size", json!(-1)),
        ("moe_intermediate_size", json!([128, 256])),
        ("attention_experts", json!(8)),
    ] {
        let error = refused(&small(json!({field: value})));
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
        assert!(error.to_string().starts_with(&format!("config.json: {field}: ")), "{error}");
    }
    let ignored = read(&small(json!({"bos_token_id": 1, "rope_theta": 1e6, "num_memory_layers": 0}))).ignored;
    assert_eq!(ignored, ["bos_token_id", "intermediate_size", "num_memory_layers", "rope_theta"]);
}

#[test]
fn what_was_read_survives_writing() {
    let model =
        read(&small(json!({"first_k_dense_replace": 1, "quantization_config": {"quant_method": "mxfp4"}})));
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<Model>(&text).unwrap(), model);
}

/// The page shows the row as it is compiled here.
#[test]
fn the_row_of_the_page_on_extending_is_the_one_that_counts() {
    let page = include_str!("../../../docs/extending.md");
    let row = page
        .split("```rust\n")
        .find(|part| part.contains("&[\"mixtral\"]"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    assert!(include_str!("defaults.rs").contains(row), "docs/extending.md has another row: {row}");
    let mut config = small(json!({"model_type": "mixtral"}));
    config.as_object_mut().unwrap().remove("num_experts");
    assert!(matches!(read(&config).kinds[0].blocks[..], [Block::Routed { experts: 8, .. }]));
}

/// What the tool that quantised a model says of its experts counts, and not the word that the model it was made from had.
#[test]
fn experts_are_stored_as_the_last_tool_says() {
    let config = json!({"expert_dtype": "fp4", "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128],
        "quant_algo": "MIXED_PRECISION", "moe_quant_algo": "NVFP4"}});
    assert_eq!(read(&small(config)).storage.experts, Format::Nvfp4);
    let head = json!({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["language_model.lm_head"]}});
    assert!(!read(&small(head)).storage.head);
    assert!(read(&small(json!({"n_group": false, "topk_group": false}))).layer().gate.n_group == 1);
}
