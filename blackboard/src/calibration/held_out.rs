//! Predictions of measurements that were left out, and of fits to halves: how far a profile can be trusted beyond its data.

use super::fit::fit_some;
use super::{CalibrationError, Layer, Measurement, Served};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use topology::Hardware;

/// Most parts of `fold:N`.
const FOLDS_MAX: u64 = 100;
/// Most values of `each:FIELD`, each of which is a fit.
const EACH_MAX: usize = 1_000;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Nodes,
    Ranks,
    Tokens,
    Experts,
    Sms,
    /// A line or cell by itself.
    Row,
}

impl Field {
    fn named(word: &str) -> Option<Self> {
        Some(match word.trim() {
            "nodes" => Self::Nodes,
            "ep" | "ranks" => Self::Ranks,
            "tokens" | "tokens_per_rank" => Self::Tokens,
            "experts" => Self::Experts,
            "sms" => Self::Sms,
            "row" => Self::Row,
            _ => return None,
        })
    }

    fn of(self, at: usize, measured: &Measurement) -> u32 {
        match self {
            Self::Nodes => measured.racks,
            Self::Ranks => measured.ranks,
            Self::Tokens => measured.tokens,
            Self::Experts => measured.experts,
            Self::Sms => measured.sms.unwrap_or(0),
            Self::Row => u32::try_from(at).unwrap_or(u32::MAX),
        }
    }

    /// Tokens of a server's run are those of a rank in a step.
    fn of_served(self, at: usize, run: &Served) -> u32 {
        match self {
            Self::Nodes => run.racks,
            Self::Ranks => run.ranks,
            Self::Tokens => run.load.round() as u32,
            Self::Experts => run.model.layer().num_experts,
            Self::Sms => 0,
            Self::Row => u32::try_from(at).unwrap_or(u32::MAX),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// `fold:N`: so many parts at random, each left out once.
    Folds(u64),
    /// `each:FIELD`: each value of a field left out once.
    Each(Field),
    AtLeast(Field, u32),
    AtMost(Field, u32),
    In(Field, BTreeSet<u32>),
}

/// Which measurements to leave out: `nodes>=4`, `ep<=2`, `tokens in 8,16`, `each:nodes`, `each:row`, `fold:5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOut {
    text: String,
    rule: Rule,
}

impl fmt::Display for HoldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for HoldOut {
    type Err = CalibrationError;

    fn from_str(text: &str) -> Result<Self, CalibrationError> {
        let refuse = || {
            CalibrationError::HoldOut {
            rule: text.to_owned(),
            problem: "give FIELD>=N, FIELD<=N, FIELD=N, FIELD in N,N, each:FIELD or fold:N; fields are nodes, ep, tokens, experts, sms, row"
                .to_owned(),
        }
        };
        let split = |by: &str| {
            let (field, values) = text.split_once(by)?;
            let values = values
                .split(',')
                .map(|value| value.trim().parse().ok())
                .collect::<Option<BTreeSet<u32>>>()?;
            Some((Field::named(field)?, values))
        };
        let one = |found: Option<(Field, BTreeSet<u32>)>| {
            found
                .filter(|(_, values)| values.len() == 1)
                .and_then(|(field, mut values)| Some((field, values.pop_first()?)))
        };
        let rule = if let Some(parts) = text.strip_prefix("fold:") {
            parts.parse().ok().filter(|parts| (2..=FOLDS_MAX).contains(parts)).map(Rule::Folds)
        } else if let Some(field) = text.strip_prefix("each:") {
            Field::named(field).map(Rule::Each)
        } else if text.contains(">=") {
            one(split(">=")).map(|(field, value)| Rule::AtLeast(field, value))
        } else if text.contains("<=") {
            one(split("<=")).map(|(field, value)| Rule::AtMost(field, value))
        } else {
            split(" in ").or_else(|| split("=")).map(|(field, values)| Rule::In(field, values))
        };
        Ok(Self { text: text.to_owned(), rule: rule.ok_or_else(refuse)? })
    }
}

impl HoldOut {
    /// For each part that is left out in turn: which of `rows` are in it.
    fn parts(
        &self,
        rows: usize,
        of: impl Fn(Field, usize) -> u32,
    ) -> Result<Vec<Vec<bool>>, CalibrationError> {
        let by = |out: &dyn Fn(usize) -> bool| (0..rows).map(out).collect::<Vec<bool>>();
        Ok(match &self.rule {
            Rule::Folds(parts) => (0..*parts).map(|part| by(&|at| scattered(at) % parts == part)).collect(),
            Rule::Each(field) => {
                let values: BTreeSet<u32> = (0..rows).map(|at| of(*field, at)).collect();
                if values.len() > EACH_MAX {
                    return Err(
                        self.refuse(&format!("{} values, each a fit; at most {EACH_MAX}", values.len()))
                    );
                }
                values.into_iter().map(|value| by(&|at| of(*field, at) == value)).collect()
            }
            Rule::AtLeast(field, least) => vec![by(&|at| of(*field, at) >= *least)],
            Rule::AtMost(field, most) => vec![by(&|at| of(*field, at) <= *most)],
            Rule::In(field, values) => vec![by(&|at| values.contains(&of(*field, at)))],
        })
    }

