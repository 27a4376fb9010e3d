//! The words by which routing is chosen: `model`, `uniform`, `gate`, `zipf:S`, `workload:W3`, `trace:FILE` and so on.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{RoutingSpec, Workload};
use topology::did_you_mean;

/// Steps in which the order of experts of `drifting:S` changes, where no number is given.
pub const DEFAULT_DRIFT_PERIOD: u32 = 64;

/// The first word of each.
const WORDS: [&str; 10] =
    ["model", "uniform", "gate", "zipf", "log-normal", "power-law", "drifting", "workload", "loads", "trace"];

/// Where routing is to come from, before a trace is read and the number of ranks is known.
#[derive(Clone, Debug, PartialEq)]
pub enum RoutingChoice {
    /// A routing that needs neither a file nor the cluster.
    Spec(RoutingSpec),
    /// One of the named workloads.
    Workload(Workload),
    /// The file of recorded loads.
    Loads(PathBuf),
    /// The file of a recorded trace.
    Trace(PathBuf),
}

impl RoutingChoice {
    /// The source of routing on `ranks` ranks; `None` for loads and traces, which are to be read.
    #[must_use]
    pub fn spec(&self, ranks: u32) -> Option<RoutingSpec> {
        match self {
            Self::Spec(spec) => Some(spec.clone()),
            &Self::Workload(workload) => Some(RoutingSpec::Workload { workload, ranks }),
            Self::Loads(_) | Self::Trace(_) => None,
        }
    }
}

impl Default for RoutingChoice {
    fn default() -> Self {
        Self::Spec(RoutingSpec::Model)
    }
}

/// As parsed; also with the number of steps that `drifting:S` leaves out.
impl fmt::Display for RoutingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(RoutingSpec::Gate) => f.write_str("gate"),
            Self::Spec(RoutingSpec::Uniform) => f.write_str("uniform"),
            Self::Spec(RoutingSpec::Model) => f.write_str("model"),
            Self::Spec(RoutingSpec::Zipf { exponent }) => write!(f, "zipf:{exponent}"),
            Self::Spec(RoutingSpec::LogNormal { sigma }) => write!(f, "log-normal:{sigma}"),
            Self::Spec(RoutingSpec::PowerLaw { alpha }) => write!(f, "power-law:{alpha}"),
            Self::Spec(RoutingSpec::Drifting { exponent, period }) => {
                write!(f, "drifting:{exponent},{period}")
            }
            Self::Spec(RoutingSpec::Workload { workload, .. }) | Self::Workload(workload) => {
                write!(f, "workload:{workload}")
            }
            Self::Spec(RoutingSpec::Rows(_)) => f.write_str("trace"),
            Self::Spec(RoutingSpec::Loads(_)) => f.write_str("loads"),
            Self::Loads(path) => write!(f, "loads:{}", path.display()),
            Self::Trace(path) => write!(f, "trace:{}", path.display()),
        }
    }
}

topology::serde_as_text!(RoutingChoice);

impl FromStr for RoutingChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
        let spec = match text.split_once(':') {
            None if text == "uniform" => RoutingSpec::Uniform,
            None if text == "model" => RoutingSpec::Model,
            None if text == "gate" => RoutingSpec::Gate,
            Some(("zipf", exponent)) => RoutingSpec::Zipf { exponent: number(exponent)? },
            Some(("log-normal", sigma)) => RoutingSpec::LogNormal { sigma: number(sigma)? },
            Some(("power-law", alpha)) => RoutingSpec::PowerLaw { alpha: number(alpha)? },
            Some(("drifting", rest)) => {
                let (exponent, period) = match rest.split_once(',') {
                    None => (rest, DEFAULT_DRIFT_PERIOD),
                    Some((exponent, steps)) => {
                        let steps = steps.parse().map_err(|_| {
                            format!("`{steps}` is not a number of steps; give drifting:S,STEPS")
                        })?;
                        (exponent, steps)
                    }
                };
                RoutingSpec::Drifting { exponent: number(exponent)?, period }
            }
            Some(("workload", name)) => return name.parse().map(Self::Workload),
            Some(("loads", file)) if !file.is_empty() => return Ok(Self::Loads(file.into())),
            Some(("trace", file)) if !file.is_empty() => return Ok(Self::Trace(file.into())),
            _ => {
                let hint = did_you_mean(text.split(':').next().unwrap_or(text), WORDS);
                return Err(format!(
                    "`{text}`{hint}: give model, uniform, gate, zipf:S, log-normal:S, power-law:A, drifting:S,STEPS, \
                     workload:W0 to workload:W7, loads:FILE or trace:FILE"
                ));
            }
        };
        Ok(Self::Spec(spec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_and_written_alike() {
        for text in [
            "model",
            "uniform",
            "gate",
            "zipf:1.2",
            "log-normal:0.5",
            "power-law:1.5",
            "drifting:1,32",
            "workload:W0",
            "workload:W7",
            "loads:a:b",
            "trace:a:b",
        ] {
            assert_eq!(text.parse::<RoutingChoice>().unwrap().to_string(), text);
        }
        assert_eq!("workload:w2".parse(), Ok(RoutingChoice::Workload(Workload::W2)));
        assert_eq!("drifting:1".parse::<RoutingChoice>().unwrap().to_string(), "drifting:1,64");
    }

    #[test]
    fn what_is_no_routing_is_told_what_is() {
        for (text, said) in [
            ("", "give model"),
            ("zipf", "give model"),
            ("zipf:x", "`x` is not a number"),
            ("trace:", "loads:FILE or trace:FILE"),
            ("drifting:1,x", "drifting:S,STEPS"),
            ("workload:W8", "W2 (hot rank)"),
        ] {
            let error = text.parse::<RoutingChoice>().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_workload_is_made_for_a_number_of_ranks() {
        let workload = RoutingSpec::Workload { workload: Workload::W2, ranks: 16 };
        assert_eq!(RoutingChoice::Workload(Workload::W2).spec(16), Some(workload));
        assert_eq!(RoutingChoice::Trace("x".into()).spec(16), None);
    }
}
