//! Which layer is of which kind, from any of the ways in which configurations say it.

use super::ConfigError;
use super::fields::{Fields, short};
use serde_json::Value;

/// What a layer has of mixers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mixing {
    Full,
    Window,
    Chunk,
    Linear,
    Mamba,
    Conv,
    /// Attention and a state space side by side.
    Parallel,
    Nothing,
}

/// What a layer has of feed-forward blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    Dense,
    Routed,
    Nothing,
}

/// Fields that say the pattern of mixers in other words; they count where no list of layers does.
pub(super) const OTHER_WORDS: [&str; 8] = [
    "full_attention_interval",
    "sliding_window_pattern",
    "attn_layer_period",
    "attn_layer_offset",
    "attn_type_list",
    "attn_layer_indices",
    "global_attn_every_n_layers",
    "global_attn_every_n",
];

/// Mixers of `n` layers.
pub(super) fn mixers(fields: &Fields<'_>, n: u32) -> Result<Vec<Mixing>, ConfigError> {
    let all = |of: &dyn Fn(u32) -> Mixing| Ok((0..n).map(of).collect());
    if let Some(letters) = fields.word("hybrid_override_pattern")? {
        return letters.chars().map(|letter| Ok(of_letter(fields, letter)?.0)).collect();
    }
    for field in ["layer_types", "layers_block_type"] {
        if let Some(list) = fields.list(field)? {
            let list = one_each(fields, field, list, n)?;
            return list.into_iter().map(|word| mixing(fields, field, word)).collect();
        }
    }
    if let Some(list) = fields.list("attn_type_list")? {
        let list = one_each(fields, "attn_type_list", list, n)?;
        return Ok(list
            .into_iter()
            .map(|word| if word.as_u64() == Some(1) { Mixing::Full } else { Mixing::Linear })
            .collect());
    }
    if let Some(list) = fields.list("sliding_window_layout")? {
        // Chunks as long as the window are how it is computed.
        fields.find("attention_chunk_size");
        let list = one_each(fields, "sliding_window_layout", list, n)?;
        return Ok(list
            .into_iter()
            .map(|slides| if slides.as_u64() == Some(1) { Mixing::Window } else { Mixing::Full })
            .collect());
    }
    if let Some(group) = fields.number("layer_group_size", 1, n)? {
        // What is left of a whole number of groups sees everything.
        let grouped = n / group * group;
        let full = |layer| (layer + 1) % group == 0 || layer >= grouped;
        return all(&|layer| if full(layer) { Mixing::Full } else { Mixing::Linear });
    }
    if let Some(full) = fields.indices("linear_attn_config.full_attn_layers", 1, n)? {
        fields.indices("linear_attn_config.kda_layers", 1, n)?;
        return all(&|layer| if full.contains(&layer) { Mixing::Full } else { Mixing::Linear });
    }
    if let Some(full) = fields.indices("attn_layer_indices", 0, n)? {
        return all(&|layer| if full.contains(&layer) { Mixing::Full } else { Mixing::Mamba });
    }
    if let Some(period) = fields.number("attn_layer_period", 1, n)? {
        let offset = fields.number("attn_layer_offset", 0, n)?.unwrap_or(0);
        return all(&|layer| if layer % period == offset { Mixing::Full } else { Mixing::Mamba });
    }
    if let Some(interval) = fields.number("full_attention_interval", 1, n.max(4))? {
        return all(&|layer| if (layer + 1) % interval == 0 { Mixing::Full } else { Mixing::Linear });
    }
    if fields.word("hybrid")? == Some("parallel") {
        return all(&|_| Mixing::Parallel);
    }
    if fields.word("blocks")? == Some("none")
        || !fields.has("num_attention_heads") && fields.has("ssm_state_size")
    {
        return all(&|_| Mixing::Mamba);
    }
    if fields.has("attention_chunk_size") {
        if let Some(flags) = fields.list("no_rope_layers")?.filter(|flags| flags.len() == n as usize) {
            return Ok(flags
                .iter()
                .map(|rotates| if rotates.as_u64() == Some(0) { Mixing::Full } else { Mixing::Chunk })
                .collect());
        }
        let interval = fields.number("no_rope_layer_interval", 1, u32::MAX)?.unwrap_or(4);
        return all(&|layer| if (layer + 1) % interval == 0 { Mixing::Full } else { Mixing::Chunk });
    }
    windows(fields, n)
}

/// Layers with windows, where a window is given and used.
fn windows(fields: &Fields<'_>, n: u32) -> Result<Vec<Mixing>, ConfigError> {
    let used = fields.flag("use_sliding_window")?;
    let from = fields.number("max_window_layers", 0, u32::MAX)?;
    if !fields.has("sliding_window") || used == Some(false) {
        return Ok(vec![Mixing::Full; n as usize]);
    }
    let window = |slides: &dyn Fn(u32) -> bool| {
        Ok((0..n).map(|layer| if slides(layer) { Mixing::Window } else { Mixing::Full }).collect())
    };
    match fields.find("sliding_window_pattern") {
        Some((_, Value::Number(pattern))) => {
            let pattern = pattern.as_u64().filter(|&pattern| pattern > 0).unwrap_or(1);
            window(&|layer| (u64::from(layer) + 1) % pattern != 0)
        }
        Some((_, Value::String(letters)))
            if !letters.is_empty() && letters.chars().all(|letter| "LG".contains(letter)) =>
        {
            let letters = letters.as_bytes();
            window(&|layer| letters[layer as usize % letters.len()] == b'L')
        }
        Some((key, other)) => {
            Err(fields.wrong(key, &format!("{}; give a number, or letters L and G", short(other))))
        }
        // Qwen: the first layers see everything.
        None if used == Some(true) => window(&|layer| layer >= from.unwrap_or(0)),
        None => window(&|_| true),
    }
}

