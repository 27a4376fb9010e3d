//! A configuration put together to a model.

use super::block::Block;
use super::fields::{Fields, OWN_HEADS};
use super::mixer::{Mixer, Span};
use super::patterns::{Forward, OTHER_WORDS, forwards, mixers, of_letter};
use super::storage::Storage;
use super::{ConfigError, Layer, Model, Order, defaults, text, unread};
use crate::gate::{Gate, GateKind, GateSpec, Sigmoid, Softmax, SoftmaxAfterTopk, SqrtSoftplus};
use crate::shape::{MAX_EXPERTS, MAX_HIDDEN, MAX_INTER, MAX_LAYERS, MAX_TOP_K, MAX_VOCAB};
use serde_json::{Map, Value};

impl Model {
    /// Reads the text of a `config.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ConfigError`] with the field and the remedy: text that is no JSON object or too long, a field that is missing or
    /// impossible, or that may change the cost and is not understood.
    pub fn from_config(json: &str, origin: &str) -> Result<Self, ConfigError> {
        let whole = |problem| ConfigError { origin: origin.to_owned(), field: None, problem };
        let object = text::object(json).map_err(whole)?;
        let stated = Fields::new(origin, &object);
        let model_type = stated.word("model_type")?.unwrap_or("").to_owned();
        let assumed = defaults::of(&model_type);
        let missing = assumed.iter().filter(|(key, _)| !stated.has(key) && !stated.says_nothing(key));
        let assumed: Map<String, Value> = missing.map(|(key, value)| (key.clone(), value.clone())).collect();
        let fields = Fields::new(origin, &object).or(&assumed);
        let model = Reader { fields: &fields }.model(&model_type, &assumed)?;
        model.validate_as(origin).map_err(|error| whole(error.to_string()))?;
        Ok(model)
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

pub(super) struct Reader<'a> {
    pub(super) fields: &'a Fields<'a>,
}

impl Reader<'_> {
    fn model(&self, model_type: &str, assumed: &Map<String, Value>) -> Result<Model, ConfigError> {
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
                blocks.extend([self.dense(true, hidden)?, self.dense(true, hidden)?]);
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
        let name = name.or_else(|| Some(model_type).filter(|name| !name.is_empty()));
        let mut assumed: Vec<String> =
            assumed.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        assumed.extend(self.assumed_of_blocks());
        if !storage.left_out.is_empty() {
            let bits = storage.base.bits();
            assumed.push(format!("modules left out of quantisation in {bits} bits, as dtype says"));
        }
        let origin = fields.origin.to_ascii_lowercase();
        if !fields.has("quantization_config")
            && ["fp4", "fp8", "int4", "awq", "gptq"].iter().any(|word| origin.contains(word))
        {
            assumed.push("weights as if not quantised: there is no quantization_config".to_owned());
        }
        Ok(Model {
            name: name.unwrap_or(fields.origin).to_owned(),
            source: fields.origin.to_owned(),
            hidden,
            vocab,
            tied_embeddings,
            residual_streams,
            published_total: None,
            published_active: None,
            order: Order::of(&order),
            mtp_order,
            mtp_depth,
            storage,
            kinds: kinds.0,
            other_parts: fields.other_parts.clone(),
            assumed,
            ignored,
        })
    }

