//! A configuration put together to an architecture.

use super::block::{Block, Gate, Scoring};
use super::fields::Fields;
use super::mixer::{Index, Mixer, Span, StateKind};
use super::patterns::{Forward, Mixing, OTHER_WORDS, forwards, mixers, of_letter};
use super::storage::Storage;
use super::{Architecture, ArchitectureError, Layer, defaults, text, unread};
use crate::shape::{MAX_ATTENTION, MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_LAYERS, MAX_TOP_K, MAX_VOCAB};
use serde_json::{Map, Value};

impl Architecture {
    /// Reads the text of a `config.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ArchitectureError`] with the field and the remedy: text that is no JSON object or too long, a field that is missing or
    /// impossible, or that may change the cost and is not understood.
    pub fn from_config(json: &str, origin: &str) -> Result<Self, ArchitectureError> {
        let whole = |problem| ArchitectureError { origin: origin.to_owned(), field: None, problem };
        let object = text::object(json).map_err(whole)?;
        let stated = Fields::new(origin, &object);
        let model_type = stated.word("model_type")?.unwrap_or("").to_owned();
        let assumed = defaults::of(&model_type);
        let missing = assumed.iter().filter(|(key, _)| !stated.has(key) && !stated.says_nothing(key));
        let assumed: Map<String, Value> = missing.map(|(key, value)| (key.clone(), value.clone())).collect();
        let fields = Fields::new(origin, &object).or(&assumed);
        Reader { fields: &fields }.architecture(model_type, &assumed)
    }
}

/// Kinds of layers, each once.
#[derive(Default)]
struct Kinds(Vec<Layer>);

impl Kinds {
    fn of(&mut self, layer: Layer) -> u16 {
        let known = self.0.iter().position(|known| *known == layer);
        known.unwrap_or_else(|| {
            self.0.push(layer);
            self.0.len() - 1
        }) as u16
    }
}

struct Reader<'a> {
    fields: &'a Fields<'a>,
}

