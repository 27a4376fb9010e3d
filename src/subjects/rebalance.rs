//! Rebalancing: the settings of a layer, and when its placement is made anew.

use super::layer::{self, Layers};
use study::experiment::{Asked, Column, Fault, Ordered, Resolved, Settings, Subject, Value};
use study::layer::BackendKind;
use study::rebalance::Phase;
use study::subjects::rebalance::{COLUMNS, Schedule, WORDS, resolved};
use topology::{MAX_RANKS, RankId};

/// What a layer alone has: one placement has one gate limit, steps take the place of rounds, and `alive` that of faults.
const LAYERS_OWN: [&str; 6] = ["base", "gate", "rounds", "warmup", "dilation", "fault"];
/// Keys of its own.
const KEYS: [&str; 5] = ["steps", "interval", "window", "alive", "detect_ms"];
const STEPS: u32 = 64;
const WINDOW: u32 = 8;
/// As long as a coordinator with default limits waits for a node that is silent.
const DETECT_MS: u32 = 1000;
/// Most phases.
const PHASES_MAX: usize = 1000;

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
            "detect_ms" => milliseconds(value).map(drop),
            "alive" => phases(value).map(drop),
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
        let own = Own(own);
        let alive = own.read("alive", phases)?.unwrap_or_default();
        let detect_ms = own.read("detect_ms", milliseconds)?;
        if detect_ms.is_some() && alive.is_empty() {
            let remedy = "nobody dies here; say who, as in alive = [[0, 1, -2, 3]], or leave it out";
            return Err(Fault::of("detect_ms", remedy.to_owned()));
        }
        let schedule = Schedule {
            steps: own.read("steps", count)?.unwrap_or(STEPS),
            interval: own.read("interval", interval)?.flatten(),
            window: own.read("window", count)?.unwrap_or(WINDOW),
            alive,
            detect_ms: detect_ms.unwrap_or(DETECT_MS),
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

/// The settings that a layer hasn't.
struct Own(Settings);

impl Own {
    fn read<T>(&self, key: &str, read: fn(&Value) -> Result<T, String>) -> Result<Option<T>, Fault> {
        self.0.get(key).map(read).transpose().map_err(|problem| Fault::of(key, problem))
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

fn milliseconds(value: &Value) -> Result<u32, String> {
    match value {
        Value::Integer(0) => Ok(0),
        _ => count(value).map_err(|_| format!("`{value}`: give whole milliseconds, 0 or more")),
    }
}

/// `[[0, 1], ["0-3", -2]]`: the ranks of each phase, some in ranges, and a minus for one that dies in its middle. Rank 0 dies as `"-0"`: to
/// TOML, -0 is 0.
fn phases(value: &Value) -> Result<Vec<Phase>, String> {
    let form = || {
        format!(
            "`{value}`: give a list of ranks for each phase, such as [[0, 1, 2, 3], [0, 1, -2, 3], [\"0-1\", 3]]"
        )
    };
    let Value::List(lists) = value else { return Err(form()) };
    if lists.is_empty() || lists.len() > PHASES_MAX {
        return Err(format!("{} phases: give 1 to {PHASES_MAX}", lists.len()));
    }
    let mut phases = Vec::with_capacity(lists.len());
    for list in lists {
        let Value::List(entries) = list else { return Err(form()) };
        let mut phase = Phase::default();
        for entry in entries {
            let text = entry.to_string();
            let number = |text: &str| text.parse::<u32>().map_err(|_| form());
            let (first, last, dies) = match (text.strip_prefix('-'), text.split_once('-')) {
                (Some(rank), _) => (number(rank)?, number(rank)?, true),
                (None, Some((first, last))) => (number(first)?, number(last)?, false),
                (None, None) => (number(&text)?, number(&text)?, false),
            };
            if last < first || last >= MAX_RANKS {
                return Err(format!(
                    "`{text}`: give ranks from 0 to {}, the smaller one first",
                    MAX_RANKS - 1
                ));
            }
            phase.ranks.extend((first..=last).map(RankId));
            phase.dying.extend(dies.then_some(RankId(first)));
        }
        phases.push(phase);
    }
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: Vec<Value>) -> Value {
        Value::List(values)
    }

    #[test]
    fn a_minus_is_a_rank_that_dies() {
        let ranks = |numbers: &[i64]| list(numbers.iter().map(|&rank| Value::Integer(rank)).collect());
        let [both, third] =
            [phases(&list(vec![ranks(&[0, 1]), ranks(&[0, 1, -2, 3])])), phases(&ranks(&[0, 1]))];
        let both = both.unwrap();
        assert!(both[0].dying.is_empty() && both[0].ranks.len() == 2);
        assert_eq!(both[1].dying.iter().map(|rank| rank.0).collect::<Vec<_>>(), [2]);
        assert!(third.unwrap_err().contains("a list of ranks for each phase"));
        let zero = list(vec![list(vec![Value::Text("-0".to_owned()), Value::Integer(1), Value::Integer(2)])]);
        assert_eq!(phases(&zero).unwrap()[0].dying.len(), 1);
        let range = |text: &str| list(vec![list(vec![Value::Text(text.to_owned()), Value::Integer(-1)])]);
        let phase = phases(&range("0-3")).unwrap().remove(0);
        assert_eq!((phase.ranks.len(), phase.dying.len()), (4, 1));
        for wrong in ["3-0", "0-65536", "0-", "a", "--1"] {
            assert!(phases(&range(wrong)).is_err(), "{wrong}");
        }
    }
}
