//! A comparison as a request asks for it: the words of `railyard compare` as the keys of a JSON object.
//!
//! A word never leads to a file or a program of the coordinator's: where one may name either, names of presets and policies alone are taken.

use crate::problem::Problem;
use crate::state::Yard;
use moe::Model;
use moe::placement::POLICIES;
use serde_json::{Map, Value, json};
use study::layer::{CompareError, CompareSpec, LayerArgs, check};
use study::scenario::{keys, read, takes_several};
use topology::Hardware;

/// Most ranks, slots, tokens over all ranks, rounds, seeds, latencies and gates that a request may ask for.
const RANKS_MAX: u64 = 1_024;
const SLOTS_MAX: u64 = 4_096;
const TOKENS_MAX: u64 = 1 << 20;
const ROUNDS_MAX: u64 = 100;
const SEEDS_MAX: u64 = 16;
const CHOICES_MAX: u64 = 4;

/// Words that a request may have: all of a comparison's but the coordinator's own.
fn words() -> Vec<String> {
    keys::<LayerArgs>(&["memory-limit"])
}

/// What can be asked for: the words, and the names that some of them take.
pub(crate) fn askable() -> Value {
    let models: Vec<&str> = Model::presets().map(|model| model.name.as_str()).collect();
    let hardware: Vec<&str> = Hardware::preset_names().collect();
    let placements: Vec<&str> = POLICIES.iter().map(|policy| policy.name()).collect();
    json!({ "words": words(), "models": models, "hardware": hardware, "placements": placements })
}

/// The comparison that `asked` means.
///
/// # Errors
/// [`Problem`] that names the word.
pub(crate) fn spec(yard: &Yard, asked: &Map<String, Value>) -> Result<CompareSpec, Problem> {
    let known = words();
    let mut flags = Vec::new();
    for (word, value) in asked {
        if !known.contains(word) {
            return Err(Problem::bad(format!("`{word}`: no such word; known are {}", known.join(", "))));
        }
        let listed = value.as_array().map_or(0, Vec::len);
        if listed > 1 && !takes_several::<LayerArgs>(word) {
            return Err(Problem::bad(format!("`{word}`: {listed} values, and it takes one")));
        }
        let own = flags_of(word, value)?;
        // By itself first, so that what is wrong has a name.
        read::<LayerArgs>(&own).map_err(|problem| Problem::bad(format!("`{word}`: {problem}")))?;
        flags.extend(own);
    }
    let args: LayerArgs = read(&flags).map_err(Problem::bad)?;
    bounded(&args)?;
    let mut spec = args.spec(&yard.programs).map_err(Problem::bad)?;
    spec.memory_limit_bytes = yard.options.memory_limit_bytes;
    // Pictures are made of it.
    spec.detail = true;
    check(&spec, false).map_err(|error| refused(&error))?;
    Ok(spec)
}

/// A comparison that can't be run here. Who asks over HTTP has no flags, and the memory is the coordinator's.
pub(crate) fn refused(error: &CompareError) -> Problem {
    match error {
        CompareError::Memory { what, needed, limit } => Problem::bad(format!(
            "{what} needs about {needed} of the coordinator's memory, of which {limit} may be used; ask for fewer ranks, tokens or experts"
        )),
        error => Problem::bad(error),
    }
}

/// Refuses what would keep a coordinator busy before it is known what it takes.
fn bounded(args: &LayerArgs) -> Result<(), Problem> {
    let said = args.scenario.said_of_racks();
    let listed: u64 = said.ranks_per_rack.iter().map(|&ranks| u64::from(ranks)).sum();
    let racks = u64::from(said.racks.unwrap_or(2));
    let in_racks = if said.ranks_per_rack.len() > 1 { listed } else { listed.max(8).saturating_mul(racks) };
    let ranks = said.ranks.map_or(in_racks, u64::from);
    for (word, asked, most) in [
        ("ranks", ranks, RANKS_MAX),
        ("slots", args.scenario.slots.map_or(0, u64::from), SLOTS_MAX),
        ("tokens", ranks.saturating_mul(args.tokens.into()), TOKENS_MAX),
        ("rounds", args.rounds.saturating_add(args.warmup).into(), ROUNDS_MAX),
        ("seeds", args.scenario.seeds.0.len() as u64, SEEDS_MAX),
        ("latency", args.scenario.latency.len() as u64, CHOICES_MAX),
        ("gate", args.scenario.gate.len() as u64, CHOICES_MAX),
    ] {
        if asked > most {
            let problem = format!(
                "`{word}`: {asked} in all; a page or script may ask for {most}, the command line for more"
            );
            return Err(Problem::bad(problem));
        }
    }
    Ok(())
}

/// The flags of a word.
fn flags_of(word: &str, value: &Value) -> Result<Vec<String>, Problem> {
    let name = word.replace('_', "-");
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Problem::bad(format!("`{word}`: give a text or a number, or a list of them"))),
    };
    let values = match value {
        Value::Null | Value::Bool(false) => return Ok(Vec::new()),
        Value::Bool(true) => return Ok(vec![format!("--{name}")]),
        Value::Array(values) => values.iter().map(one).collect::<Result<Vec<_>, _>>()?,
        value => vec![one(value)?],
    };
    let flag = |value: String| harmless(word, &value).map(|()| format!("--{name}={value}"));
    values.into_iter().map(flag).collect()
}

/// Refuses what would be read or run here.
fn harmless(word: &str, value: &str) -> Result<(), Problem> {
    let preset = |known: bool, what: &str| {
        let problem =
            || format!("`{word}`: no {what} `{}`; files are for the command line", value.escape_default());
        if known { Ok(()) } else { Err(Problem::bad(problem())) }
    };
    match word {
        "model" => preset(Model::presets().any(|model| model.name == value), "model"),
        "hardware" => preset(Hardware::preset_names().any(|name| name == value), "hardware"),
        "placement" => preset(POLICIES.iter().any(|policy| policy.name() == value), "placement"),
        "routing" => preset(!value.starts_with("loads:") && !value.starts_with("trace:"), "routing"),
        _ => Ok(()),
    }
}
