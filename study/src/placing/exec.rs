//! Placements that a program makes: asked where the command is typed, answers kept by the demand that they are for.

use super::process::answer;
use moe::placement::{Demand, PlacementPolicy, export};
use moe::{Placement, PlacementError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};
use topology::Cluster;
use twox_hash::XxHash3_64;

/// Answers by the hash of what was asked; each is a placement file.
type Answers = BTreeMap<String, String>;

/// Runs programs, each once for a demand.
#[derive(Debug)]
pub struct Programs {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept_in: Option<PathBuf>,
    answers: Answers,
}

impl Programs {
    /// With `limit` for each answer.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Answers are kept in `dir` from now on, and those that are there already are used.
    pub fn keep_in(&self, dir: &Path) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept_in = Some(dir.to_owned());
    }

    /// The answer of `command`, which `finish` makes of what the program prints. One program runs at a time.
    fn ask(
        &self,
        command: &str,
        (hash, question): (&str, &str),
        finish: &dyn Fn(&str) -> Result<String, PlacementError>,
    ) -> Result<String, PlacementError> {
        let wrong = |problem| PlacementError::Refused { origin: format!("exec:{command}"), problem };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.answers.get(hash) {
            return Ok(known.clone());
        }
        let path = state.kept_in.as_ref().map(|dir| dir.join(format!("{hash}.json")));
        let told = |error: io::Error| wrong(format!("its answers can't be kept: {error}"));
        let text = match path.as_deref().map(|path| (path, fs::read_to_string(path))) {
            Some((path, Ok(text))) => {
                let stale =
                    |error| wrong(format!("{} is no answer of it ({error}): remove it", path.display()));
                finish(&text).map_err(stale)?;
                text
            }
            Some((_, Err(error))) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
            missing => {
                let text = finish(&answer(command, question, self.limit).map_err(wrong)?)?;
                match missing {
                    Some((path, _)) => keep(path, &text).map_err(told)?,
                    None => text,
                }
            }
        };
        state.answers.insert(hash.to_owned(), text.clone());
        Ok(text)
    }
}

/// Writes an answer, whole or not at all, unless another process was first: then it is that one's.
fn keep(path: &Path, text: &str) -> io::Result<String> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error.error),
    }
}

/// A program as a policy. Without [`Programs`], as on a coordinator, it has the answers that came with it and no others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// `exec:COMMAND`, its name in tables and errors.
    origin: String,
    answers: Answers,
    #[serde(skip)]
    programs: Option<Arc<Programs>>,
}

impl PartialEq for Exec {
    fn eq(&self, other: &Self) -> bool {
        (&self.origin, &self.answers) == (&other.origin, &other.answers)
    }
}

impl Eq for Exec {}

impl Exec {
    pub(super) fn new(command: &str, programs: &Arc<Programs>) -> Self {
        let programs = Some(Arc::clone(programs));
        Self { origin: format!("exec:{command}"), answers: Answers::new(), programs }
    }

    /// Whether programs run here.
    pub(super) fn asks(&self) -> bool {
        self.programs.is_some()
    }

    /// With all answers that were given so far, for a place where no program runs.
    pub(super) fn finished(&self) -> Self {
        let mut answers = self.answers.clone();
        if let Some(programs) = &self.programs {
            answers.extend(programs.state.lock().unwrap_or_else(PoisonError::into_inner).answers.clone());
        }
        Self { origin: self.origin.clone(), answers, programs: None }
    }
}

impl PlacementPolicy for Exec {
    fn name(&self) -> &str {
        &self.origin
    }

    fn help(&self) -> &str {
        "made by a program"
    }

    fn place(&self, cluster: &Cluster, slots: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let command = self.origin.strip_prefix("exec:").unwrap_or(&self.origin);
        let question = demand.question(cluster, slots);
        let mut hash = XxHash3_64::new();
        hash.write(self.origin.as_bytes());
        hash.write(question.as_bytes());
        let hash = format!("{:016x}", hash.finish());
        let by_rack = demand.by_rack(cluster);
        let read = |text: &str| {
            let placement = Placement::from_json(text, &self.origin, cluster, demand.num_experts())?;
            placement.for_demand(cluster, &by_rack, 0.0)
        };
        let finish = |text: &str| Ok(export::railyard(&read(text)?, &by_rack));
        let text = match (&self.programs, self.answers.get(&hash)) {
            (_, Some(text)) => text.clone(),
            (Some(programs), None) => programs.ask(command, (&hash, &question), &finish)?,
            (None, None) => {
                let problem =
                    "runs where the command is typed: a coordinator takes finished placements".to_owned();
                return Err(PlacementError::Refused { origin: self.origin.clone(), problem });
            }
        };
        read(&text)
    }
}
