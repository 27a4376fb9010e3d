//! The layer: settings are the flags of `railyard compare`, read by the same parser.
//!
//! A key is a flag's name with `_` for `-`, and a flag that is added there is a key here. Some flags are not for points: seeds and
//! backends have words of their own, and how much memory there is says the machine.

use crate::options::SpecArgs;
use crate::resolve;
use clap::{ArgAction, CommandFactory, Parser};
use moe::RoutingSpec;
use study::experiment::{Asked, Column, Fault, Resolved, Settings, Subject, Value, quoted};
use study::layer::{BackendKind, CompareSpec};
use study::subjects::layer::{COLUMNS, WORDS, resolved};

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

/// Comparisons of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers;

impl Layers {
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

impl Subject for Layers {
    fn name(&self) -> &'static str {
        "layer"
    }

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

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Analytic, BackendKind::Sim]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let Asked { settings, seed, backends, .. } = asked;
        let mut flags = flags_of(settings);
        let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
        flags.extend(["--backend".to_owned(), names.join(",")]);
        flags.extend(["--seeds".to_owned(), seed.to_string()]);
        let mut spec = Self::spec(&flags)?;
        // Values cost time and memory: they are there where something needs them.
        let needed = backends.contains(&BackendKind::Quic) || matches!(spec.routing, RoutingSpec::Gate);
        spec.payload = settings.get(PAYLOAD).map_or(Ok(needed), payload)?;
        if !spec.payload {
            flags.push("--no-payload".to_owned());
        }
        let command = flags.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        resolved(spec, settings.get(BASE).is_some(), format!("railyard compare {command}"))
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        &WORDS
    }
}

/// The flags of settings, and those that make them one configuration.
fn flags_of(settings: &Settings) -> Vec<String> {
    // What is swept takes the place of what is fixed.
    let counts = |at: usize, key: &str| settings.0[at + 1..].iter().all(|(later, _)| later != key);
    let mut flags: Vec<String> = settings
        .0
        .iter()
        .enumerate()
        .filter(|(at, (key, _))| key != PAYLOAD && counts(*at, key))
        .flat_map(|(_, (key, value))| flag(key, value))
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
