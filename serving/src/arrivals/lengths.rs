//! How long prompts and answers are: all alike, evenly spread, or log-normal between bounds.

use std::fmt;

use rand::RngExt;
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::{missing, setting, within};
use super::{ArrivalError, MAX_TOKENS};

/// A length as an experiment gives it: `1024`, or a table with a `dist`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LengthSpec {
    /// All have this many tokens.
    Fixed(u32),
    /// One length a request, drawn from a distribution.
    Drawn(LengthTable),
}

/// A distribution of lengths in tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "dist", rename_all = "lowercase", deny_unknown_fields)]
pub enum LengthTable {
    /// Every whole number from `min` to `max`, both included, as often.
    Uniform {
        /// Fewest tokens, at least 1.
        min: u32,
        /// Most tokens, `min` or more.
        max: u32,
    },
    /// `exp(mu + sigma z)`, z standard normal, rounded and then clipped to `min..max`.
    LogNormal {
        /// `exp(mu)`; give this or the mean.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        median: Option<f64>,
        /// `exp(mu + sigma^2 / 2)`: the mean before it is clipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mean: Option<f64>,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Shortest; 1 if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<u32>,
        /// Most tokens; longer draws are cut to it.
        max: u32,
    },
}

impl<'de> Deserialize<'de> for LengthSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LengthVisitor)
    }
}

/// Written out since an untagged enum couldn't say which key of the table is wrong.
struct LengthVisitor;

impl<'de> Visitor<'de> for LengthVisitor {
    type Value = LengthSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens, or a table with dist = \"uniform\" or \"lognormal\"")
    }

    fn visit_u64<E: Error>(self, tokens: u64) -> Result<LengthSpec, E> {
        // Too many for 32 bits are too many for `Lengths::new`, which knows the setting's name.
        Ok(LengthSpec::Fixed(tokens.try_into().unwrap_or(u32::MAX)))
    }

    fn visit_i64<E: Error>(self, tokens: i64) -> Result<LengthSpec, E> {
        let tokens = u64::try_from(tokens);
        self.visit_u64(tokens.map_err(|_| E::custom("a length below 0; give a number of tokens"))?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LengthSpec, A::Error> {
        LengthTable::deserialize(MapAccessDeserializer::new(map)).map(LengthSpec::Drawn)
    }
}

/// Lengths, checked.
#[derive(Clone, Debug)]
pub(super) struct Lengths {
    shape: Shape,
    min: u32,
    max: u32,
}

#[derive(Clone, Debug)]
enum Shape {
    Uniform,
    LogNormal { mu: f64, sigma: f64 },
}

impl Lengths {
    /// `what` names the setting in errors.
    pub(super) fn new(what: &'static str, spec: &LengthSpec) -> Result<Self, ArrivalError> {
        let (shape, min, max) = match *spec {
            LengthSpec::Fixed(tokens) => (Shape::Uniform, tokens, tokens),
            LengthSpec::Drawn(LengthTable::Uniform { min, max }) => (Shape::Uniform, min, max),
            LengthSpec::Drawn(LengthTable::LogNormal { median, mean, sigma, min, max }) => {
                let sigma = within(what, sigma, 0.0, 10.0)?;
                let mu = match (median, mean) {
                    (Some(median), None) => within(what, median, 1.0, MAX_TOKENS.into())?.ln(),
                    (None, Some(mean)) => {
                        within(what, mean, 1.0, MAX_TOKENS.into())?.ln() - sigma * sigma / 2.0
                    }
                    (None, None) => {
                        return Err(missing(what, "a log-normal length needs its median or its mean"));
                    }
                    (Some(_), Some(_)) => {
                        return Err(setting(
                            what,
                            "median and mean",
                            "give one of them, the other follows from sigma",
                        ));
                    }
                };
                (Shape::LogNormal { mu, sigma }, min.unwrap_or(1), max)
            }
        };
        within(what, min, 1, MAX_TOKENS)?;
        within(what, max, 1, MAX_TOKENS)?;
        if min > max {
            return Err(setting(what, format!("{min} to {max}"), "give min no larger than max"));
        }
        Ok(Self { shape, min, max })
    }

    /// The longest that is drawn, in tokens.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    pub(super) fn draw(&self, rng: &mut Pcg64) -> u32 {
        match self.shape {
            Shape::Uniform => rng.random_range(self.min..=self.max),
            Shape::LogNormal { mu, sigma } => {
                let z: f64 = rng.sample(StandardNormal);
                // What is beyond 32 bits, and infinity, become `u32::MAX`, which is clipped.
                ((mu + sigma * z).exp().round() as u32).clamp(self.min, self.max)
            }
        }
    }
}
