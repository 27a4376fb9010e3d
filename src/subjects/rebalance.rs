//! Rebalancing: the settings of a layer, and when its placement is made anew.

use super::layer::{self, Layers};
use study::experiment::{Asked, Column, Fault, Ordered, Resolved, Settings, Subject, Value};
use study::layer::BackendKind;
use study::subjects::rebalance::{COLUMNS, Schedule, WORDS, resolved};

/// What a layer alone has: one placement has one gate limit, and steps take the place of rounds.
const LAYERS_OWN: [&str; 5] = ["base", "gate", "rounds", "warmup", "dilation"];
/// Keys of its own.
const KEYS: [&str; 3] = ["steps", "interval", "window"];
const STEPS: u32 = 64;
const WINDOW: u32 = 8;

/// Layers that are rebalanced while they run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rebalances;

impl Subject for Rebalances {
    fn name(&self) -> &'static str {
        "rebalance"
    }

    fn keys(&self) -> Vec<String> {
        let of_layer = Layers.keys().into_iter().filter(|key| !LAYERS_OWN.contains(&key.as_str()));
        of_layer.chain(KEYS.map(str::to_owned)).collect()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "interval" => interval(value).map(drop),
            "steps" | "window" => count(value).map(drop),
            _ => Layers.check(key, value),
        }
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Sim]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let (own, of_layer): (Vec<_>, Vec<_>) =
            asked.settings.0.iter().cloned().partition(|(key, _)| KEYS.contains(&key.as_str()));
        let (own, of_layer): (Settings, Settings) = (Ordered(own), Ordered(of_layer));
        let given = |key: &str, default| {
            own.get(key).map_or(Ok(default), count).map_err(|problem| Fault::of(key, problem))
        };
        let interval = own.get("interval").map_or(Ok(None), interval);
        let schedule = Schedule {
            steps: given("steps", STEPS)?,
            interval: interval.map_err(|problem| Fault::of("interval", problem))?,
            window: given("window", WINDOW)?,
        };
        let (spec, _) = layer::point(&Asked { settings: &of_layer, ..asked })?;
        resolved(spec, schedule, asked.repeated("run", "seeds"))
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        static ALL: std::sync::LazyLock<Vec<Column>> =
            std::sync::LazyLock::new(|| [WORDS.as_slice(), &study::subjects::layer::WORDS].concat());
        &ALL
    }
}

fn count(value: &Value) -> Result<u32, String> {
    match value {
        Value::Integer(count) if *count > 0 => {
            u32::try_from(*count).map_err(|_| format!("{value}: give less"))
        }
        _ => Err(format!("`{value}`: give a whole number above 0")),
    }
}

/// `never`, or so many steps.
fn interval(value: &Value) -> Result<Option<u32>, String> {
    match value {
        Value::Text(word) if word == "never" => Ok(None),
        _ => count(value).map(Some).map_err(|problem| format!("{problem}, or never")),
    }
}