    fn num_layers(&self) -> Result<u32, ConfigError> {
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
    ) -> Result<Vec<Block>, ConfigError> {
        Ok(match forward {
            Forward::Nothing => Vec::new(),
            Forward::Dense => vec![self.dense(experts.is_some(), hidden)?],
            Forward::Routed => {
                let mut blocks = vec![self.routed(experts.unwrap_or(0), hidden, at)?];
                // A dense block beside the experts: Arctic's is as wide as the states, Grok-2's has a width of its own.
                if self.fields.flag("parallel_attn_mlp_res")? == Some(true) {
                    self.fields.find("use_residual");
                    blocks.push(Block::Dense { inter: hidden, gated: self.gated()? });
                }
                if self.fields.flag("residual_moe")? == Some(true) {
                    blocks.push(self.dense(true, hidden)?);
                }
                blocks
            }
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
        // Of the window's own heads, where there are no windows.
        if !mixers().any(|mixer| matches!(mixer, Mixer::Grouped { span: Span::Window(_), .. })) {
            all.extend(OWN_HEADS.iter().flat_map(|(_, names)| *names));
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
    fn gated(&self) -> Result<bool, ConfigError> {
        Ok(self.fields.flag("gated")?.unwrap_or_else(|| !self.plain()))
    }

    fn dense(&self, beside_experts: bool, hidden: u32) -> Result<Block, ConfigError> {
        // Llama 4 has a width of its own for dense layers; Granite without experts has what stands for shared ones alone.
        let own = if beside_experts { "intermediate_size_mlp" } else { "shared_expert_intermediate_size" };
        let own = self.fields.number(own, 0, MAX_INTER)?.filter(|&width| width > 0);
        let plain = self.fields.number("intermediate_size", 1, MAX_INTER)?;
        let factor = match own.or(plain) {
            Some(_) => None,
            None => self.fields.number("intermediate_factor", 1, 64)?,
        };
        let inter = own.or(plain).or_else(|| factor.map(|factor| factor * hidden));
        let inter = inter.map_or_else(|| self.fields.required("intermediate_size", MAX_INTER), Ok)?;
        Ok(Block::Dense { inter, gated: self.gated()? })
    }

    fn routed(&self, experts: u32, hidden: u32, at: u32) -> Result<Block, ConfigError> {
        let fields = self.fields;
        let zero_experts = fields.number("zero_expert_num", 0, MAX_EXPERTS)?.unwrap_or(0);
        fields.word("zero_expert_type")?;
        let top_k = fields.required("num_experts_per_tok", MAX_TOP_K.min(experts + zero_experts))?;
        let inter = match fields.number("moe_intermediate_size", 1, MAX_INTER)? {
            Some(inter) => inter,
            None => match fields.number("intermediate_size", 1, MAX_INTER)? {
                Some(inter) => inter,
                None => fields.required("moe_intermediate_size", MAX_INTER)?,
            },
        };
        let count = fields.number("n_shared_experts", 0, MAX_EXPERTS)?.unwrap_or(0);
        let (shared_experts, shared_inter) =
            match fields.number("shared_expert_intermediate_size", 0, MAX_INTER)? {
                Some(width) => (u32::from(width > 0), width),
                None => (count, if count > 0 { inter } else { 0 }),
            };
        let latent = fields.number("moe_latent_size", 1, hidden)?.filter(|&width| width < hidden);
        let hash_layers = fields.number("num_hash_layers", 0, MAX_LAYERS)?.unwrap_or(0);
        Ok(Block::Routed {
            experts,
            zero_experts,
            top_k,
            inter,
            latent,
            gated: self.gated()?,
            shared_experts,
            shared_inter,
            gate: self.gate(experts)?,
            hashed: at < hash_layers,
        })
    }

    fn gate(&self, experts: u32) -> Result<GateSpec, ConfigError> {
        let fields = self.fields;
        // SmallThinker says it by a flag: scores of those that are picked.
        let flagged = match fields.flag("moe_primary_router_apply_softmax")? {
            Some(true) => Some("softmax_after_topk"),
            Some(false) => Some("sigmoid"),
            None => None,
        };
        let rule: &'static dyn Gate = match fields.word("scoring_func")?.or(flagged) {
            None | Some("softmax" | "topk") => &Softmax,
            Some("softmax_after_topk") => &SoftmaxAfterTopk,
            Some("sigmoid" | "noaux_tc") => &Sigmoid,
            Some("sqrtsoftplus") => &SqrtSoftplus,
            Some(other) => {
                let problem = format!("{other} is not understood; give softmax, sigmoid or sqrtsoftplus");
                return Err(fields.wrong("scoring_func", &problem));
            }
        };
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
        let norm_topk = fields.flag("norm_topk_prob")?.unwrap_or(true);
        Ok(GateSpec {
            kind: GateKind::of(rule).bias(bias).norm_topk(norm_topk),
            n_group,
            topk_group,
            equal_shares: fields.flag("equal_shares")?.unwrap_or(false),
            routed_scaling_factor: fields.factor("routed_scaling_factor")?.unwrap_or(1.0) as f32,
        })
    }

    /// Tokens predicted beyond the next, each by a layer like the last, as most files don't say otherwise.
    fn mtp_depth(&self) -> Result<u32, ConfigError> {
        let fields = self.fields;
        let count = fields.number("num_nextn_predict_layers", 0, 64)?.unwrap_or(0);
        let modules = fields.number("num_mtp_modules", 0, 64)?.unwrap_or(0);
        let each = fields.number("mtp_transformer_layers", 0, 64)?.unwrap_or(1);
        let used = fields.flag("use_mtp")?.unwrap_or(true);
        Ok(if used { count + modules * each } else { count })
    }
}
