//! The experiment files that prove a choice: one a part, served by frames at the rate that it is to carry.

use super::layout::changed;
use super::{Ask, Choice, Part, Role};
use crate::scenario::Scenario;
use crate::serving::{CostChoice, Deployed, Parallel, ServeSpec, place_of};
use serving::TrainPolicy;
use serving::arrivals::{ArrivalKind, ArrivalSpec};
use toml::{Table, Value};

/// Names of proofs: of whole replicas, of each pool.
pub const PROOFS: [&str; 3] = ["plan", "plan-prefill", "plan-decode"];

/// Requests of a proof, at least and at most.
const REQUESTS: std::ops::RangeInclusive<u64> = 256..=20_000;

/// A name and an experiment for `railyard serve-bench`, for each part of `choice`. Times are those of remembered frames.
#[must_use]
pub fn proofs(ask: &Ask, choice: &Choice) -> Vec<(&'static str, String)> {
    let of = |part: &Part| {
        let name = PROOFS[part.layout.role as usize];
        (name, experiment(name, ask, choice, part))
    };
    choice.parts.iter().map(of).collect()
}

fn experiment(name: &str, ask: &Ask, choice: &Choice, part: &Part) -> String {
    let trial = part.trial.as_ref();
    let rate = ask.load.rate.unwrap_or(choice.rate) / f64::from(part.replicas);
    let requests =
        trial.map_or(*REQUESTS.start(), |trial| trial.requests).clamp(*REQUESTS.start(), *REQUESTS.end());
    let seats = trial.map_or(part.layout.step_tokens, |trial| trial.seats);
    let arrivals = ask.arrivals(rate, requests, part.layout.role == Role::Prefill);
    let mut spec = part.layout.spec(ask, seats, arrivals);
    spec.serve.cost = CostChoice::Memoised;
    let what = match part.layout.role {
        Role::Whole => "One of the replicas",
        Role::Prefill => "One of the replicas that compute prompts",
        Role::Decode => "One of the replicas that compute answers",
    };
    format!(
        "# {what} of a plan, {} in all, at its share of {:.3} requests a second: {}.\n#\n#     railyard serve-bench {name}.toml\nname = \"{name}\"\n\n{}",
        part.replicas,
        ask.load.rate.unwrap_or(choice.rate),
        part.layout,
        toml::to_string(&tables(&spec)).unwrap_or_default()
    )
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
        let value = match value {
            // A word that has one value here.
            Value::Array(mut values) if values.len() == 1 => values.remove(0),
            value => value,
        };
        put(place_of(&word), value);
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
    file
}
