//! What `quantization_config` says of the stored weights, module by module.

use super::ConfigError;
use super::fields::{Fields, short};
use super::storage::{Format, Part, Storage};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Names of modules of a part, in the naming of each family; `{}` is the layer.
fn modules(part: Part) -> &'static [&'static str] {
    match part {
        Part::Mixer => &[
            "layers.{}.self_attn.q_proj",
            "layers.{}.self_attn.q_b_proj",
            "layers.{}.attn.wq_b",
            "layers.{}.linear_attn.out_proj",
            "layers.{}.mixer.in_proj",
            "layers.{}.mixer.q_proj",
        ],
        Part::Dense => &[
            "layers.{}.mlp.gate_proj",
            "layers.{}.ffn.w1",
            "layers.{}.feed_forward.gate_proj",
            "layers.{}.mlps.0.gate_proj",
        ],
        Part::Shared => &[
            "layers.{}.mlp.shared_experts.gate_proj",
            "layers.{}.mlp.shared_expert.gate_proj",
            "layers.{}.block_sparse_moe.shared_experts.gate_proj",
            "layers.{}.feed_forward.shared_expert.gate_proj",
            "layers.{}.mixer.shared_experts.up_proj",
            "layers.{}.ffn.shared_experts.w1",
        ],
        Part::Experts => &[
            "layers.{}.mlp.experts.0.gate_proj",
            "layers.{}.mlp.experts.gate_up_proj",
            "layers.{}.block_sparse_moe.experts.0.w1",
            "layers.{}.feed_forward.experts.gate_up_proj",
            "layers.{}.mixer.experts.0.up_proj",
            "layers.{}.ffn.experts.0.w1",
        ],
        Part::Head => &["lm_head", "head"],
        // Neither are products with a weight matrix, or too small to be worth a format of their own.
        Part::Embedding | Part::Norms | Part::Router => &[],
    }
}

/// What stands before `layers.` in the families.
const PREFIXES: [&str; 6] =
    ["", "model.", "model.language_model.", "language_model.", "language_model.model.", "backbone."];

impl Storage {
    /// What the fields of a configuration of `num_layers` layers say.
    pub(super) fn read(fields: &Fields<'_>, num_layers: u32) -> Result<Self, ConfigError> {
        let dtype = match fields.word("torch_dtype")? {
            None => fields.word("dtype")?,
            word => word,
        };
        let base = match dtype {
            None | Some("bfloat16" | "float16" | "auto") => Format::Bf16,
            Some("float32") => Format::Fp32,
            Some(other) => {
                return Err(fields.wrong("dtype", &format!("{other}; give bfloat16, float16 or float32")));
            }
        };
        let mut storage = Self::plain(base);
        let mut of_experts = false;
        if let Some((_, config)) = fields.find("quantization_config") {
            let config = config.as_object();
            let config = config.ok_or_else(|| fields.wrong("quantization_config", "give an object"))?;
            of_experts = storage.quantised(fields, config, num_layers)?;
        }
        storage.experts = match fields.word("expert_dtype")? {
            // What the tool says that quantised them counts; the word is the base model's then.
            _ if of_experts => storage.experts,
            None => storage.experts,
            Some("fp4") => Format::Mxfp4,
            Some("fp8") => storage.products,
            Some("bf16" | "bfloat16") => Format::Bf16,
            Some(other) => {
                return Err(fields.wrong("expert_dtype", &format!("{other}; give fp4, fp8 or bf16")));
            }
        };
        Ok(storage)
    }

    fn quantised(
        &mut self,
        fields: &Fields<'_>,
        config: &Map<String, Value>,
        num_layers: u32,
    ) -> Result<bool, ConfigError> {
        let config = Quantised { fields, config };
        // What changes single modules in ways that are not looked at.
        for key in
            ["dynamic", "sparsity_config", "extra_config", "modules_in_block_to_quantize", "quant_config"]
        {
            if config
                .get(key)
                .is_some_and(|value| !matches!(value, Value::Object(object) if object.is_empty()))
            {
                return Err(config.wrong(key, "not understood; a copy of the file without it is read"));
            }
        }
        let method = config.text("quant_method").or_else(|| config.text("quant_algo")).unwrap_or("");
        let format = config.format(method)?;
        // gpt-oss: what MXFP4 is for are the experts; all else is left out by name, or by default.
        self.products = if method == "mxfp4" { self.base } else { format };
        let of_experts = config.of_experts()?;
        self.experts = of_experts.unwrap_or(format);
        self.cache_bits = config.cache_bits();
        let left = config.left_out()?;
        // What a second tool leaves out of its format keeps that of the first, in which the products are.
        let over = config.is_mixed() && config.get("weight_block_size").is_some();
        for layer in 0..num_layers {
            for part in [Part::Mixer, Part::Dense, Part::Shared, Part::Experts] {
                match left.has(part, layer) {
                    true if over && part == Part::Experts => {
                        let problem = format!("experts of layer {layer} in another format; not understood");
                        return Err(config.wrong("ignore", &problem));
                    }
                    true if !over => self.left_out.push((layer, part)),
                    _ => {}
                }
            }
        }
        // Checkpoints keep the head as it is unless their tool says otherwise.
        self.head = matches!(method, "compressed-tensors" | "modelopt") && !left.has(Part::Head, 0);
        Ok(of_experts.is_some())
    }
}

