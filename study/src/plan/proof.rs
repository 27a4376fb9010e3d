//! The experiment file that proves a choice: all of its replicas, or both of its pools, served by remembered frames at the rate that they are to carry.

use super::layout::changed;
use super::{Ask, Choice, Part, Role};
use crate::scenario::Scenario;
use crate::serving::{CostChoice, Deployed, Parallel, Prefill, PrefillPool, ServeSpec, place_of};
use serving::TrainPolicy;
use serving::arrivals::{ArrivalKind, ArrivalSpec};
use toml::{Table, Value};

/// The name of a proof.
const NAME: &str = "plan";

/// Requests of a proof, at least and at most.
const REQUESTS: std::ops::RangeInclusive<u64> = 256..=20_000;

/// A name, and an experiment for `railyard serve-bench` that serves all of `choice`. Times are those of remembered frames.
#[must_use]
pub fn proof(ask: &Ask, choice: &Choice) -> (&'static str, String) {
    let rate = ask.load.rate.unwrap_or(choice.rate);
    let parts: Vec<String> = choice.parts.iter().map(told).collect();
    let spec = proof_spec(ask, choice);
    let text = format!(
        "# All of a plan, at {rate:.3} requests a second: {}.\n#\n#     railyard serve-bench {NAME}.toml\nname = \"{NAME}\"\n\n{}",
        parts.join("; "),
        toml::to_string(&tables(&spec)).unwrap_or_default()
    );
    (NAME, text)
}

/// `prefill: 2 of EP 8, dedup, 4096 tokens a step`.
fn told(part: &Part) -> String {
    format!("{}{} of {}", part.layout.role.prefix(), part.replicas, part.layout)
}

/// The run of all of `choice`.
pub(super) fn proof_spec(ask: &Ask, choice: &Choice) -> ServeSpec {
    let served =
        |part: &Part| part.trial.as_ref().map_or(0, |trial| trial.requests * u64::from(part.replicas));
    let requests = choice.parts.iter().map(served).max().unwrap_or(0);
    let requests = requests.clamp(*REQUESTS.start(), *REQUESTS.end());
    let rate = ask.load.rate.unwrap_or(choice.rate);
    let of = |part: &Part| {
        let seats = part.trial.as_ref().map_or(part.layout.step_tokens, |trial| trial.seats);
        let spec = part.layout.spec(ask, seats, ask.arrivals(rate, requests, false));
        let prefill = Prefill::Here;
        let serve =
            Deployed { prefill, cost: CostChoice::Memoised, replicas: part.replicas, ..spec.serve.clone() };
        ServeSpec { serve, ..spec }
    };
    let answers = choice.parts.iter().find(|part| part.layout.role != Role::Prefill).map(of);
    let prompts = choice.parts.iter().find(|part| part.layout.role == Role::Prefill).map(of);
    let prefill = prompts.map(|ServeSpec { serve, scenario, parallel, scheduler, .. }| {
        Box::new(PrefillPool { replicas: serve.replicas, scenario, parallel, scheduler })
    });
    ServeSpec { prefill, ..answers.expect("somebody answers") }
}

/// The tables of a file, with the words alone that are no defaults.
fn tables(spec: &ServeSpec) -> Table {
    let mut file = Table::new();
    let mut put = |place: String, value: Value| {
        if let Some((table, key)) = place.split_once('.') {
            let table = file.entry(table.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(table) = table {
                table.insert(key.to_owned(), value);
            }
        }
    };
    for (word, value) in changed(&spec.scenario, &Scenario::default()) {
        put(place_of(&word), one(value));
    }
    let parts = [
        ("serve", changed(&spec.serve, &Deployed::default())),
        ("parallel", changed(&spec.parallel, &Parallel::default())),
        ("scheduler", changed(&spec.scheduler, &TrainPolicy::default())),
        (
            "arrivals",
            changed(
                &spec.arrivals,
                &ArrivalSpec { request_rate: Some(0.0), ..ArrivalSpec::new(ArrivalKind::Burst) },
            ),
        ),
        ("slo", changed(&spec.slo, &serving::Slo::default())),
    ];
    for (table, words) in parts {
        for (key, value) in words {
            put(format!("{table}.{key}"), value);
        }
    }
    if let Some(pool) = spec.prefill.as_deref() {
        put("prefill.replicas".to_owned(), pool.replicas.into());
        let words = changed(&pool.scenario, &spec.scenario).into_iter();
        let words = words.chain(changed(&pool.parallel, &spec.parallel));
        for (key, value) in words.chain(changed(&pool.scheduler, &spec.scheduler)) {
            put(format!("prefill.{key}"), one(value));
        }
    }
    file
}

/// A word that has one value here.
fn one(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.remove(0),
        value => value,
    }
}
