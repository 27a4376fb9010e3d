//! Typed reading of one JSON object's fields; every failure names the origin, the field and the remedy.

use serde_json::{Map, Value};

use crate::error::ModelError;

/// The object and where it came from. A field that is `null` counts as absent, as in `transformers`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    origin: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(origin: &'a str, object: &'a Map<String, Value>) -> Self {
        Self { origin, object }
    }

    pub(super) fn origin(&self) -> &'a str {
        self.origin
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn is_set(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    pub(super) fn missing(&self, field: &str, remedy: &str) -> ModelError {
        ModelError::Missing {
            origin: self.origin.to_owned(),
            field: field.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn invalid(&self, field: &'static str, value: impl ToString, remedy: &str) -> ModelError {
        ModelError::Invalid {
            origin: self.origin.to_owned(),
            field,
            value: value.to_string(),
            remedy: remedy.to_owned(),
        }
    }

    /// An integer within `1..=max`.
    pub(super) fn positive(&self, field: &'static str, max: u32) -> Result<u32, ModelError> {
        self.required(field, 1, max)
    }

    /// An integer within `0..=max`.
    pub(super) fn count(&self, field: &'static str, max: u32) -> Result<u32, ModelError> {
        self.required(field, 0, max)
    }

    fn required(&self, field: &'static str, min: u32, max: u32) -> Result<u32, ModelError> {
        let remedy = format!("this model type needs an integer there, between {min} and {max}");
        self.optional(field, min, max)?.ok_or_else(|| self.missing(field, &remedy))
    }

    /// As [`Fields::positive`], or `default` where the field is absent.
    pub(super) fn positive_or(&self, field: &'static str, max: u32, default: u32) -> Result<u32, ModelError> {
        Ok(self.optional(field, 1, max)?.unwrap_or(default))
    }

    /// An integer within `min..=max`, if the field is there.
    pub(super) fn optional(
        &self,
        field: &'static str,
        min: u32,
        max: u32,
    ) -> Result<Option<u32>, ModelError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.invalid(field, value, &format!("an integer between {min} and {max}"))),
        }
    }

    pub(super) fn flag_or(&self, field: &'static str, default: bool) -> Result<bool, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.invalid(field, value, "true or false")),
        }
    }

    /// A number above zero that is one in f32 too.
    pub(super) fn positive_number(&self, field: &'static str) -> Result<f32, ModelError> {
        let Some(value) = self.get(field) else {
            return Err(self.missing(field, "this model type needs a positive number there"));
        };
        let number = value.as_f64().map(|number| number as f32);
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.invalid(field, value, "a positive number"))
    }

    pub(super) fn optional_str(&self, field: &'static str) -> Result<Option<&'a str>, ModelError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.invalid(field, value, "a string")),
        }
    }

    /// A list of layer indices below `num_layers`, ascending and distinct afterwards; empty where absent.
    pub(super) fn layer_indices(&self, field: &'static str, num_layers: u32) -> Result<Vec<u32>, ModelError> {
        let Some(value) = self.get(field) else {
            return Ok(Vec::new());
        };
        let remedy = format!("a list of layer indices below {num_layers}");
        let list = value.as_array().ok_or_else(|| self.invalid(field, value, &remedy))?;
        let index = |entry: &Value| entry.as_u64().filter(|&i| i < num_layers.into()).map(|i| i as u32);
        let mut indices = Vec::with_capacity(list.len().min(num_layers as usize));
        for entry in list {
            indices.push(index(entry).ok_or_else(|| self.invalid(field, entry, &remedy))?);
        }
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }
}
