//! A roofline step: settings are the flags of `railyard roofline`, read by the same parser; closed forms alone.

use crate::cli::RooflineArgs;
use crate::step::Step;
use blackboard::deployment::{Deployment, INPUTS};
use std::sync::{Mutex, PoisonError};
use study::experiment::{Asked, Column, Fault, Ordered, Resolved, Settings, Subject, Value};
use study::layer::BackendKind;
use study::scenario::{command, flags, keys, read, said};
use study::subjects::roofline::{COLUMNS, WORDS, resolved};

/// Flags that no key stands for.
const NO_KEYS: [&str; 4] = ["sweep", "wide", "csv", "json"];

/// Decode steps by closed forms.
#[derive(Debug, Default)]
pub(crate) struct Rooflines {
    /// What every point says.
    base: Vec<String>,
    /// The deployment of flags that have last been read: points of a sweep differ in numbers most of the time.
    known: Mutex<Option<(Vec<String>, Deployment)>>,
}

impl Rooflines {
    /// Points that differ from what `args` say.
    pub(crate) fn of(args: &RooflineArgs) -> Self {
        Self { base: said(&RooflineArgs { sweep: None, ..args.clone() }), known: Mutex::default() }
    }

    fn deployment(&self, flags: Vec<String>) -> Result<Deployment, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, deployment)) = known.as_ref().filter(|(of, _)| *of == flags) {
            return Ok(deployment.clone());
        }
        let step = Step::of(&read::<RooflineArgs>(&flags)?).map_err(|error| format!("{error:#}"))?;
        *known = Some((flags, step.deployment.clone()));
        Ok(step.deployment)
    }
}

/// Numbers are put without the parser, which takes longer than a step.
fn is_number(key: &str) -> bool {
    INPUTS.contains(&key)
}

impl Subject for Rooflines {
    fn name(&self) -> &'static str {
        "roofline"
    }

    fn keys(&self) -> Vec<String> {
        keys::<RooflineArgs>(&NO_KEYS)
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        let alone: Settings = Ordered(vec![(key.to_owned(), value.clone())]);
        read::<RooflineArgs>(&flags::<RooflineArgs>(&alone, |_| false)).map(drop)
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Analytic]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        if asked.backends != [BackendKind::Analytic] {
            let problem = "a roofline step is closed forms alone; leave backend out, or give analytic";
            return Err(problem.to_owned().into());
        }
        let words = [self.base.clone(), flags::<RooflineArgs>(asked.settings, is_number)].concat();
        let mut said = [vec!["roofline".to_owned()], words.clone()].concat();
        let mut deployment = self.deployment(words)?;
        for (at, (key, value)) in asked.settings.0.iter().enumerate().filter(|(_, (key, _))| is_number(key)) {
            let number = value.number().ok_or_else(|| Fault::of(key, format!("`{value}` is no number")))?;
            deployment.set(key, number);
            if asked.settings.0[at + 1..].iter().all(|(later, _)| later != key) {
                said.extend([format!("--{}", key.replace('_', "-")), value.to_string()]);
            }
        }
        resolved(deployment, command(&said))
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        &WORDS
    }
}
