//! One input of a deployment over a range: `batch=1..8192`, `batch=1..8192*2`, `context=0..1e6:1e5`, `ranks=8,64,72`.

use super::{Deployment, Estimate};
use crate::BlackboardError;
use crate::units::{DollarsPerS, Tokens};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use topology::did_you_mean;

/// The input that a sweep varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Sequences in flight.
    Batch,
    /// Tokens of context a sequence.
    Context,
    /// Ranks in all.
    Ranks,
    /// Racks in all.
    Racks,
    /// Pipeline stages.
    Stages,
    /// Micro-batches in flight.
    MicroBatches,
    /// Tokens a rank sends in one all-to-all.
    TokensPerRank,
    /// US dollars of a rank and hour.
    Price,
}

impl Axis {
    /// Every axis, in the order of `--help`.
    pub const ALL: [Self; 8] = [
        Self::Batch,
        Self::Context,
        Self::Ranks,
        Self::Racks,
        Self::Stages,
        Self::MicroBatches,
        Self::TokensPerRank,
        Self::Price,
    ];

    /// The name, as the flag of the same input.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Context => "context",
            Self::Ranks => "ranks",
            Self::Racks => "racks",
            Self::Stages => "pp",
            Self::MicroBatches => "micro-batches",
            Self::TokensPerRank => "tokens-per-rank",
            Self::Price => "price",
        }
    }

    const fn is_count(self) -> bool {
        matches!(self, Self::Ranks | Self::Racks | Self::Stages | Self::MicroBatches)
    }

    fn set(self, deployment: &mut Deployment, value: f64) {
        // Counts were checked to be whole and in range when the sweep was read.
        let count = value as u32;
        match self {
            Self::Batch => deployment.batch = Tokens(value),
            Self::Context => deployment.context = Tokens(value),
            Self::Ranks => deployment.ranks = count,
            Self::Racks => deployment.racks = Some(count),
            Self::Stages => deployment.stages = count,
            Self::MicroBatches => deployment.micro_batches = Some(count),
            Self::TokensPerRank => deployment.tokens_per_rank = Some(Tokens(value)),
            Self::Price => deployment.price = DollarsPerS::per_hour(value),
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Most points of one sweep.
const POINTS_MAX: usize = 100_000;

/// An axis and its values, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Setting that is varied.
    pub axis: Axis,
    /// Its values, in the order of the points.
    pub values: Vec<f64>,
}

/// A range that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}`: {problem}; give NAME=A..B, NAME=A..B:STEP, NAME=A..B*FACTOR or NAME=A,B,C, as in batch=1..8192*2"
)]
pub struct SweepError {
    text: String,
    problem: String,
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let wrong = |problem: String| SweepError { text: text.chars().take(80).collect(), problem };
        let (name, range) = text.split_once('=').ok_or_else(|| wrong("no `=`".to_owned()))?;
        let named = |axis: &Axis| axis.name() == name.trim().replace('_', "-");
        let axis = Axis::ALL.into_iter().find(named).ok_or_else(|| {
            let names = Axis::ALL.map(Axis::name);
            let hint = did_you_mean(name, names);
            wrong(format!("no input is called `{name}`{hint}; there are {}", names.join(", ")))
        })?;
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(wrong(format!("`{text}` is no number"))),
        };
        let values = match range.split_once("..") {
            None => range.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
            Some((from, rest)) => {
                let from = number(from)?;
                if let Some((to, factor)) = rest.split_once('*') {
                    geometric(from, number(to)?, number(factor)?)
                } else if let Some((to, step)) = rest.split_once(':') {
                    arithmetic(from, number(to)?, number(step)?)
                } else {
                    arithmetic(from, number(rest)?, 1.0)
                }
                .map_err(wrong)?
            }
        };
        if axis.is_count()
            && let Some(value) =
                values.iter().find(|value| value.fract() != 0.0 || !(1.0..=1e9).contains(*value))
        {
            return Err(wrong(format!("{axis} = {value} is no whole number of at least 1")));
        }
        Ok(Self { axis, values })
    }
}

fn arithmetic(from: f64, to: f64, step: f64) -> Result<Vec<f64>, String> {
    if step <= 0.0 || to < from {
        return Err("the range goes nowhere".to_owned());
    }
    let points = ((to - from) / step + 1e-9).floor() + 1.0;
    if points > POINTS_MAX as f64 {
        return Err(format!("{points} points are more than {POINTS_MAX}"));
    }
    Ok((0..points as usize).map(|point| from + point as f64 * step).collect())
}

fn geometric(from: f64, to: f64, factor: f64) -> Result<Vec<f64>, String> {
    if factor <= 1.0 || from <= 0.0 || to < from {
        return Err("the range goes nowhere: a factor needs to be above 1 and a start above 0".to_owned());
    }
    let points = ((to / from).ln() / factor.ln() + 1e-9).floor() + 1.0;
    if points > POINTS_MAX as f64 {
        return Err(format!("{points} points are more than {POINTS_MAX}"));
    }
    Ok((0..points as i32).map(|point| from * factor.powi(point)).collect())
}

impl Sweep {
    /// The estimate at each value.
    ///
    /// # Errors
    /// As [`Deployment::estimate`], at the first value that is impossible.
    pub fn run(&self, deployment: &Deployment) -> Result<Vec<Estimate>, BlackboardError> {
        let mut point = deployment.clone();
        self.values
            .iter()
            .map(|&value| {
                self.axis.set(&mut point, value);
                point.estimate()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let values = |text: &str| text.parse::<Sweep>().expect(text).values;
        assert_eq!(values("batch=1..4"), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(values("batch=1..8*2"), [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(values("context=0..1e6:5e5"), [0.0, 5e5, 1e6]);
        assert_eq!(values("price=2,3.5"), [2.0, 3.5]);
        assert_eq!("micro_batches=1".parse::<Sweep>().expect("either hyphen").axis, Axis::MicroBatches);
        assert_eq!(values("batch=1..10000").len(), 10_000);
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_form() {
        for (text, problem) in [
            ("batch", "no `=`"),
            ("bath=1..2", "no input is called `bath`"),
            ("batch=1..x", "`x` is no number"),
            ("batch=5..1", "goes nowhere"),
            ("batch=1..2:0", "goes nowhere"),
            ("batch=0..8*2", "goes nowhere"),
            ("batch=1..1e9", "points are more than"),
            ("ranks=1.5,2", "is no whole number"),
            ("ranks=0..2", "ranks = 0 is no whole number"),
            ("batch=1,inf", "`inf` is no number"),
        ] {
            let error = text.parse::<Sweep>().expect_err(text).to_string();
            assert!(error.contains(problem) && error.contains("batch=1..8192*2"), "{error}");
        }
    }
}
