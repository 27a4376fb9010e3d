//! The answer: the best and its runner-up, and what stands beside them.

use super::change::{Flip, Near, flips, near};
use super::options::Size;
use super::search::{FrontPoint, Refused, Search};
use super::{Ask, Binds, Choice, PlanError, Role};
use crate::serving::{ServeError, Sources};
use serde::Serialize;

/// How far off the front's times are (docs/plan.md has what was held against what).
const FRONT_TTFT: &str = "TTFT of the front is by closed forms: at low loads within a quarter of served ones, else 0.4 to 2.3 times them, and far longer \
                          where prompts nearly fill the steps; those of the best and of its runner-up were served";

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The best use of the yard, served.
    pub best: Choice,
    /// What stops each of its parts from carrying more.
    pub binds: Vec<Binds>,
    /// The best that is another layout, served.
    pub runner_up: Option<Choice>,
    /// What would make it win.
    pub flips: Vec<Flip>,
    /// The best with one word changed, by closed forms.
    pub near: Vec<Near>,
    /// Sizes that can't be.
    pub refused: Vec<Refused>,
    /// The front of whole replicas, fastest user first.
    pub front: Vec<FrontPoint>,
    /// Layouts whose closed forms were looked at, and those that were served.
    pub looked_at: (usize, usize),
    /// What was decided for the user.
    pub notes: Vec<String>,
}

/// The best deployment for `ask`; `progress` is told what is being done.
///
/// # Errors
/// [`PlanError`].
pub fn plan(ask: &Ask, sources: &dyn Sources, progress: &mut dyn FnMut(&str)) -> Result<Plan, PlanError> {
    ask.validate()?;
    let studied = sources.resolve(&ask.scenario).map_err(ServeError::from)?;
    let mut search = Search::new(ask, &studied, sources, progress)?;
    let best = search.winner(progress)?;
    let tried = search.tried();
    let front = search.front();
    let near = near(&search, &best);
    let binds = best.parts.iter().map(|part| search.entry(&part.layout).binds).collect();
    search.ban(&best);
    let runner_up = search.winner(progress).ok();
    let flips = match &runner_up {
        Some(other) => flips(&mut search, &best, other),
        None => Vec::new(),
    };
    let looked_at = (search.looked_at, search.tried().max(tried));
    let mut notes = studied.notes;
    notes.push(FRONT_TTFT.to_owned());
    if search.left > 0 {
        let told = "layouts were not served any more, which by closed forms could be better; fewer ranks or tighter limits leave fewer";
        notes.push(format!("{} {told}", search.left));
    }
    Ok(Plan { best, binds, runner_up, flips, near, refused: search.refused, front, looked_at, notes })
}

/// The best deployment, by serving every layout that can be: what [`plan`] is held against.
///
/// # Errors
/// As [`plan`].
pub fn exhaustive(ask: &Ask, sources: &dyn Sources) -> Result<Choice, PlanError> {
    ask.validate()?;
    let studied = sources.resolve(&ask.scenario).map_err(ServeError::from)?;
    let mut search = Search::new(ask, &studied, sources, &mut |_| ())?;
    let keys: Vec<(Role, Size)> = search.classes.keys().copied().collect();
    search.all = true;
    for key in keys {
        for at in 0..search.classes[&key].len() {
            search.serve(key, at)?;
        }
    }
    search.winner(&mut |_| ())
}
