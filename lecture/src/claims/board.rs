//! The claims with a preset's inputs, some of them varied; and what is said of inputs that there aren't or can't be.

use super::table::{Definition, definitions, inputs};
use super::{Chapter, Claim, Input, Inputs};
use std::collections::BTreeMap;
use std::str::FromStr;
use thiserror::Error;
use topology::{did_you_mean, named};

/// Which values the inputs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The lecture's own numbers: rho 300, sparsity 8, throttle 8, 64 GPUs; 32 experts a token in C1, and the model's own 8 of 256
    /// in chapter B, where the sources count with them.
    #[default]
    Talk,
    /// DeepSeek-V3 on GB200 NVL72.
    Dsv3,
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("talk", Self::Talk), ("dsv3", Self::Dsv3)])
            .map_err(|problem| format!("no preset {problem}"))
    }
}

/// Something asked of the claims that there isn't.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ClaimError {
    /// No such chapter or claim.
    #[error("no chapter or claim `{given}`{hint}; chapters: {}", chapters())]
    Selection {
        /// What was asked for.
        given: String,
        /// The nearest as a question, or nothing.
        hint: String,
    },
    /// An assignment that is none.
    #[error("`{given}`: give NAME=VALUE with a finite number, as in rho=295 or throttle=18")]
    Assignment {
        /// The text between commas that is no NAME=VALUE.
        given: String,
    },
    /// No claim has such an input.
    #[error("no claim has an input `{name}`{hint}; inputs: {known}")]
    Input {
        /// What was asked for.
        name: String,
        /// The nearest as a question, or nothing.
        hint: String,
        /// All names.
        known: String,
    },
    /// A value that the claims can't be computed with.
    #[error("{name} = {value} is not possible; give {must}")]
    Value {
        /// Name of the input.
        name: String,
        /// The value that was given for it.
        value: f64,
        /// What values are possible.
        must: &'static str,
    },
}

fn chapters() -> String {
    Chapter::ALL.map(Chapter::name).join(", ")
}

/// The claims with a preset's inputs, some of them varied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    preset: Preset,
    set: BTreeMap<&'static str, f64>,
}

impl Board {
    /// The claims with the inputs of `preset`.
    #[must_use]
    pub fn new(preset: Preset) -> Self {
        Self { preset, set: BTreeMap::new() }
    }

    /// The same with some inputs varied, in every claim that has them: `NAME=VALUE` each.
    ///
    /// # Errors
    /// [`ClaimError`] for what is no assignment, no input, or no possible value.
    pub fn varied<'a>(
        preset: Preset,
        assignments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ClaimError> {
        let mut board = Self::new(preset);
        for assignment in assignments {
            board.set(assignment)?;
        }
        let of = |name: &str, default: f64| board.set.get(name).copied().unwrap_or(default);
        let (top_k, experts) = (of("top_k", 1.0), of("experts", 256.0));
        if top_k > experts {
            let must = "at most as many as there are experts";
            return Err(ClaimError::Value { name: "top_k".to_owned(), value: top_k, must });
        }
        Ok(board)
    }

    fn set(&mut self, assignment: &str) -> Result<(), ClaimError> {
        let malformed = || ClaimError::Assignment { given: assignment.chars().take(80).collect() };
        let (name, text) = assignment.split_once('=').ok_or_else(malformed)?;
        let number =
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(malformed)?;
        let name = name.trim();
        let Some((known_name, input)) = inputs().get_key_value(name) else {
            let (name, hint) = (name.to_owned(), did_you_mean(name, input_names()));
            return Err(ClaimError::Input {
                name,
                hint,
                known: input_names().collect::<Vec<_>>().join(", "),
            });
        };
        if let Err(must) = input.check(number) {
            return Err(ClaimError::Value { name: name.to_owned(), value: number, must });
        }
        self.set.insert(known_name, number);
        Ok(())
    }

    /// All claims in order.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        definitions().map(|definition| self.claim(definition)).collect()
    }

    /// The claims of a chapter (by name or letter), or one by its id.
    ///
    /// # Errors
    /// [`ClaimError::Selection`] if there is no such chapter or claim.
    pub fn select(&self, wanted: &str) -> Result<Vec<Claim>, ClaimError> {
        let chapter = Chapter::ALL.into_iter().find(|chapter| {
            chapter.name().eq_ignore_ascii_case(wanted)
                || chapter.letter().to_string().eq_ignore_ascii_case(wanted)
        });
        let chosen: Vec<Claim> = definitions()
            .filter(|definition| {
                Some(definition.chapter) == chapter || definition.text.id.eq_ignore_ascii_case(wanted)
            })
            .map(|definition| self.claim(definition))
            .collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let names = Chapter::ALL
            .into_iter()
            .map(Chapter::name)
            .chain(definitions().map(|claim| claim.text.id.as_str()));
        let hint = did_you_mean(wanted, names);
        Err(ClaimError::Selection { given: wanted.chars().take(40).collect(), hint })
    }

    /// True if an input is varied.
    #[must_use]
    pub fn is_varied(&self) -> bool {
        !self.set.is_empty()
    }

    fn claim(&self, definition: &'static Definition) -> Claim {
        let chosen = |input: Input| {
            let preset = if self.preset == Preset::Talk { input.talk } else { input.dsv3 };
            (input.name, input.unit, self.set.get(input.name).copied().unwrap_or(preset))
        };
        let inputs: Vec<_> = definition.inputs().map(chosen).collect();
        let values =
            (definition.equation)(&Inputs(inputs.iter().map(|&(name, _, value)| (name, value)).collect()));
        let (text, stated) = (&definition.text, definition.stated());
        let (tolerance, verdict) = text.rule.judge(values[0].value, stated);
        Claim {
            id: &text.id,
            chapter: definition.chapter,
            claim: &text.claim,
            source: &text.source,
            formula: &text.formula,
            inputs,
            values,
            stated,
            tolerance,
            verdict,
            rule: text.rule,
            note: &text.note,
            picture: text.picture.as_deref(),
            runs: &text.runs,
        }
    }
}

/// Names of all inputs, ascending.
pub fn input_names() -> impl Iterator<Item = &'static str> {
    inputs().keys().map(String::as_str)
}
