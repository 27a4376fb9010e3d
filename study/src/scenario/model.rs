//! Models by their names: a preset, a model file, a Hugging Face config.json, or what fits a recorded trace.

use super::ScenarioError;
use super::files::{has_extension, is_file, read_file};
use moe::gate::{GateKind, GateSpec, SoftmaxAfterTopk};
use moe::load::Trace;
use moe::{LayerShape, Model};
use std::path::Path;

/// The model of whoever names none.
const DEFAULT_MODEL: &str = "deepseek-v3";

fn refused(problem: impl ToString) -> ScenarioError {
    ScenarioError::new("model", problem)
}

/// The model of a preset's name, a model file (`.toml`) or a config.json; without one the default.
///
/// # Errors
/// [`ScenarioError`] with the nearest preset, or with what is wrong in the file.
pub fn named_model(name: Option<&str>) -> Result<Model, ScenarioError> {
    let model = any_model(name)?;
    model.check_ranks().map_err(refused)?;
    Ok(model)
}

/// As [`named_model`], models included whose layers ranks can't run: those without experts, and what is only priced.
///
/// # Errors
/// As [`named_model`].
pub fn any_model(name: Option<&str>) -> Result<Model, ScenarioError> {
    let name = name.unwrap_or(DEFAULT_MODEL);
    let is_toml = has_extension(name, "toml");
    if !is_toml && !is_file(name, "json") {
        return Model::preset(name).map_err(refused);
    }
    let text = read_file(Path::new(name)).map_err(refused)?;
    if is_toml {
        Model::from_toml(&text, name).map_err(refused)
    } else {
        Model::from_config(&text, name).map_err(refused)
    }
}

/// The model whose routing `trace` of `path` has: the one of `name`, which must fit; without one a preset that fits, else the
/// default's widths with the trace's experts. Tells what was decided, where something was.
///
/// # Errors
/// [`ScenarioError`] for a model that was not recorded.
pub fn fitting_model(
    name: Option<&str>,
    top_k: Option<u32>,
    trace: &Trace,
    path: &Path,
) -> Result<(Model, Option<String>), ScenarioError> {
    let (experts, k) = (trace.info.num_experts, trace.info.top_k);
    let fitting = presets_like(experts, k).next();
    if name.is_none() {
        let note = match &fitting {
            Some(model) => {
                format!("no --model: the trace has {experts} experts, top-{k}, as {} has", model.name)
            }
            None => {
                format!("no --model: widths of {DEFAULT_MODEL} with the trace's {experts} experts, top-{k}")
            }
        };
        let model = fitting.map_or_else(|| default_with(experts, k), Ok)?;
        return Ok((model, Some(note)));
    }
    let model = named_model(name)?;
    let (has, own_k) = (model.layer().num_experts, top_k.unwrap_or_else(|| model.layer().top_k));
    if has == experts && own_k == k {
        return Ok((model, None));
    }
    let fitting = fitting.map_or_else(String::new, |model| format!(" (such as {})", model.name));
    Err(refused(format!(
        "{}: recorded with {experts} experts, top-{k}, but {} has {}, top-{}; leave --model out, or give the model that was recorded{fitting}",
        path.display(),
        model.name,
        has,
        own_k,
    )))
}

/// The model of `name`, which must have the `experts` that `origin` recorded; without one the default, or its widths with these.
///
/// # Errors
/// [`ScenarioError`] for a model that was not recorded.
pub(super) fn recorded_model(name: Option<&str>, experts: u32, origin: &str) -> Result<Model, ScenarioError> {
    let model = named_model(name)?;
    let LayerShape { num_experts, top_k, .. } = model.layer();
    match name {
        Some(_) if num_experts != experts => Err(refused(format!(
            "{}: it has {} experts, {origin} {experts}; give the model that was measured",
            model.name, num_experts
        ))),
        // What is recorded of as many experts as the default has is taken for the default's.
        _ if num_experts == experts => Ok(model),
        _ => default_with(experts, top_k.min(experts)),
    }
}

/// The presets with so many experts, of which a token goes to so many.
fn presets_like(num_experts: u32, top_k: u32) -> impl Iterator<Item = Model> {
    let fits = move |model: &&Model| {
        let shape = model.layer();
        shape.num_experts == num_experts && shape.top_k == top_k
    };
    Model::presets().filter(fits).cloned()
}

fn default_with(num_experts: u32, top_k: u32) -> Result<Model, ScenarioError> {
    let gate = GateSpec::ungrouped(GateKind::of(&SoftmaxAfterTopk));
    let mut model = named_model(None)?.with_experts(num_experts, top_k, gate);
    model.name = format!("{DEFAULT_MODEL} with {num_experts} experts, top-{top_k}");
    Ok(model)
}
