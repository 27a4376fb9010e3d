//! Every claim of the lecture as an equation that runs: formula, inputs, what it computes, what was stated, and a verdict.
//!
//! A claim is data. Its inputs have names, so that they can be varied together over all claims, and two sets of values: `talk`
//! repeats the lecture's own numbers, `dsv3` puts DeepSeek-V3 on GB200 in their place. The verdict is worked out from what is
//! computed and what was stated, except where a claim can't be derived or its input is at fault: that is said, never fitted.

mod batch;
mod board;
mod chapter;
mod overtraining;
mod pipelines;
mod prices;
mod racks;
mod reach;
mod reversibility;
mod speed;
mod table;
mod verdict;

pub(crate) use self::batch::chips;
pub use self::board::{Board, ClaimError, Preset, input_names};
pub use self::chapter::Chapter;
pub use self::reach::{Reach, reaches};
pub use self::verdict::{ORDER, Rule, Stated, Verdict};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The equations as a script for pages, which says how it is written: `formulas[ID](inputs)` gives a claim's values.
pub const FORMULAS: &str = include_str!("../data/claims/formulas.js");

/// A named input of a claim.
struct Input {
    /// The same in every claim.
    name: &'static str,
    /// Empty for a ratio or a count.
    unit: &'static str,
    /// As the lecture has it.
    talk: f64,
    /// As DeepSeek-V3 on GB200 has it.
    dsv3: f64,
}

/// One number that a claim computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Symbol or words for it: `B*`.
    pub label: String,
    /// Its unit, empty for a ratio or a count.
    pub unit: &'static str,
    /// In `unit`.
    pub value: f64,
}

pub(crate) fn value(label: impl Into<String>, unit: &'static str, value: f64) -> Value {
    Value { label: label.into(), unit, value }
}

/// The inputs of one claim, by name.
pub(crate) struct Inputs(BTreeMap<&'static str, f64>);

impl Inputs {
    /// The value of an input that the claim has.
    ///
    /// # Panics
    /// If it has none of that name: the table of claims is wrong then.
    pub(crate) fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the claim has no input `{name}`"))
    }

    /// The same as a whole number.
    pub(crate) fn count(&self, name: &str) -> u32 {
        self.get(name) as u32
    }
}

/// How a claim with an id computes its values, of which the first is compared.
pub(crate) type Equation = (&'static str, fn(&Inputs) -> Vec<Value>);

/// A claim, computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// `A1` to `F3`.
    pub id: &'static str,
    /// Chapter of the lecture, A to F.
    pub chapter: Chapter,
    /// The claim in a sentence.
    pub claim: &'static str,
    /// Who says so: T, S1, S2 and others as in the crate's documentation.
    pub source: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// With what: name, unit, value.
    pub inputs: Vec<(&'static str, &'static str, f64)>,
    /// What comes out; the first is the one that is compared.
    pub values: Vec<Value>,
    /// What the source says, as a number, a range or words.
    pub stated: Stated,
    /// How near is near enough, relative.
    pub tolerance: f64,
    /// What comparing the two gives.
    pub verdict: Verdict,
    /// How that follows.
    pub rule: Rule,
    /// Why, in a line.
    pub note: &'static str,
    /// Id of the [figure](crate::figures) that shows it.
    pub picture: Option<&'static str>,
    /// Commands that try it on the yard.
    pub runs: &'static [String],
}

impl Claim {
    /// The number that is compared.
    #[must_use]
    pub fn computed(&self) -> &Value {
        &self.values[0]
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inputs: BTreeMap<_, _> = self.inputs.iter().map(|&(name, _, value)| (name, value)).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("chapter", &self.chapter)?;
        map.serialize_entry("claim", self.claim)?;
        map.serialize_entry("source", self.source)?;
        map.serialize_entry("formula", self.formula)?;
        map.serialize_entry("inputs", &inputs)?;
        map.serialize_entry("computed", &self.computed().value)?;
        map.serialize_entry("computed_label", &self.computed().label)?;
        map.serialize_entry("unit", self.computed().unit)?;
        map.serialize_entry("values", &self.values)?;
        map.serialize_entry("stated", &self.stated)?;
        map.serialize_entry("stated_text", self.stated.text())?;
        map.serialize_entry("tolerance", &self.tolerance)?;
        map.serialize_entry("verdict", &self.verdict)?;
        map.serialize_entry("note", self.note)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