impl Reader<'_> {
    fn architecture(
        &self,
        model_type: String,
        assumed: &Map<String, Value>,
    ) -> Result<Architecture, ArchitectureError> {
        let fields = self.fields;
        fields.word("model_type")?;
        let hidden = fields.required("hidden_size", MAX_HIDDEN)?;
        let n = self.num_layers()?;
        let experts = fields.number("num_experts", 0, MAX_EXPERTS)?.filter(|&experts| experts > 1);
        let forwards = forwards(fields, n, experts.is_some())?;
        let words = mixers(fields, n)?;
        let sublayers = fields.number("sublayers", 1, 2)?.unwrap_or(1) as usize;
        let shared_from = n - fields.number("num_kv_shared_layers", 0, n)?.unwrap_or(0).min(n);
        let mut kinds = Kinds::default();
        let mut order = Vec::new();
        for (at, (&word, &forward)) in (0..n).zip(words.iter().zip(&forwards)) {
            let mut mixers = self.mixers(word, at, hidden, at < shared_from)?;
            let mut blocks = self.blocks(forward, experts, hidden, at)?;
            // LongCat: attention and a dense block twice, the experts beside them.
            for _ in 1..sublayers {
                mixers.extend(mixers.clone());
                blocks.extend([self.dense(true)?, self.dense(true)?]);
            }
            order.push(kinds.of(Layer { mixers, blocks }));
        }
        let mtp_depth = self.mtp_depth()?;
        let mut mtp_order = vec![order[order.len() - 1]; mtp_depth as usize];
        if let Some(letters) = fields.word("mtp_hybrid_override_pattern")?.filter(|_| mtp_depth > 0) {
            mtp_order.clear();
            for letter in letters.chars() {
                let (word, forward) = of_letter(fields, letter)?;
                let mixers = self.mixers(word, 0, hidden, true)?;
                let blocks = self.blocks(forward, experts, hidden, n)?;
                mtp_order.push(kinds.of(Layer { mixers, blocks }));
            }
        }
        let vocab = fields.required("vocab_size", MAX_VOCAB)?;
        let tied_embeddings = fields.flag("tie_word_embeddings")?.unwrap_or(false);
        let residual_streams = fields.number("hc_mult", 1, 64)?.unwrap_or(1);
        let storage = Storage::read(fields, n)?;
        let name = fields.word("_name_or_path")?.filter(|name| !name.is_empty() && !name.starts_with('/'));
        let ignored = unread::settle(fields, &self.understood(&kinds.0))?;
        let name = name.or(Some(model_type.as_str()).filter(|name| !name.is_empty()));
        let mut assumed: Vec<String> =
            assumed.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        assumed.extend(self.assumed_of_blocks());
        Ok(Architecture {
            name: name.unwrap_or(fields.origin).to_owned(),
            model_type,
            hidden,
            vocab,
            tied_embeddings,
            residual_streams,
            kinds: kinds.0,
            order,
            mtp_order,
            mtp_depth,
            storage,
            other_parts: fields.other_parts.clone(),
            assumed,
            ignored,
        })
    }

    fn num_layers(&self) -> Result<u32, ArchitectureError> {
        let fields = self.fields;
        let letters = fields.word("hybrid_override_pattern")?.map(|letters| letters.chars().count() as u32);
        match (fields.number("num_hidden_layers", 1, MAX_LAYERS)?, letters) {
            (Some(n), Some(letters)) if n != letters => {
                let problem = format!("{letters} letters for {n} layers; give one a layer");
                Err(fields.wrong("hybrid_override_pattern", &problem))
            }
            (n, letters) => {
                n.or(letters).map_or_else(|| fields.required("num_hidden_layers", MAX_LAYERS), Ok)
            }
        }
    }

    fn blocks(
        &self,
        forward: Forward,
        experts: Option<u32>,
        hidden: u32,
        at: u32,
    ) -> Result<Vec<Block>, ArchitectureError> {
        Ok(match forward {
            Forward::Nothing => Vec::new(),
            Forward::Dense => vec![self.dense(experts.is_some())?],
            Forward::Routed => vec![self.routed(experts.unwrap_or(0), hidden, at)?],
        })
    }

    /// Fields that have no part in layers such as these.
    fn understood(&self, kinds: &[Layer]) -> Vec<&'static str> {
        // Another way to say the pattern than the one that was followed.
        let mut all = OTHER_WORDS.to_vec();
        let mixers = || kinds.iter().flat_map(|layer| &layer.mixers);
        let blocks = || kinds.iter().flat_map(|layer| &layer.blocks);
        if mixers().all(|mixer| !matches!(mixer, Mixer::Grouped { .. })) {
            all.extend(["head_dim", "num_key_value_heads", "v_head_dim"]);
        }
        if !mixers().any(|mixer| matches!(mixer, Mixer::State { .. })) {
            all.extend(["expand", "n_groups", "ssm_state_size", "conv_kernel"]);
        }
        if !blocks().any(|_| true) {
            // The inner width of a recurrence, by another name.
            all.extend(["intermediate_size", "time_step_rank", "hidden_act"]);
        }
        if !mixers().any(|mixer| matches!(mixer, Mixer::Grouped { span: Span::Window(_), .. })) {
            all.push("sliding_window");
        }
        // Layers that share keys and values do so where they are told to.
        if self.fields.find("use_cla").is_none_or(|(_, shares)| *shares == Value::Bool(false)) {
            all.push("cla_share_factor");
        }
        // Widths of blocks that no layer has.
        if !blocks().any(|block| matches!(block, Block::Dense { .. })) {
            all.extend(["intermediate_size", "intermediate_size_mlp", "ffn_hidden_size"]);
        }
        if !blocks().any(|block| matches!(block, Block::Routed { .. })) {
            all.extend([
                "moe_intermediate_size",
                "num_experts_per_tok",
                "norm_topk_prob",
                "scoring_func",
                "n_shared_experts",
            ]);
        }
        all
    }

    fn mixers(
        &self,
        word: Mixing,
        at: u32,
        hidden: u32,
        own_cache: bool,
    ) -> Result<Vec<Mixer>, ArchitectureError> {
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

    fn attention(
        &self,
        span: Span,
        at: u32,
        hidden: u32,
        own_cache: bool,
    ) -> Result<Mixer, ArchitectureError> {
        let fields = self.fields;
        let width = |field| fields.required(field, MAX_ATTENTION);
        let heads = width("num_attention_heads")?;
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
        let one_key = fields.flag("multi_query")? == Some(true);
        let unsaid = if one_key { 1 } else { heads };
        let kv_heads = fields.number("num_key_value_heads", 1, MAX_ATTENTION)?.unwrap_or(unsaid);
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("{kv_heads}; give a divisor of the {heads} heads");
            return Err(fields.wrong("num_key_value_heads", &problem));
        }
        let head_dim = match fields.number("head_dim", 1, MAX_ATTENTION)? {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(
                    fields.wrong("head_dim", &format!("missing, and {heads} heads don't divide {hidden}"))
                );
            }
        };
        let v_head_dim = fields.number("v_head_dim", 1, MAX_ATTENTION)?.unwrap_or(head_dim);
        let output_gate = fields.flag("attn_output_gate")?.unwrap_or(false);
        Ok(Mixer::Grouped { heads, kv_heads, head_dim, v_head_dim, span, output_gate, own_cache })
    }

    fn index(&self) -> Result<Option<Index>, ArchitectureError> {
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

    fn linear(&self, hidden: u32) -> Result<Mixer, ArchitectureError> {
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
            let dim = fields.number("head_dim", 1, MAX_ATTENTION)?.map_or(h / heads.max(1), u64::from);
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

    fn mamba(&self, hidden: u32) -> Result<Mixer, ArchitectureError> {
        let fields = self.fields;
        let width = |field| Ok(u64::from(fields.required(field, MAX_INTER)?));
        let h = u64::from(hidden);
        let (state, kernel) = (width("ssm_state_size")?, width("conv_kernel")?);
        if !fields.has("mamba_num_heads") {
            let inner = h * width("expand")?;
            let rank = fields.number("mamba_dt_rank", 1, MAX_INTER)?.map_or(h.div_ceil(16), u64::from);
            return Ok(Mixer::State {
                kind: StateKind::Mamba,
                weights: 3 * h * inner + inner * (kernel + 2 * rank + 3 * state + 2),
                state: inner * state,
                conv_state: (kernel - 1) * inner,
            });
        }
        let heads = width("mamba_num_heads")?;
        let head_dim = match fields.find("mamba_head_dim") {
            Some((_, Value::Number(_))) => width("mamba_head_dim")?,
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

    fn short_conv(&self, hidden: u32) -> Result<Mixer, ArchitectureError> {
        let h = u64::from(hidden);
        let kernel = u64::from(self.fields.required("conv_kernel", MAX_INTER)?);
        let (weights, conv_state) = (4 * h * h + h * kernel, (kernel - 1) * h);
        Ok(Mixer::State { kind: StateKind::ShortConv, weights, state: 0, conv_state })
    }

    fn activation(&self) -> Option<&str> {
        self.fields.find("hidden_act")?.1.as_str()
    }

    /// What is not said of blocks: only SiLU says by itself that they are gated.
    fn assumed_of_blocks(&self) -> Option<String> {
        let act =
            self.activation().filter(|act| !["silu", "swish", "swiglu", "situ", "relu2"].contains(act))?;
        (!self.fields.has("gated"))
            .then(|| format!("blocks with {act} are {}", if self.plain() { "not gated" } else { "gated" }))
    }

    fn plain(&self) -> bool {
        self.activation().is_some_and(|act| ["relu", "relu2", "relu_squared", "xielu"].contains(&act))
    }

    /// Whether blocks have three matrices.
    fn gated(&self) -> Result<bool, ArchitectureError> {
        Ok(self.fields.flag("gated")?.unwrap_or(!self.plain()))
    }

    fn dense(&self, beside_experts: bool) -> Result<Block, ArchitectureError> {
        // Llama 4 has a width of its own for dense layers; Granite without experts has what stands for shared ones alone.
        let own = if beside_experts { "intermediate_size_mlp" } else { "shared_expert_intermediate_size" };
        let own = self.fields.number(own, 0, MAX_INTER)?.filter(|&width| width > 0);
        let plain = self.fields.number("intermediate_size", 1, MAX_INTER)?;
        let inter = own.or(plain).map_or_else(|| self.fields.required("intermediate_size", MAX_INTER), Ok)?;
        Ok(Block::Dense { inter, gated: self.gated()? })
    }

    fn routed(&self, experts: u32, hidden: u32, at: u32) -> Result<Block, ArchitectureError> {
        let fields = self.fields;
        let zero_experts = fields.number("zero_expert_num", 0, MAX_EXPERTS)?.unwrap_or(0);
        fields.word("zero_expert_type")?;
        let top_k = fields.required("num_experts_per_tok", MAX_TOP_K.min(experts + zero_experts))?;
        let inter = match fields.number("moe_intermediate_size", 1, MAX_INTER)? {
            Some(inter) => inter,
            None => fields.required("intermediate_size", MAX_INTER)?,
        };
        let count = fields.number("n_shared_experts", 0, MAX_EXPERTS)?.unwrap_or(0);
        let (shared_experts, shared_inter) =
            match fields.number("shared_expert_intermediate_size", 0, MAX_INTER)? {
                Some(width) => (u32::from(width > 0), width),
                None => (count, if count > 0 { inter } else { 0 }),
            };
        let width = fields.number("moe_latent_size", 1, hidden)?.unwrap_or(hidden);
        let gate = self.gate(experts, at)?;
        Ok(Block::Routed {
            experts,
            zero_experts,
            top_k,
            inter,
            width,
            gated: self.gated()?,
            shared_experts,
            shared_inter,
            gate,
        })
    }

    fn gate(&self, experts: u32, at: u32) -> Result<Gate, ArchitectureError> {
        let fields = self.fields;
        let scoring = match fields.word("scoring_func")? {
            None | Some("softmax" | "topk") => Scoring::Softmax,
            Some("softmax_after_topk") => Scoring::SoftmaxAfterTopk,
            Some("sigmoid" | "noaux_tc") => Scoring::Sigmoid,
            Some("sqrtsoftplus") => Scoring::SqrtSoftplus,
            Some(other) => {
                let problem = format!("{other} is not understood; give softmax, sigmoid or sqrtsoftplus");
                return Err(fields.wrong("scoring_func", &problem));
            }
        };
        let hashed = fields.number("num_hash_layers", 0, MAX_LAYERS)?.unwrap_or(0);
        let scoring = if at < hashed { Scoring::Hash } else { scoring };
        let method = fields.word("topk_method")?;
        let limited = !matches!(method, Some("greedy"));
        let n_group = fields.number("n_group", 1, experts)?.filter(|_| limited).unwrap_or(1);
        let topk_group = fields.number("topk_group", 1, n_group.max(1_024))?.filter(|_| limited).unwrap_or(1);
        if !experts.is_multiple_of(n_group) || topk_group > n_group {
            let problem = format!(
                "{n_group} groups of which a token uses {topk_group}, of {experts} experts; give a divisor, and no more of them"
            );
            return Err(fields.wrong("n_group", &problem));
        }
        let flag = fields.flag("use_routing_bias")?.unwrap_or(false);
        let bias = method.map_or(flag, |method| method == "noaux_tc");
        Ok(Gate {
            scoring,
            bias,
            norm_topk: fields.flag("norm_topk_prob")?.unwrap_or(true),
            n_group,
            topk_group,
            equal_shares: fields.flag("equal_shares")?.unwrap_or(false),
            scaling: fields.factor("routed_scaling_factor")?.unwrap_or(1.0),
        })
    }

    /// Tokens predicted beyond the next, each by a layer like the last, as most files don't say otherwise.
    fn mtp_depth(&self) -> Result<u32, ArchitectureError> {
        let fields = self.fields;
        let count = fields.number("num_nextn_predict_layers", 0, 64)?.unwrap_or(0);
        let modules = fields.number("num_mtp_modules", 0, 64)?.unwrap_or(0);
        let each = fields.number("mtp_transformer_layers", 0, 64)?.unwrap_or(1);
        let used = fields.flag("use_mtp")?.unwrap_or(true);
        Ok(if used { count + modules * each } else { count })
    }
}
