//! The layer: settings are the flags of `railyard compare`, read by the same parser.
//!
//! Some flags are not for points: seeds and backends have words of their own, and how much memory there is says the machine.

use crate::programs::programs;
use moe::RoutingSpec;
use study::experiment::{Asked, Column, Fault, Ordered, Resolved, Settings, Subject, Value};
use study::layer::{BackendKind, CompareSpec, LayerArgs};
use study::scenario::{command, flags, keys, read};
use study::subjects::layer::{COLUMNS, WORDS, resolved};

/// Flags that no key stands for.
const NO_KEYS: [&str; 4] = ["backend", "seeds", "no-payload", "memory-limit"];
/// Whether rows have values; `--no-payload` the other way round.
const PAYLOAD: &str = "payload";
/// A point's own row is compared with a base only where this key stands.
const BASE: &str = "base";
/// What makes a point one configuration where the file does not say: `compare` itself would have several rows.
const ONE_EACH: [(&str, &str); 3] = [("scheme", "dedup"), ("gate", "unlimited"), ("latency", "preset")];

/// Comparisons of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers;

impl Layers {
    /// The comparison that flags give.
    fn spec(flags: &[String]) -> Result<CompareSpec, String> {
        let programs = programs().map_err(|error| format!("{error:#}"))?;
        read::<LayerArgs>(flags)?.spec(programs).map_err(|error| error.to_string())
    }
}

impl Subject for Layers {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn keys(&self) -> Vec<String> {
        keys::<LayerArgs>(&NO_KEYS).into_iter().chain([PAYLOAD.to_owned()]).collect()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        if key == PAYLOAD {
            return payload(value).map(drop);
        }
        let alone: Settings = Ordered(vec![(key.to_owned(), value.clone())]);
        Self::spec(&flags::<LayerArgs>(&alone, |_| false)).map(drop)
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Analytic, BackendKind::Sim]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let (spec, flags) = point(&asked)?;
        let command = command(&[vec!["compare".to_owned()], flags].concat());
        resolved(spec, asked.settings.get(BASE).is_some(), command)
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        &WORDS
    }
}

/// The comparison of one configuration that settings give, and the flags that say the same.
pub(super) fn point(asked: &Asked<'_>) -> Result<(CompareSpec, Vec<String>), Fault> {
    let Asked { settings, seed, backends, .. } = *asked;
    let mut flags = flags_of(settings);
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    flags.extend(["--backend".to_owned(), names.join(",")]);
    flags.extend(["--seeds".to_owned(), seed.to_string()]);
    let mut spec = Layers::spec(&flags)?;
    // Values cost time and memory: they are there where something needs them.
    let needed = backends.contains(&BackendKind::Quic) || matches!(spec.routing, RoutingSpec::Gate);
    spec.payload = settings.get(PAYLOAD).map_or(Ok(needed), payload)?;
    if !spec.payload {
        flags.push("--no-payload".to_owned());
    }
    Ok((spec, flags))
}

/// The flags of settings, and those that make them one configuration.
fn flags_of(settings: &Settings) -> Vec<String> {
    let mut flags = flags::<LayerArgs>(settings, |key| key == PAYLOAD);
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

#[cfg(test)]
mod tests {
    use super::*;
    use study::experiment::parse_experiment;

    fn read(text: &str) -> Result<Settings, String> {
        let read = parse_experiment(text, "faults.toml", &[&Layers]);
        read.map(|(_, experiment)| experiment.fixed).map_err(|error| error.to_string())
    }

    #[test]
    fn tables_of_faults_are_the_flags_of_compare() {
        let fixed = read(
            "[experiment]\nbackend = 'sim'\n[[fault]]\nwhat = 'kill'\nrank = 3\nstep = 2\nat_us = 1.5\n[[fault]]\nwhat = 'cut'\nfrom = 0\nto = 5\nboth = true\nfor_us = 20\n",
        )
        .expect("sound");
        let flags = flags_of(&fixed);
        let given: Vec<&str> =
            flags.windows(2).filter(|pair| pair[0] == "--fault").map(|pair| pair[1].as_str()).collect();
        assert_eq!(given, ["kill rank=3 step=2 at_us=1.5", "cut from=0 to=5 both=true for_us=20"]);
        assert_eq!(
            Layers::spec(&[flags, vec!["--backend=sim".to_owned()]].concat()).expect("sound").faults.len(),
            2
        );
    }

    #[test]
    fn a_wrong_fault_is_told_with_line_key_and_nearest_word() {
        for (text, says) in [
            ("[[fault]]\nwhat = 'kil'\nrank = 1", "faults.toml:2: fault: what: `kil`, did you mean `kill`?"),
            ("[[fault]]\nwhat = 'kill'\nrnak = 1", "faults.toml:3: unknown key `rnak`, did you mean `rank`?"),
            (
                "[[fault]]\nwhat = 'slow'\nrank = 1\nfactor = 0.5",
                "faults.toml:4: fault: factor: `0.5`: give a number from 1",
            ),
            ("[[fault]]\nwhat = 'kill'", "faults.toml:1: fault: whose? give `rank` or `rack`"),
            ("fault = 3", "faults.toml:1: fault: give tables, [[fault]]"),
            ("[experiment]\nfault = ['drop']\n[[fault]]\nwhat = 'drop'", "`fault` is given twice"),
            ("[[fautl]]\nwhat = 'drop'", "unknown key `fautl`, did you mean `fault`?"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
