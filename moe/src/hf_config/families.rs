//! The families of mixture-of-experts configurations: which field of which family means what.

use super::fields::Fields;
use crate::gate::{GateKind, GateSpec, Sigmoid, Softmax, SoftmaxAfterTopk};
use crate::model::{Attention, MAX_ATTENTION, MAX_LAYERS, MAX_VOCAB, Model, ModelError};
use crate::shape::{MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_TOP_K};

/// Configurations that are read alike.
pub(super) struct Family {
    /// Their `model_type`.
    pub(super) types: &'static [&'static str],
    /// Reads one, its `model_type` first.
    pub(super) read: fn(&str, Fields<'_>) -> Result<Model, ModelError>,
}

/// Models with experts, in the order in which errors name them.
pub(super) const WITH_EXPERTS: &[Family] = &[
    Family { types: &["deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2"], read: deepseek },
    Family { types: &["mixtral", "gpt_oss"], read: mixtral },
    Family { types: &["qwen2_moe", "qwen3_moe"], read: qwen },
    Family { types: &["olmoe"], read: olmoe },
    Family { types: &["glm4_moe"], read: glm },
    Family { types: &["llama4", "llama4_text"], read: llama4 },
    Family { types: &["granitemoe", "granitemoeshared"], read: granite },
];

/// Models without experts.
pub(super) const DENSE: &[Family] = &[Family {
    types: &["llama", "mistral", "qwen2", "qwen3", "granite", "olmo2"],
    read: |model_type, fields| dense(model_type, fields, "intermediate_size"),
}];

/// What all families with experts share: grouped-query attention, no dense layers, no shared experts and softmax over the
/// selected experts; the families change what differs. `experts` and `inter` are the names of two fields.
fn common(
    model_type: &str,
    fields: Fields<'_>,
    experts: &'static str,
    inter: &'static str,
) -> Result<Model, ModelError> {
    let num_experts = fields.positive(experts, MAX_EXPERTS)?;
    let top_k = fields.positive("num_experts_per_tok", MAX_TOP_K)?;
    if top_k > num_experts {
        let remedy = format!("at most {experts} = {num_experts}");
        return Err(fields.invalid("num_experts_per_tok", top_k, &remedy));
    }
    let model = dense(model_type, fields, inter)?;
    Ok(Model {
        first_dense_layers: 0,
        moe_layers: model.num_layers,
        num_experts,
        top_k,
        expert_inter: model.dense_inter,
        dense_inter: 0,
        ..model
    })
}

/// A model without experts, its feed-forward width in the field `inter`. Every field is in range and fits the others when this
/// returns.
fn dense(model_type: &str, fields: Fields<'_>, inter: &'static str) -> Result<Model, ModelError> {
    let hidden = fields.positive("hidden_size", MAX_HIDDEN)?;
    let num_layers = fields.positive("num_hidden_layers", MAX_LAYERS)?;
    let dense_inter = fields.positive(inter, MAX_INTER)?;
    Ok(Model {
        name: model_type.to_owned(),
        hidden,
        num_layers,
        first_dense_layers: num_layers,
        moe_layer_step: 1,
        extra_dense_layers: Vec::new(),
        moe_layers: 0,
        num_experts: 1,
        top_k: 1,
        expert_inter: dense_inter,
        dense_inter,
        shared_experts: 0,
        shared_inter: 0,
        attention: attention(fields, hidden)?,
        vocab: fields.positive("vocab_size", MAX_VOCAB)?,
        tied_embeddings: fields.flag_or("tie_word_embeddings", false)?,
        gate: GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk)),
        published_total: None,
        published_active: None,
        source: fields.origin().to_owned(),
    })
}

