//! Predictions of measurements that were left out, and of fits to halves: how far a profile can be trusted beyond its data.

use super::fit::fit_some;
use super::{CalibrationError, Layer, Measurement};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use topology::Hardware;

/// Most parts of `fold:N`.
const FOLDS_MAX: u64 = 100;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Nodes,
    Ranks,
    Tokens,
    Experts,
    Sms,
}

impl Field {
    fn named(word: &str) -> Option<Self> {
        Some(match word.trim() {
            "nodes" => Self::Nodes,
            "ep" | "ranks" => Self::Ranks,
            "tokens" | "tokens_per_rank" => Self::Tokens,
            "experts" => Self::Experts,
            "sms" => Self::Sms,
            _ => return None,
        })
    }

    fn of(self, measured: &Measurement) -> u32 {
        match self {
            Self::Nodes => measured.racks,
            Self::Ranks => measured.ranks,
            Self::Tokens => measured.tokens,
            Self::Experts => measured.experts,
            Self::Sms => measured.sms.unwrap_or(0),
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

/// Which measurements to leave out: `nodes>=4`, `ep<=2`, `tokens in 8,16`, `each:nodes`, `fold:5`.
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
            problem: "give FIELD>=N, FIELD<=N, FIELD=N, FIELD in N,N, each:FIELD or fold:N; fields are nodes, ep, tokens, experts, sms"
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
    /// For each part that is left out in turn: which measurements are in it.
    fn parts(&self, measurements: &[Measurement]) -> Vec<Vec<bool>> {
        let by = |out: &dyn Fn(usize, &Measurement) -> bool| {
            measurements.iter().enumerate().map(|(at, measured)| out(at, measured)).collect::<Vec<bool>>()
        };
        match &self.rule {
            Rule::Folds(parts) => {
                (0..*parts).map(|part| by(&|at, _| scattered(at) % parts == part)).collect()
            }
            Rule::Each(field) => {
                let values: BTreeSet<u32> = measurements.iter().map(|measured| field.of(measured)).collect();
                values.into_iter().map(|value| by(&|_, measured| field.of(measured) == value)).collect()
            }
            Rule::AtLeast(field, least) => vec![by(&|_, measured| field.of(measured) >= *least)],
            Rule::AtMost(field, most) => vec![by(&|_, measured| field.of(measured) <= *most)],
            Rule::In(field, values) => vec![by(&|_, measured| values.contains(&field.of(measured)))],
        }
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
    let refuse =
        |problem: &str| CalibrationError::HoldOut { rule: rule.text.clone(), problem: problem.to_owned() };
    let (mut found, mut unsaid) = (Vec::new(), 0);
    for out in rule.parts(measurements) {
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
            return Err(refuse("leaves no measurement to fit"));
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
    if found.is_empty() && unsaid == 0 {
        return Err(refuse("leaves nothing out"));
    }
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
