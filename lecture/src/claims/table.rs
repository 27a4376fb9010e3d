//! The claims as data: what each says stands in `data/claims/`, a file a chapter, its equation in this folder under its id.

use super::{Chapter, Equation, Input, Inputs, Rule, Stated, Value};
use super::{batch, overtraining, pipelines, prices, racks, reversibility, speed};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const INPUTS: &str = include_str!("../../data/claims/inputs.toml");
const CHAPTERS: [(Chapter, &str); 6] = [
    (Chapter::Roofline, include_str!("../../data/claims/roofline.toml")),
    (Chapter::ScaleUp, include_str!("../../data/claims/scale-up.toml")),
    (Chapter::Pipeline, include_str!("../../data/claims/pipeline.toml")),
    (Chapter::Overtraining, include_str!("../../data/claims/overtraining.toml")),
    (Chapter::Prices, include_str!("../../data/claims/prices.toml")),
    (Chapter::Reversible, include_str!("../../data/claims/reversible.toml")),
];
/// The equations of all claims.
pub(super) const EQUATIONS: [&[Equation]; 7] = [
    batch::EQUATIONS,
    speed::EQUATIONS,
    racks::EQUATIONS,
    pipelines::EQUATIONS,
    overtraining::EQUATIONS,
    prices::EQUATIONS,
    reversibility::EQUATIONS,
];

/// A claim as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) id: String,
    pub(super) claim: String,
    /// Who says so.
    pub(super) source: String,
    pub(super) formula: String,
    /// Names of its inputs.
    #[serde(default)]
    inputs: Vec<String>,
    /// Values of those that this claim has otherwise than the others.
    #[serde(default)]
    own: BTreeMap<String, Given>,
    stated: String,
    number: Option<f64>,
    range: Option<(f64, f64)>,
    pub(super) rule: Rule,
    /// Id of the figure that shows it.
    pub(super) picture: Option<String>,
    /// Commands that try it on the yard.
    #[serde(default)]
    pub(super) runs: Vec<String>,
    pub(super) note: String,
}

/// Values of an input: one for both presets, or one for each.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    /// Empty for a ratio or a count.
    unit: String,
    pub(super) kind: Kind,
    value: Option<f64>,
    talk: Option<f64>,
    dsv3: Option<f64>,
}

/// What an input can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    #[default]
    AboveZero,
    OrZero,
    Count,
}

impl Given {
    /// Refuses what the input can't be, with what it can.
    pub(super) fn check(&self, value: f64) -> Result<(), &'static str> {
        let (possible, must) = match self.kind {
            Kind::AboveZero => (value > 0.0, "a number above 0"),
            Kind::OrZero => (value >= 0.0, "a number above 0"),
            Kind::Count => {
                let whole = value.fract() == 0.0 && (1.0..=65_536.0).contains(&value);
                (whole, "a whole number from 1 to 65536")
            }
        };
        if possible { Ok(()) } else { Err(must) }
    }
}

#[derive(Deserialize)]
struct ChapterFile {
    claim: Vec<Text>,
}

/// A claim with its equation.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) text: Text,
    pub(super) chapter: Chapter,
    pub(super) equation: fn(&Inputs) -> Vec<Value>,
}

/// All claims in order, and the inputs that they share.
#[derive(Debug)]
struct Table {
    inputs: BTreeMap<String, Given>,
    claims: Vec<Definition>,
}

/// The table, read once.
///
/// # Panics
/// If a file of this crate has a fault, which its tests would show.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let of = |(chapter, text): (Chapter, &str)| {
            let file: ChapterFile = toml::from_str(text).expect("a chapter of data/claims is TOML");
            file.claim.into_iter().map(move |text| Definition { equation: equation(&text.id), chapter, text })
        };
        let inputs = toml::from_str(INPUTS).expect("data/claims/inputs.toml is TOML");
        Table { inputs, claims: CHAPTERS.into_iter().flat_map(of).collect() }
    })
}

fn equation(id: &str) -> fn(&Inputs) -> Vec<Value> {
    let found = EQUATIONS.into_iter().flatten().find(|(known, _)| *known == id);
    found.expect("every claim has an equation").1
}

/// The inputs of all claims by their names.
pub(super) fn inputs() -> &'static BTreeMap<String, Given> {
    &table().inputs
}

/// All claims in order.
pub(super) fn definitions() -> impl Iterator<Item = &'static Definition> {
    table().claims.iter()
}

impl Definition {
    /// Its inputs, in the order in which it lists them.
    pub(super) fn inputs(&'static self) -> impl Iterator<Item = Input> {
        self.text.inputs.iter().map(|name| {
            let common = &inputs()[name];
            let given = self.text.own.get(name).unwrap_or(common);
            let value = |of_preset: Option<f64>| given.value.or(of_preset).expect("a value for each preset");
            Input { name, unit: &common.unit, talk: value(given.talk), dsv3: value(given.dsv3) }
        })
    }

    /// What its source states.
    pub(super) fn stated(&'static self) -> Stated {
        let words = &self.text.stated;
        match (self.text.number, self.text.range) {
            (Some(number), _) => Stated::Number(number, words),
            (None, Some((low, high))) => Stated::Range(low, high, words),
            (None, None) => Stated::Words(words),
        }
    }
}