/// Feed-forward blocks of `n` layers, `experts` telling whether there are any to route to.
pub(super) fn forwards(fields: &Fields<'_>, n: u32, experts: bool) -> Result<Vec<Forward>, ConfigError> {
    if let Some(letters) = fields.word("hybrid_override_pattern")? {
        return letters.chars().map(|letter| Ok(of_letter(fields, letter)?.1)).collect();
    }
    let blocks = fields.list("layers_block_type")?.unwrap_or(&[]);
    if blocks.iter().any(|word| matches!(word.as_str(), Some("moe" | "mlp"))) {
        let of = |word: &&Value| match word.as_str() {
            Some("moe") => Forward::Routed,
            Some("mlp") => Forward::Dense,
            _ => Forward::Nothing,
        };
        return Ok(one_each(fields, "layers_block_type", blocks, n)?.iter().map(of).collect());
    }
    if fields.word("blocks")? == Some("none") {
        return Ok(vec![Forward::Nothing; n as usize]);
    }
    let routed = if experts { routed(fields, n)? } else { vec![false; n as usize] };
    Ok(routed.into_iter().map(|routed| if routed { Forward::Routed } else { Forward::Dense }).collect())
}

/// Which layers have experts.
fn routed(fields: &Fields<'_>, n: u32) -> Result<Vec<bool>, ConfigError> {
    let mut routed = vec![true; n as usize];
    let mut keep =
        |of: &dyn Fn(u32) -> bool| (0..n).zip(&mut routed).for_each(|(layer, routed)| *routed &= of(layer));
    if let Some(first) = fields.number("first_k_dense_replace", 0, n)? {
        keep(&|layer| layer >= first);
    }
    if let Some(last) = fields.number("moe_layer_end_index", 0, u32::MAX)? {
        keep(&|layer| layer <= last);
    }
    if let Some(list) = fields.list("mlp_layer_types")? {
        let list = one_each(fields, "mlp_layer_types", list, n)?;
        keep(&|layer| list[layer as usize] != &Value::from("dense"));
    }
    if let Some(list) = fields.list("moe_layer_layout")? {
        let list = one_each(fields, "moe_layer_layout", list, n)?;
        keep(&|layer| list[layer as usize] != &Value::from(0));
    }
    if let Some((key, value)) = fields.find("moe_layer_freq") {
        match value {
            Value::Array(list) => {
                let list = one_each(fields, key, list, n)?;
                keep(&|layer| list[layer as usize] != &Value::from(0));
            }
            _ => {
                let step = fields.number("moe_layer_freq", 1, n)?.unwrap_or(1);
                keep(&|layer| layer % step == 0);
            }
        }
    }
    for field in [
        "decoder_sparse_step",
        "interleave_moe_layer_step",
        "moe_layer_interval",
        "moe_every_n_layers",
        "moe_every_n_layer",
        "moe_layer_frequency",
    ] {
        if let Some(step) = fields.number(field, 1, u32::MAX)? {
            keep(&|layer| (layer + 1) % step == 0);
        }
    }
    if let Some(dense) = fields.indices("mlp_only_layers", 0, n)? {
        keep(&|layer| !dense.contains(&layer));
    }
    for field in ["moe_layers", "moe_layers_enum"] {
        if let Some(listed) = fields.indices(field, 0, n)? {
            keep(&|layer| listed.contains(&layer));
        }
    }
    if let Some(period) = fields.number("expert_layer_period", 1, n)? {
        let offset = fields.number("expert_layer_offset", 0, n)?.unwrap_or(0);
        keep(&|layer| layer % period == offset);
    }
    Ok(routed)
}

/// Nemotron's letters.
pub(super) fn of_letter(fields: &Fields<'_>, letter: char) -> Result<(Mixing, Forward), ConfigError> {
    match letter {
        'M' => Ok((Mixing::Mamba, Forward::Nothing)),
        '*' => Ok((Mixing::Full, Forward::Nothing)),
        'E' => Ok((Mixing::Nothing, Forward::Routed)),
        '-' => Ok((Mixing::Nothing, Forward::Dense)),
        other => {
            Err(fields.wrong("hybrid_override_pattern", &format!("letter {other:?}; give M, *, E or -")))
        }
    }
}

fn mixing(fields: &Fields<'_>, field: &str, word: &Value) -> Result<Mixing, ConfigError> {
    match word.as_str().unwrap_or("") {
        "full_attention" | "attention" | "full" | "global" | "global_attention" => Ok(Mixing::Full),
        "sliding_attention" | "sliding_window" | "local" | "local_attention" => Ok(Mixing::Window),
        "chunked_attention" => Ok(Mixing::Chunk),
        "linear_attention" => Ok(Mixing::Linear),
        "mamba" | "mamba2" => Ok(Mixing::Mamba),
        "conv" | "short_conv" => Ok(Mixing::Conv),
        "moe" | "mlp" => Ok(Mixing::Nothing),
        _ => {
            let known =
                "full_attention, sliding_attention, chunked_attention, linear_attention, mamba or conv";
            Err(fields.wrong(field, &format!("{} is not understood; give {known}", short(word))))
        }
    }
}

/// A list of `n` entries; a longer one names layers that predict further tokens after them.
fn one_each<'a>(
    fields: &Fields<'_>,
    field: &str,
    list: &'a [Value],
    n: u32,
) -> Result<Vec<&'a Value>, ConfigError> {
    if list.len() < n as usize {
        return Err(fields.wrong(field, &format!("{} entries for {n} layers; give one a layer", list.len())));
    }
    Ok(list.iter().take(n as usize).collect())
}