fn attention(fields: Fields<'_>, hidden: u32) -> Result<Attention, ModelError> {
    let heads = fields.positive("num_attention_heads", MAX_ATTENTION)?;
    if let Some(kv_lora) = fields.optional("kv_lora_rank", 1, MAX_ATTENTION)? {
        return Ok(Attention::Latent {
            heads,
            q_lora: fields.optional("q_lora_rank", 1, MAX_ATTENTION)?,
            kv_lora,
            qk_nope: fields.positive("qk_nope_head_dim", MAX_ATTENTION)?,
            qk_rope: fields.positive("qk_rope_head_dim", MAX_ATTENTION)?,
            v_head: fields.positive("v_head_dim", MAX_ATTENTION)?,
        });
    }
    let kv_heads = fields.positive_or("num_key_value_heads", MAX_ATTENTION, heads)?;
    if !heads.is_multiple_of(kv_heads) {
        let remedy = format!("a divisor of num_attention_heads = {heads}");
        return Err(fields.invalid("num_key_value_heads", kv_heads, &remedy));
    }
    let head_dim = match fields.optional("head_dim", 1, MAX_ATTENTION)? {
        Some(head_dim) => head_dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let remedy = format!("a divisor of hidden_size = {hidden}, or a head_dim");
            return Err(fields.invalid("num_attention_heads", heads, &remedy));
        }
    };
    Ok(Attention::Grouped { heads, kv_heads, head_dim })
}

/// The fields of a model that starts with dense layers and has shared experts: DeepSeek, Kimi, GLM.
fn with_shared_experts(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = common(model_type, fields, "n_routed_experts", "moe_intermediate_size")?;
    model.first_dense_layers = fields.count("first_k_dense_replace", model.num_layers - 1)?;
    model.shared_experts = fields.count("n_shared_experts", MAX_EXPERTS)?;
    if model.shared_experts > 0 {
        model.shared_inter = model.expert_inter;
    }
    count_layers(fields, &mut model)?;
    Ok(model)
}

/// The gate's groups: `n_group` divides the experts, `topk_group` of them hold `top_k`.
fn groups(fields: Fields<'_>, model: &Model) -> Result<(u32, u32), ModelError> {
    let n_group = fields.positive("n_group", model.num_experts)?;
    if !model.num_experts.is_multiple_of(n_group) {
        let remedy = format!("a divisor of n_routed_experts = {}", model.num_experts);
        return Err(fields.invalid("n_group", n_group, &remedy));
    }
    let topk_group = fields.positive("topk_group", n_group)?;
    if model.num_experts / n_group * topk_group < model.top_k {
        let remedy = format!("enough of the {n_group} groups to hold num_experts_per_tok = {}", model.top_k);
        return Err(fields.invalid("topk_group", topk_group, &remedy));
    }
    Ok((n_group, topk_group))
}

fn mixtral(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    common(model_type, fields, "num_local_experts", "intermediate_size")
}

fn olmoe(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let norm_topk = fields.flag_or("norm_topk_prob", false)?;
    let mut model = common(model_type, fields, "num_experts", "intermediate_size")?;
    model.gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(norm_topk));
    Ok(model)
}

fn granite(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = common(model_type, fields, "num_local_experts", "intermediate_size")?;
    model.shared_inter = fields.optional("shared_intermediate_size", 0, MAX_INTER)?.unwrap_or(0);
    model.shared_experts = u32::from(model.shared_inter > 0);
    Ok(model)
}

fn deepseek(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    // No published model has another frequency.
    fields.optional("moe_layer_freq", 1, 1)?;
    let mut model = with_shared_experts(model_type, fields)?;
    if !fields.is_set("kv_lora_rank") {
        return Err(fields.missing("kv_lora_rank", "give the rank of the key-value compression"));
    }
    let v2 = model_type == "deepseek_v2";
    let (scoring, method) = if v2 { ("softmax", "greedy") } else { ("sigmoid", "noaux_tc") };
    let scoring = fields.optional_str("scoring_func")?.unwrap_or(scoring);
    let method = fields.optional_str("topk_method")?.unwrap_or(method);
    let norm_topk = fields.flag_or("norm_topk_prob", !v2)?;
    let kind = match (scoring, method) {
        ("softmax", "greedy" | "group_limited_greedy") => GateKind::of(&Softmax).norm_topk(norm_topk),
        ("sigmoid", "noaux_tc") => GateKind::of(&Sigmoid).bias(true).norm_topk(norm_topk),
        ("sigmoid", "greedy" | "group_limited_greedy") => GateKind::of(&Sigmoid).norm_topk(norm_topk),
        ("softmax" | "sigmoid", other) => {
            let remedy = "greedy or group_limited_greedy (softmax or sigmoid), or noaux_tc (sigmoid)";
            return Err(fields.invalid("topk_method", other, remedy));
        }
        (other, _) => return Err(fields.invalid("scoring_func", other, "softmax or sigmoid")),
    };
    let (n_group, topk_group) = if method == "greedy" { (1, 1) } else { groups(fields, &model)? };
    let routed_scaling_factor = fields.positive_number("routed_scaling_factor")?;
    model.gate = GateSpec { kind, n_group, topk_group, routed_scaling_factor };
    Ok(model)
}