    /// For each part that is left out in turn: which server runs are in it. None leaves nothing.
    pub(super) fn parts_of_served(&self, runs: &[Served]) -> Result<Vec<Vec<bool>>, CalibrationError> {
        let parts = self.parts(runs.len(), |field, at| field.of_served(at, &runs[at]))?;
        match parts.iter().any(|out| out.iter().all(|out| *out)) {
            true => Err(self.refuse("leaves no server run to fit")),
            false => Ok(parts),
        }
    }

    /// Refuses a rule by which nothing was left out.
    pub(super) fn left_something(&self, rows: usize) -> Result<(), CalibrationError> {
        if rows == 0 { Err(self.refuse("leaves nothing out")) } else { Ok(()) }
    }

    fn refuse(&self, problem: &str) -> CalibrationError {
        CalibrationError::HoldOut { rule: self.text.clone(), problem: problem.to_owned() }
    }
}

/// A number that depends on `at` alone and looks random (splitmix64).
fn scattered(at: usize) -> u64 {
    let mut mixed = (at as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Fits what `rule` leaves, part by part, and predicts what it left out: (measurement, `predicted / measured - 1`), and how many of those left
/// out nothing could be said about, since no other of their column remained.
///
/// # Errors
/// [`CalibrationError::HoldOut`] where a rule leaves all or nothing out; as [`Layer::load`].
pub fn held_out(
    measurements: &[Measurement],
    layer: &Layer,
    nominal: &Hardware,
    rule: &HoldOut,
) -> Result<(Vec<(Measurement, f64)>, usize), CalibrationError> {
    let (mut found, mut unsaid) = (Vec::new(), 0);
    for out in rule.parts(measurements.len(), |field, at| field.of(at, &measurements[at]))? {
        let of = |wanted: bool| -> Vec<Measurement> {
            measurements
                .iter()
                .zip(&out)
                .filter(|(_, out)| **out == wanted)
                .map(|(measured, _)| measured.clone())
                .collect()
        };
        let (kept, left_out) = (of(false), of(true));
        if kept.is_empty() {
            return Err(rule.refuse("leaves no measurement to fit"));
        }
        let fitted = fit_some(&kept, layer, nominal)?;
        for measured in left_out {
            match fitted.predict(&measured, layer)? {
                Some(us) => {
                    let error = us / measured.us - 1.0;
                    found.push((measured, error));
                }
                None => unsaid += 1,
            }
        }
    }
    rule.left_something(found.len() + unsaid)?;
    Ok((found, unsaid))
}

/// Fits two random halves: how far apart their predictions of all measurements are, `|a / b - 1|`, those that both make.
///
/// # Errors
/// As [`Layer::load`].
pub fn refitted_on_halves(
    measurements: &[Measurement],
    layer: &Layer,
    nominal: &Hardware,
) -> Result<Vec<f64>, CalibrationError> {
    let half = |wanted: u64| {
        let half = measurements.iter().enumerate().filter(|(at, _)| scattered(*at) % 2 == wanted);
        fit_some(&half.map(|(_, measured)| measured.clone()).collect::<Vec<_>>(), layer, nominal)
    };
    let (a, b) = (half(0)?, half(1)?);
    let mut apart = Vec::new();
    for measured in measurements {
        if let (Some(a), Some(b)) = (a.predict(measured, layer)?, b.predict(measured, layer)?) {
            apart.push(a / b - 1.0);
        }
    }
    Ok(apart)
}