/// A `quantization_config`.
struct Quantised<'a> {
    fields: &'a Fields<'a>,
    config: &'a Map<String, Value>,
}

impl Quantised<'_> {
    fn wrong(&self, key: &str, problem: &str) -> ConfigError {
        self.fields.wrong(&format!("quantization_config.{key}"), problem)
    }

    /// A value that is there; those of an inner `quantization`, as older tools write it, as well.
    fn get(&self, key: &str) -> Option<&Value> {
        let inner = self.config.get("quantization").and_then(Value::as_object);
        let value = self.config.get(key).or_else(|| inner?.get(key));
        value.filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    }

    fn is_mixed(&self) -> bool {
        self.text("quant_algo") == Some("MIXED_PRECISION")
    }

    /// The format of products.
    fn format(&self, method: &str) -> Result<Format, ConfigError> {
        if let Some(groups) =
            self.get("config_groups").and_then(Value::as_object).filter(|_| !self.is_mixed())
        {
            let formats =
                groups.values().map(|group| of_weights(group.get("weights").unwrap_or(&Value::Null)));
            let formats = formats.collect::<Result<Vec<_>, _>>();
            return match formats.map_err(|problem| self.wrong("config_groups", &problem))?[..] {
                [first, ref rest @ ..] if rest.iter().all(|other| *other == first) => Ok(first),
                _ => {
                    Err(self.wrong("config_groups", "none, or several formats, are not understood; give one"))
                }
            };
        }
        let is_set = |key| self.get(key) == Some(&Value::Bool(true));
        match method {
            "mxfp4" => Ok(Format::Mxfp4),
            "fp8" | "fbgemm_fp8" => match self.get("weight_block_size").and_then(Value::as_array) {
                Some(block) => match block.iter().filter_map(Value::as_u64).collect::<Vec<_>>()[..] {
                    [rows, columns] if rows > 0 && columns > 0 => {
                        Ok(Format::Fp8Blocks(rows.min(1 << 20) as u32, columns.min(1 << 20) as u32))
                    }
                    _ => Err(self.wrong("weight_block_size", "give two numbers above 0")),
                },
                None => Ok(Format::Fp8),
            },
            "gptq" | "awq" | "auto-round" | "auto_round" | "moe_wna16" => {
                let bits = self.number("bits").filter(|bits| (2..=8).contains(bits));
                let bits = bits.ok_or_else(|| self.wrong("bits", "give 2 to 8"))?;
                if self.number("group_size") == Some(0) {
                    return Err(
                        self.wrong("group_size", "0; give weights of a group, or -1 for a scale a channel")
                    );
                }
                Ok(Format::Int(bits, self.number("group_size").unwrap_or(0)))
            }
            "bitsandbytes" if is_set("load_in_8bit") => Ok(Format::Int(8, 0)),
            // Scales of 64 weights in FP32, or those in 8 bits with an FP32 scale for each 256 of them.
            "bitsandbytes" if is_set("load_in_4bit") && is_set("bnb_4bit_use_double_quant") => {
                Ok(Format::Nf4Twice)
            }
            "bitsandbytes" if is_set("load_in_4bit") => Ok(Format::Int(4, 32)),
            "modelopt" | "modelopt_fp4" | "FP8" | "NVFP4" | "modelopt_mixed" => match self.text("quant_algo")
            {
                Some("NVFP4") => Ok(Format::Nvfp4),
                Some(algo) if algo.starts_with("FP8") => Ok(Format::Fp8),
                other => {
                    let problem = format!("{}; give FP8 or NVFP4", other.unwrap_or("missing"));
                    Err(self.wrong("quant_algo", &problem))
                }
            },
            other => {
                let known = "fp8, mxfp4, compressed-tensors, modelopt, gptq, awq or bitsandbytes";
                Err(self.wrong("quant_method", &format!("{other:?} is not understood; give {known}")))
            }
        }
    }

    /// The format of routed experts where it is another.
    fn of_experts(&self) -> Result<Option<Format>, ConfigError> {
        if !self.is_mixed() && self.get("moe_quant_algo").is_none() {
            return Ok(None);
        }
        let of_layers = || {
            let layers = self.get("quantized_layers")?.as_object()?;
            layers.iter().find(|(name, _)| name.contains("experts"))?.1.get("quant_algo")?.as_str()
        };
        match self.text("moe_quant_algo").or_else(of_layers) {
            Some("NVFP4") => Ok(Some(Format::Nvfp4)),
            Some("FP8") => Ok(Some(Format::Fp8)),
            Some("MXFP4" | "W4A8_MXFP4_FP8") => Ok(Some(Format::Mxfp4)),
            other => Err(self.wrong("moe_quant_algo", &format!("{other:?}; give NVFP4, MXFP4 or FP8"))),
        }
    }

    fn cache_bits(&self) -> Option<u32> {
        match self.get("kv_cache_scheme") {
            Some(Value::Object(scheme)) => scheme.get("num_bits")?.as_u64().map(|bits| bits.min(64) as u32),
            Some(Value::String(word)) => word_bits(word),
            _ => self.text("kv_cache_quant_algo").and_then(word_bits),
        }
    }

    fn left_out(&self) -> Result<LeftOut, ConfigError> {
        let mut left = LeftOut::default();
        for key in
            ["ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "llm_int8_skip_modules"]
        {
            let Some(list) = self.get(key) else { continue };
            let list =
                list.as_array().ok_or_else(|| self.wrong(key, &format!("{}; give a list", short(list))))?;
            for pattern in list {
                let pattern = pattern.as_str().ok_or_else(|| self.wrong(key, "give names"))?;
                left.add(pattern).map_err(|problem| self.wrong(key, &problem))?;
            }
        }
        Ok(left)
    }
}

