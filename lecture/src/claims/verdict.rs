//! What follows from what is computed and what was stated.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// What a source states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stated {
    /// No number: a shape or a direction, in words.
    Words(&'static str),
    /// A number, and how it was put.
    Number(f64, &'static str),
    /// A range, and how it was put.
    Range(f64, f64, &'static str),
}

impl Stated {
    /// As it was put.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Words(text) | Self::Number(_, text) | Self::Range(_, _, text) => text,
        }
    }

    /// Both ends; equal for a single number.
    #[must_use]
    pub const fn range(&self) -> Option<(f64, f64)> {
        match *self {
            Self::Words(_) => None,
            Self::Number(number, _) => Some((number, number)),
            Self::Range(low, high, _) => Some((low, high)),
        }
    }
}

/// A number, `[low, high]`, or null for words.
impl Serialize for Stated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Words(_) => serializer.serialize_none(),
            Self::Number(number, _) => serializer.serialize_f64(number),
            Self::Range(low, high, _) => [low, high].serialize(serializer),
        }
    }
}

/// How a claim comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The equation gives what was stated.
    Reproduces,
    /// Within a factor of three.
    #[serde(rename = "order of magnitude")]
    OrderOfMagnitude,
    /// Stated and not derivable: an input.
    Assumption,
    /// The arithmetic is right, an input is not what it is said to be.
    #[serde(rename = "wrong input")]
    WrongInput,
    /// The equation says otherwise.
    Contradicts,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] =
        [Self::Reproduces, Self::OrderOfMagnitude, Self::Assumption, Self::WrongInput, Self::Contradicts];

    /// In words, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reproduces => "reproduces",
            Self::OrderOfMagnitude => "order of magnitude",
            Self::Assumption => "assumption",
            Self::WrongInput => "wrong input",
            Self::Contradicts => "contradicts",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Factor up to which two numbers are of one order of magnitude.
pub const ORDER: f64 = 3.0;

/// How the verdict follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Reproduces within so much of what is stated, else of its order within a factor of three, else contradicts.
    Near(f64),
    /// Reproduces while the computed number is at least this, else contradicts: a claim about which is larger.
    AtLeast(f64),
    /// Reproduces while the computed number is at most this, else contradicts.
    AtMost(f64),
    /// Always this: what can't be derived, or what follows from the definition whatever the inputs.
    Always(Verdict),
}

impl Rule {
    /// The tolerance, and the verdict on `computed`.
    pub(crate) fn judge(self, computed: f64, stated: Stated) -> (f64, Verdict) {
        match self {
            Self::Always(verdict) => (0.0, verdict),
            Self::AtLeast(least) => {
                (0.0, if computed >= least { Verdict::Reproduces } else { Verdict::Contradicts })
            }
            Self::AtMost(most) => {
                (0.0, if computed <= most { Verdict::Reproduces } else { Verdict::Contradicts })
            }
            Self::Near(tolerance) => {
                let Some((low, high)) = stated.range() else { return (tolerance, Verdict::Reproduces) };
                let within = |down: f64, up: f64| (low * down..=high * up).contains(&computed);
                let verdict = if within(1.0 - tolerance, 1.0 + tolerance) {
                    Verdict::Reproduces
                } else if within(1.0 / ORDER, ORDER) {
                    Verdict::OrderOfMagnitude
                } else {
                    Verdict::Contradicts
                };
                (tolerance, verdict)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_two_percent_and_an_order_a_factor_of_three() {
        let judge = |computed| Rule::Near(0.02).judge(computed, Stated::Number(100.0, "100")).1;
        assert_eq!(judge(101.9), Verdict::Reproduces);
        assert_eq!([judge(102.1), judge(34.0), judge(299.0)], [Verdict::OrderOfMagnitude; 3]);
        assert_eq!([judge(33.0), judge(301.0), judge(f64::NAN)], [Verdict::Contradicts; 3]);
        let range = Rule::Near(0.02).judge(2.37, Stated::Range(2.0, 3.0, "2 to 3"));
        assert_eq!(range, (0.02, Verdict::Reproduces));
        assert_eq!(Rule::AtLeast(1.0).judge(0.9, Stated::Words("more")).1, Verdict::Contradicts);
        assert_eq!(Rule::AtMost(1.0).judge(0.9, Stated::Words("fits")).1, Verdict::Reproduces);
    }
}
