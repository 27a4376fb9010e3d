//! What the keys of an experiment file mean: the flags of `railyard compare`, read by the same parser.
//!
//! A key is a flag's name with `_` for `-`, and a flag that is added there is a key here. Some flags are not for points: seeds and
//! backends have words of their own, and how much memory there is says the machine.

use crate::options::SpecArgs;
use crate::resolve;
use clap::{ArgAction, CommandFactory, Parser};
use moe::RoutingSpec;
use study::experiment::{Experiment, Options, Point, Resolved, Resolver, Settings, Value};
use study::layer::{BackendKind, CompareSpec};

/// Flags that no key stands for.
const NO_KEYS: [&str; 4] = ["backend", "seeds", "no-payload", "memory-limit"];
/// Whether rows have values; `--no-payload` the other way round.
const PAYLOAD: &str = "payload";
/// A point's own row is compared with a base only where this key stands.
const BASE: &str = "base";
/// What makes a point one configuration where the file does not say: `compare` itself would have several rows.
const ONE_EACH: [(&str, &str); 3] = [("scheme", "dedup"), ("gate", "unlimited"), ("latency", "preset")];

/// The flags of a comparison alone.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    spec: SpecArgs,
}

/// The keys, by the flags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys;

impl Keys {
    /// The comparison that flags give.
    fn spec(flags: &[String]) -> Result<CompareSpec, String> {
        let flags = Flags::try_parse_from(flags).map_err(|error| {
            let text = error.to_string();
            let problem = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            problem.split_whitespace().collect::<Vec<_>>().join(" ")
        })?;
        resolve::spec(&flags.spec, None).map_err(|error| format!("{error:#}"))
    }
}

/// The flag of a key with its value; none for a switch that is off.
fn flag(key: &str, value: &Value) -> Vec<String> {
    let name = key.replace('_', "-");
    let command = Flags::command();
    let switch = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(&name))
        .is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
    match value {
        Value::Flag(false) if switch => Vec::new(),
        Value::Flag(true) if switch => vec![format!("--{name}")],
        _ => vec![format!("--{name}"), value.to_string()],
    }
}

impl Options for Keys {
    fn keys(&self) -> Vec<String> {
        let command = Flags::command();
        let flags = command.get_arguments().filter_map(|argument| argument.get_long());
        let flags = flags.filter(|flag| !NO_KEYS.contains(flag) && !["help", "version"].contains(flag));
        flags.map(|flag| flag.replace('-', "_")).chain([PAYLOAD.to_owned()]).collect()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        if key == PAYLOAD {
            return payload(value).map(drop);
        }
        Self::spec(&flag(key, value)).map(drop)
    }
}

impl Resolver for Keys {
    fn resolve(
        &self,
        experiment: &Experiment,
        point: &Point,
        backends: &[BackendKind],
    ) -> Result<Resolved, String> {
        let settings = experiment.settings(point);
        let mut flags = flags_of(&settings);
        let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
        flags.extend(["--backend".to_owned(), names.join(",")]);
        flags.extend(["--seeds".to_owned(), point.seed.to_string()]);
        let mut spec = Self::spec(&flags)?;
        // Values cost time and memory: they are there where something needs them.
        let needed = backends.contains(&BackendKind::Quic) || matches!(spec.routing, RoutingSpec::Gate);
        spec.payload = settings.get(PAYLOAD).map_or(Ok(needed), payload)?;
        if !spec.payload {
            flags.push("--no-payload".to_owned());
        }
        let command = flags.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        Ok(Resolved {
            spec,
            with_base: settings.get(BASE).is_some(),
            command: format!("railyard compare {command}"),
        })
    }
}

/// The flags of settings, and those that make them one configuration.
fn flags_of(settings: &Settings) -> Vec<String> {
    let mut flags: Vec<String> = settings
        .0
        .iter()
        .filter(|(key, _)| key != PAYLOAD)
        .flat_map(|(key, value)| flag(key, value))
        .collect();
    for (key, value) in ONE_EACH {
        if settings.get(key).is_none() {
            flags.extend([format!("--{key}"), value.to_owned()]);
        }
    }
    flags
}

fn payload(value: &Value) -> Result<bool, String> {
    match value {
        Value::Flag(payload) => Ok(*payload),
        _ => Err(format!("`{value}`: give true or false")),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