fn word_bits(word: &str) -> Option<u32> {
    match word.to_ascii_uppercase().as_str() {
        "FP8" | "INT8" => Some(8),
        "NVFP4" | "INT4" => Some(4),
        _ => None,
    }
}

/// The format that a group's `weights` describe.
fn of_weights(weights: &Value) -> Result<Format, String> {
    let number =
        |key: &str| weights.get(key).and_then(Value::as_u64).map(|number| number.min(1 << 20) as u32);
    if number("group_size") == Some(0) {
        return Err("group_size 0; give weights of a group, or null for a scale a channel".to_owned());
    }
    let group = number("group_size").unwrap_or(0);
    match (weights.get("type").and_then(Value::as_str), number("num_bits")) {
        (Some("float"), Some(4)) if group == 16 => Ok(Format::Nvfp4),
        (Some("float"), Some(4)) if group == 32 => Ok(Format::Mxfp4),
        (Some("float"), Some(8)) => {
            Ok(match weights.get("block_structure").and_then(Value::as_array).map(Vec::as_slice) {
                Some([rows, columns]) => {
                    let side = |side: &Value| side.as_u64().unwrap_or(128).clamp(1, 1 << 20) as u32;
                    Format::Fp8Blocks(side(rows), side(columns))
                }
                _ => Format::Fp8,
            })
        }
        (Some("int"), Some(bits @ 2..=8)) => Ok(Format::Int(bits, group)),
        (kind, bits) => {
            Err(format!("weights of type {kind:?} and {bits:?} bits in groups of {group} are not understood"))
        }
    }
}

/// Most patterns of modules that are no plain names.
const PATTERNS_MAX: usize = 256;

/// Modules that are left out, by what names them.
#[derive(Default)]
struct LeftOut {
    /// Modules, with all that is in them.
    names: BTreeSet<String>,
    /// Parts of names.
    words: BTreeSet<String>,
    /// What names begin with.
    starts: BTreeSet<String>,
    patterns: Vec<Regex>,
}

impl LeftOut {
    /// `re:` is a regular expression, `*` stands for anything; a plain name is a module with all in it, one word a part of a name.
    fn add(&mut self, pattern: &str) -> Result<(), String> {
        let expression = match (pattern.strip_prefix("re:"), pattern.strip_suffix('*')) {
            (Some(expression), _) => format!("^(?:{expression})"),
            (None, Some(start)) if !start.contains('*') => {
                self.starts.insert(start.to_owned());
                return Ok(());
            }
            _ if pattern.contains('*') => {
                let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
                format!("^{}(?:$|\\.)", parts.join(".*"))
            }
            _ => {
                let names = if pattern.contains('.') { &mut self.names } else { &mut self.words };
                names.insert(pattern.trim_end_matches('.').to_owned());
                return Ok(());
            }
        };
        if self.patterns.len() >= PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} patterns; give names"));
        }
        let made = regex::RegexBuilder::new(&expression).size_limit(1 << 20).build();
        self.patterns
            .push(made.map_err(|_| format!("{pattern:?} is no regular expression that is understood"))?);
        Ok(())
    }

    fn has(&self, part: Part, layer: u32) -> bool {
        modules(part).iter().any(|module| {
            let name = module.replace("{}", &layer.to_string());
            PREFIXES.iter().any(|prefix| self.names_module(&format!("{prefix}{name}")))
        })
    }

    fn names_module(&self, module: &str) -> bool {
        let ends = || module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
        ends().any(|end| self.names.contains(&module[..end]))
            || module.split('.').any(|word| self.words.contains(word))
            || (0..=module.len()).any(|end| self.starts.contains(&module[..end]))
            || self.patterns.iter().any(|pattern| pattern.is_match(module))
    }
}
