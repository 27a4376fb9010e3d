//! The mixers of a layer, read from their fields.

use super::ConfigError;
use super::fields::OWN_HEADS;
use super::mixer::{Index, Mixer, Span, StateKind};
use super::patterns::Mixing;
use super::read::Reader;
use crate::shape::{MAX_ATTENTION, MAX_INTER};
use serde_json::Value;

impl Reader<'_> {
    /// The name of a width in layers of `span`.
    fn own(&self, field: &'static str, span: Span) -> &'static str {
        let own = OWN_HEADS.iter().find(|(name, _)| *name == field && matches!(span, Span::Window(_)));
        let own = own.and_then(|(_, names)| names.iter().copied().find(|name| self.fields.has(name)));
        own.unwrap_or(field)
    }

    pub(super) fn mixers(
        &self,
        word: Mixing,
        at: u32,
        hidden: u32,
        own_cache: bool,
    ) -> Result<Vec<Mixer>, ConfigError> {
        let fields = self.fields;
        let reach = |field| fields.required(field, u32::MAX);
        Ok(match word {
            Mixing::Nothing => Vec::new(),
            Mixing::Full => vec![self.attention(Span::Full, at, hidden, own_cache)?],
            Mixing::Window => {
                vec![self.attention(Span::Window(reach("sliding_window")?), at, hidden, own_cache)?]
            }
            Mixing::Chunk => {
                vec![self.attention(Span::Chunk(reach("attention_chunk_size")?), at, hidden, own_cache)?]
            }
            Mixing::Linear => vec![self.linear(hidden)?],
            Mixing::Mamba => vec![self.mamba(hidden)?],
            Mixing::Conv => vec![self.short_conv(hidden)?],
            Mixing::Parallel => vec![self.attention(Span::Full, at, hidden, own_cache)?, self.mamba(hidden)?],
        })
    }

    fn attention(&self, span: Span, at: u32, hidden: u32, own_cache: bool) -> Result<Mixer, ConfigError> {
        let fields = self.fields;
        let width = |field| fields.required(field, MAX_ATTENTION);
        let heads = width(self.own("num_attention_heads", span))?;
        let index = self.index()?;
        if let Some(ratios) = fields.list("compress_ratios")? {
            let ratio =
                ratios.get(at as usize).and_then(Value::as_u64).and_then(|ratio| u32::try_from(ratio).ok());
            let ratio =
                ratio.ok_or_else(|| fields.wrong("compress_ratios", "give a number for each layer"))?;
            return Ok(Mixer::Compressed {
                heads,
                head_dim: width("head_dim")?,
                q_lora: width("q_lora_rank")?,
                o_groups: width("o_groups")?,
                o_lora: width("o_lora_rank")?,
                window: fields.required("sliding_window", u32::MAX)?,
                ratio,
                // Long groups are few enough to be read all.
                index: index.filter(|_| (1..=4).contains(&ratio)),
            });
        }
        if fields.has("kv_lora_rank") {
            let output_gate = fields.flag("mla_use_output_gate")?.unwrap_or(false);
            return Ok(Mixer::Latent {
                heads,
                q_lora: fields.number("q_lora_rank", 1, MAX_ATTENTION)?,
                kv_lora: width("kv_lora_rank")?,
                qk_nope: width("qk_nope_head_dim")?,
                qk_rope: width("qk_rope_head_dim")?,
                v_head: width("v_head_dim")?,
                output_gate,
                index,
            });
        }
        let kv_heads = fields.number(self.own("num_key_value_heads", span), 1, MAX_ATTENTION)?;
        // Falcon's later models say it in numbers, and leave the flag as it was.
        let in_numbers = fields.flag("new_decoder_architecture")? == Some(true);
        let kind = fields.find("attn_type").and_then(|(_, kind)| kind.as_str());
        let one_key =
            fields.flag("multi_query")? == Some(true) && !in_numbers || kind == Some("multiquery_attention");
        let kv_heads = if one_key { 1 } else { kv_heads.unwrap_or(heads) };
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("{kv_heads}; give a divisor of the {heads} heads");
            return Err(fields.wrong("num_key_value_heads", &problem));
        }
        let head_dim = match fields.number(self.own("head_dim", span), 1, MAX_ATTENTION)? {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(
                    fields.wrong("head_dim", &format!("missing, and {heads} heads don't divide {hidden}"))
                );
            }
        };
        let v_head_dim = fields.number(self.own("v_head_dim", span), 1, MAX_ATTENTION)?;
        let v_head_dim = v_head_dim.filter(|&width| width != head_dim);
        let output_gate = fields.flag("attn_output_gate")?.unwrap_or(false);
        let q_lora = fields.number("share_q_dim", 1, MAX_ATTENTION)?;
        Ok(Mixer::Grouped { heads, kv_heads, head_dim, v_head_dim, q_lora, span, output_gate, own_cache })
    }

    fn index(&self) -> Result<Option<Index>, ConfigError> {
        let fields = self.fields;
        let Some(topk) = fields.number("index_topk", 1, u32::MAX)? else { return Ok(None) };
        if let Some(types) = fields.list("indexer_types")?
            && let Some(other) = types.iter().find(|kind| *kind != "full")
        {
            return Err(fields.wrong("indexer_types", &format!("{other} is not understood; give full")));
        }
        let heads = fields.required("index_n_heads", MAX_ATTENTION)?;
        Ok(Some(Index { heads, head_dim: fields.required("index_head_dim", MAX_ATTENTION)?, topk }))
    }

    fn linear(&self, hidden: u32) -> Result<Mixer, ConfigError> {
        let fields = self.fields;
        let width = |field| Ok(u64::from(fields.required(field, MAX_ATTENTION)?));
        let h = u64::from(hidden);
        if fields.has("linear_num_value_heads") {
            let (kh, vh) = (width("linear_num_key_heads")?, width("linear_num_value_heads")?);
            let (kd, vd) = (width("linear_key_head_dim")?, width("linear_value_head_dim")?);
            let kernel = width("conv_kernel")?;
            let inputs = 2 * kh * kd + vh * vd;
            return Ok(Mixer::State {
                kind: StateKind::GatedDelta,
                // Queries, keys, values and their gate; two scalars a head; convolution; out.
                weights: h * (inputs + vh * vd + 2 * vh) + inputs * kernel + vh * vd * h,
                state: vh * kd * vd,
                conv_state: (kernel - 1) * inputs,
            });
        }
        if fields.has("linear_attn_config.num_heads") {
            let heads = width("linear_attn_config.num_heads")?;
            let dim = width("linear_attn_config.head_dim")?;
            let kernel = width("linear_attn_config.short_conv_kernel_size")?;
            let inner = heads * dim;
            let full_gate = fields.flag("linear_attn_config.use_full_rank_gate")?.unwrap_or(false);
            let low_rank = h * dim + dim * inner;
            let gate = if full_gate { h * inner } else { low_rank };
            return Ok(Mixer::State {
                kind: StateKind::KimiDelta,
                weights: 4 * h * inner + low_rank + gate + h * heads + 3 * inner * kernel,
                state: heads * dim * dim,
                conv_state: (kernel - 1) * 3 * inner,
            });
        }
        // MiniMax's list of types of attention: 0 is lightning.
        if fields.word("linear_kind")? == Some("lightning") || fields.has("attn_type_list") {
            let heads = width("num_attention_heads")?;
            let dim =
                fields.number("head_dim", 1, MAX_ATTENTION)?.map_or_else(|| h / heads.max(1), u64::from);
            let inner = heads * dim;
            return Ok(Mixer::State {
                kind: StateKind::Lightning,
                weights: 5 * h * inner,
                state: heads * dim * dim,
                conv_state: 0,
            });
        }
        let problem =
            "missing; linear attention needs linear_num_value_heads and its like, or linear_attn_config";
        Err(fields.wrong("linear_num_value_heads", problem))
    }

    fn mamba(&self, hidden: u32) -> Result<Mixer, ConfigError> {
        let fields = self.fields;
        let width = |field| Ok(u64::from(fields.required(field, MAX_INTER)?));
        let h = u64::from(hidden);
        let (state, kernel) = (width("ssm_state_size")?, width("conv_kernel")?);
        // A model of nothing else names its heads as attention's are.
        let own = fields.flag("heads_of_states")? == Some(true);
        let (heads, head_dim) = match own {
            true => ("num_attention_heads", "head_dim"),
            false => ("mamba_num_heads", "mamba_head_dim"),
        };
        if !fields.has(heads) {
            let inner = h * width("expand")?;
            let rank =
                fields.number("mamba_dt_rank", 1, MAX_INTER)?.map_or_else(|| h.div_ceil(16), u64::from);
            return Ok(Mixer::State {
                kind: StateKind::Mamba,
                weights: 3 * h * inner + inner * (kernel + 2 * rank + 3 * state + 2),
                state: inner * state,
                conv_state: (kernel - 1) * inner,
            });
        }
        let heads = width(heads)?;
        let head_dim = match fields.find(head_dim) {
            Some((_, Value::Number(_))) => width(head_dim)?,
            _ => h * width("expand")? / heads,
        };
        let inner = heads * head_dim;
        if let Some(other) =
            fields.number("mamba_d_ssm", 1, MAX_INTER)?.filter(|&width| u64::from(width) != inner)
        {
            return Err(
                fields.wrong("mamba_d_ssm", &format!("{other}; {heads} heads of {head_dim} are {inner}"))
            );
        }
        let groups = fields.number("n_groups", 1, MAX_INTER)?.map_or(1, u64::from);
        let inputs = inner + 2 * groups * state;
        Ok(Mixer::State {
            kind: StateKind::Mamba2,
            weights: h * (inner + inputs + heads) + inputs * kernel + inner + 3 * heads + inner * h,
            state: inner * state,
            conv_state: (kernel - 1) * inputs,
        })
    }

    fn short_conv(&self, hidden: u32) -> Result<Mixer, ConfigError> {
        let h = u64::from(hidden);
        let kernel = u64::from(self.fields.required("conv_kernel", MAX_INTER)?);
        let (weights, conv_state) = (4 * h * h + h * kernel, (kernel - 1) * h);
        Ok(Mixer::State { kind: StateKind::ShortConv, weights, state: 0, conv_state })
    }
}