fn glm(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = with_shared_experts(model_type, fields)?;
    let norm_topk = fields.flag_or("norm_topk_prob", true)?;
    let (n_group, topk_group) = groups(fields, &model)?;
    let routed_scaling_factor = fields.positive_number("routed_scaling_factor")?;
    let kind = GateKind::of(&Sigmoid).bias(true).norm_topk(norm_topk);
    model.gate = GateSpec { kind, n_group, topk_group, routed_scaling_factor };
    Ok(model)
}

fn qwen(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = common(model_type, fields, "num_experts", "moe_intermediate_size")?;
    model.moe_layer_step = fields.positive_or("decoder_sparse_step", model.num_layers, 1)?;
    model.extra_dense_layers = fields.layer_indices("mlp_only_layers", model.num_layers)?;
    if model_type == "qwen2_moe" {
        model.shared_inter = fields.positive("shared_expert_intermediate_size", MAX_INTER)?;
        model.shared_experts = 1;
    }
    let norm_topk = fields.flag_or("norm_topk_prob", false)?;
    model.gate = GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(norm_topk));
    count_layers(fields, &mut model)?;
    Ok(model)
}

/// Llama 4: `intermediate_size` is the width of the routed and of the one shared expert, `intermediate_size_mlp` that
/// of the dense layers between.
fn llama4(model_type: &str, fields: Fields<'_>) -> Result<Model, ModelError> {
    let mut model = common(model_type, fields, "num_local_experts", "intermediate_size")?;
    model.shared_experts = 1;
    model.shared_inter = model.expert_inter;
    model.gate = GateSpec::ungrouped(GateKind::of(&Sigmoid));
    model.moe_layer_step = fields.positive_or("interleave_moe_layer_step", model.num_layers, 1)?;
    let listed = fields.layer_indices("moe_layers", model.num_layers)?;
    let by_step = (0..model.num_layers).filter(|&layer| model.is_moe_layer(layer));
    if !listed.is_empty() && !by_step.eq(listed.iter().copied()) {
        let remedy =
            format!("every layer by interleave_moe_layer_step = {}, or no list", model.moe_layer_step);
        return Err(fields.invalid("moe_layers", format!("{listed:?}"), &remedy));
    }
    count_layers_with(fields, &mut model, "intermediate_size_mlp")?;
    Ok(model)
}

fn count_layers(fields: Fields<'_>, model: &mut Model) -> Result<(), ModelError> {
    count_layers_with(fields, model, "intermediate_size")
}

/// Counts the layers with experts, and reads the width of the others from `dense_inter` if there are any.
fn count_layers_with(
    fields: Fields<'_>,
    model: &mut Model,
    dense_inter: &'static str,
) -> Result<(), ModelError> {
    model.moe_layers = model.count_moe_layers();
    if model.moe_layers == 0 {
        return Err(ModelError::NotMoe {
            origin: fields.origin().to_owned(),
            model_type: model.name.clone(),
        });
    }
    if model.moe_layers < model.num_layers {
        model.dense_inter = fields.positive(dense_inter, MAX_INTER)?;
    }
    Ok(())
}

/// The family of docs/extending.md.
#[cfg(test)]
pub(super) mod phimoe;
