//! Models from a Hugging Face `config.json`: DeepSeek, Kimi, Mixtral, Qwen-MoE, OLMoE, gpt-oss, GLM, Llama 4, Granite.
//!
//! Field names and defaults are those of the model classes in `transformers`. What has no default there is asked
//! for by name; nothing is guessed.

mod families;
mod fields;

use crate::model::{Model, ModelError};
use families::Family;
use fields::Fields;

/// Largest configuration that is read, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Fields that give a model's number of experts away, whatever its type.
const EXPERT_FIELDS: &[&str] = &["n_routed_experts", "num_local_experts", "num_experts"];

impl Model {
    /// Reads the text of a `config.json`; `origin` names it in errors and as the source. A configuration nested in
    /// `text_config` (multimodal models) is found there.
    ///
    /// # Errors
    /// [`ModelError`] names `origin`, the field and the remedy: text that is no JSON object or too long, a missing or
    /// impossible field, a model without experts or of a type that is not known.
    pub fn from_hf_config(json: &str, origin: &str) -> Result<Self, ModelError> {
        Self::read_hf_config(json, origin, families::WITH_EXPERTS)
    }

    /// As [`Model::from_hf_config`] for a model without experts: `moe_layers` is 0 and the layer that [`Model::layer`] describes
    /// is in no layer of it. For estimates of memory and time; nothing can be dispatched.
    ///
    /// # Errors
    /// As [`Model::from_hf_config`], with gated feed-forward blocks (three matrices) and grouped-query
    /// attention.
    pub fn dense_from_hf_config(json: &str, origin: &str) -> Result<Self, ModelError> {
        Self::read_hf_config(json, origin, families::DENSE)
    }

    fn read_hf_config(json: &str, origin: &str, families: &[Family]) -> Result<Self, ModelError> {
        let not_json = |reason| ModelError::Json { origin: origin.to_owned(), reason };
        if json.len() > MAX_CONFIG_BYTES {
            return Err(not_json(format!("{} bytes, more than {MAX_CONFIG_BYTES}", json.len())));
        }
        let value: serde_json::Value = serde_json::from_str(json).map_err(|e| not_json(e.to_string()))?;
        let Some(object) = value.as_object() else {
            return Err(not_json("it is another kind of value".to_owned()));
        };
        let outer = Fields::new(origin, object);
        let inner = object.get("text_config").and_then(serde_json::Value::as_object);
        let fields = inner.map_or(outer, |text| Fields::new(origin, text));
        let types = || families.iter().flat_map(|family| family.types).copied();
        let remedy = || format!("one of {}", types().collect::<Vec<_>>().join(", "));
        let Some(model_type) = fields.optional_str("model_type")?.or(outer.optional_str("model_type")?)
        else {
            return Err(fields.missing("model_type", &format!("give {}", remedy())));
        };
        let Some(family) = families.iter().find(|family| family.types.contains(&model_type)) else {
            let dense = std::ptr::eq(families, families::DENSE);
            return Err(if dense || EXPERT_FIELDS.iter().any(|field| fields.is_set(field)) {
                fields.invalid("model_type", model_type, &remedy())
            } else {
                ModelError::NotMoe { origin: origin.to_owned(), model_type: model_type.to_owned() }
            });
        };
        let mut model = (family.read)(model_type, fields)?;
        if let Some(name) = outer.optional_str("_name_or_path")?.filter(|name| !name.is_empty()) {
            name.clone_into(&mut model.name);
        }
        if model.moe_layers > 0 {
            model.validate_as(origin)?;
        }
        Ok(model)
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
