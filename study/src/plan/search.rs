//! The search: closed forms of every layout, then trials of those that could still be best.

use super::layout::Yard;
use super::options::{Size, USES, replicas};
use super::steady::{grid, sequences_at};
use super::together::Pairs;
use super::trial::Trials;
use super::{Ask, Binds, Choice, Curve, Layout, Part, PlanError, Role, Steady, Together, Trial, layouts};
use crate::scenario::Studied;
use crate::serving::{ServeError, Sources};
use serde::Serialize;
use std::collections::BTreeMap;

/// How much more a layout that latency binds may carry when it is served than its closed forms say, at most: it is left untried only where even
/// that would not make it the best. What memory or prompts bind carries no more.
const MORE: f64 = 1.25;
/// Most layouts that are tried, and most tokens of answers that are served for it.
const TRIALS_MAX: usize = 48;
const TOKENS_MAX: f64 = 1.5e8;

/// A layout that can be.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) curve: Curve,
    /// The largest load within limits, by closed forms.
    pub(super) best: (i32, Steady),
    pub(super) binds: Binds,
    trials: Trials,
    /// Served; `Some(None)` where no load keeps the limits.
    trial: Option<Option<Trial>>,
    /// Left out of the choice.
    banned: bool,
}

impl Entry {
    /// Requests a second that it may carry.
    fn rate(&self) -> f64 {
        match &self.trial {
            None if matches!(self.binds, Binds::Ttft | Binds::Tpot) => self.best.1.rate * MORE,
            None => self.best.1.rate,
            Some(trial) => trial.as_ref().map_or(0.0, |trial| trial.rate),
        }
    }
}

/// A class of layouts, and the index of one of them.
type Place = ((Role, Size), usize);

/// Layouts of one role and size.
type Classes = BTreeMap<(Role, Size), Vec<Entry>>;

/// Layouts of one size that can't be, or keep no limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refused {
    /// Racks, and ranks in each.
    pub size: Size,
    /// The reason of the one that came nearest.
    pub problem: String,
}

/// A point of the Pareto front, by closed forms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrontPoint {
    /// The layout.
    pub layout: Layout,
    /// Tokens a second that one sequence gets.
    pub tokens_per_s_per_user: f64,
    /// Tokens of answers a second and rank.
    pub tokens_per_s_per_rank: f64,
    /// Its time to first token, ms.
    pub ttft_ms: f64,
}

/// The state of a search.
pub(super) struct Search<'a> {
    pub(super) ask: &'a Ask,
    sources: &'a dyn Sources,
    yard: Yard,
    pub(super) classes: Classes,
    pairs: Pairs,
    pub(super) refused: Vec<Refused>,
    pub(super) looked_at: usize,
    /// Whether every layout is to be served, however many there are.
    pub(super) all: bool,
    /// Layouts that could have been better and were not served any more.
    pub(super) left: usize,
    /// Why the first layout can't be, where a setting is at fault.
    fault: Option<ServeError>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        ask: &'a Ask,
        studied: &Studied,
        sources: &'a dyn Sources,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, PlanError> {
        let yard = Yard::of(studied)?;
        let mut search = Self {
            ask,
            sources,
            yard,
            classes: Classes::new(),
            pairs: Pairs::default(),
            refused: Vec::new(),
            looked_at: 0,
            all: false,
            left: 0,
            fault: None,
        };
        for role in USES.into_iter().flatten().copied() {
            let all = layouts(ask, studied, role)?;
            progress(&format!("closed forms of {} layouts", all.len()));
            search.looked_at += all.len();
            for layout in all {
                search.look_at(layout);
            }
        }
        let classes = &search.classes;
        search.refused.retain(|refused| !classes.contains_key(&(Role::Whole, refused.size)));
        Ok(search)
    }

    /// Takes up `layout` if it can be, else its reason if no other of its size has one.
    fn look_at(&mut self, layout: Layout) {
        let size = (layout.racks, layout.ranks_per_rack);
        let problem = match Curve::new(layout, self.ask, self.sources) {
            Err(error) => {
                let problem = error.to_string();
                self.fault = self.fault.take().or_else(|| Some(error).filter(ServeError::is_usage));
                problem
            }
            Ok(mut curve) => match curve.best(self.ask.limits) {
                (Some(best), binds) => {
                    let entry =
                        Entry { curve, best, binds, trials: Trials::default(), trial: None, banned: false };
                    self.classes.entry((layout.role, size)).or_default().push(entry);
                    return;
                }
                (None, binds) => binds.refusal(),
            },
        };
        if layout.role == Role::Whole && !self.refused.iter().any(|refused| refused.size == size) {
            self.refused.push(Refused { size, problem });
        }
    }

    pub(super) fn entry(&self, layout: &Layout) -> &Entry {
        let class = &self.classes[&(layout.role, (layout.racks, layout.ranks_per_rack))];
        class.iter().find(|entry| entry.curve.layout == *layout).expect("a part is of an entry")
    }

    pub(super) fn entry_mut(&mut self, layout: &Layout) -> &mut Entry {
        let class = self.classes.get_mut(&(layout.role, (layout.racks, layout.ranks_per_rack)));
        let mut entries = class.into_iter().flatten();
        entries.find(|entry| entry.curve.layout == *layout).expect("a part is of an entry")
    }

    /// The index of the entry of a class that may carry most.
    fn top(&self, key: (Role, Size)) -> Option<usize> {
        let class = self.classes.get(&key)?;
        let open = class.iter().enumerate().filter(|(_, entry)| !entry.banned && entry.rate() > 0.0);
        let tpot = |entry: &Entry| entry.best.1.tpot_ms;
        let by = |a: &Entry, b: &Entry| {
            let rate = a.rate().total_cmp(&b.rate());
            rate.then(tpot(b).total_cmp(&tpot(a))).then(b.curve.layout.cmp(&a.curve.layout))
        };
        open.max_by(|a, b| by(a.1, b.1)).map(|(at, _)| at)
    }

    /// All uses of the yard by the tops of classes.
    fn uses(&self) -> Vec<(Vec<Place>, Choice)> {
        let sizes = |role: Role| self.classes.keys().filter(move |key| key.0 == role).copied();
        let mut uses: Vec<Vec<(Role, Size)>> = sizes(Role::Whole).map(|key| vec![key]).collect();
        for prompts in sizes(Role::Prefill) {
            uses.extend(sizes(Role::Decode).map(|answers| vec![prompts, answers]));
        }
        uses.into_iter().filter_map(|keys| self.choice(&keys)).collect()
    }

    /// What the yard is with the tops of these classes, one of each; `None` where there is no room.
    pub(super) fn choice(&self, keys: &[(Role, Size)]) -> Option<(Vec<Place>, Choice)> {
        let tops: Option<Vec<Place>> = keys.iter().map(|&key| self.top(key).map(|at| (key, at))).collect();
        let tops = tops?;
        let entries: Vec<&Entry> = tops.iter().map(|&(key, at)| &self.classes[&key][at]).collect();
        let sizes: Vec<Size> = keys.iter().map(|key| key.1).collect();
        let layouts: Vec<Layout> = entries.iter().map(|entry| entry.curve.layout).collect();
        let share = self.pairs.share(&layouts);
        if share <= 0.0 {
            return None;
        }
        let rates: Vec<f64> = entries.iter().map(|entry| share * entry.rate()).collect();
        let counts = replicas(self.ask.load.rate, self.yard, &sizes, &rates)?;
        let together = self.pairs.known(&layouts, &counts);
        let parts = entries.iter().zip(counts).map(|(entry, replicas)| Part {
            layout: entry.curve.layout,
            replicas,
            estimate: Steady { rate: entry.rate(), ..entry.best.1 },
            trial: entry.trial.clone().flatten(),
            handover_ms: entry.curve.handover_ms,
        });
        Some((tops, Choice::new(self.ask, parts.collect(), (share, together))))
    }

    /// Layouts of `role` that can be.
    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = &Entry> {
        self.classes.iter().filter(move |(key, _)| key.0 == role).flat_map(|(_, class)| class)
    }

    /// Requests a second that the yard carries with these layouts, by closed forms: with all of it, whatever rate is asked for. `None` where they don't fit.
    pub(super) fn by_closed_forms(&self, layouts: &[Layout]) -> Option<f64> {
        let rates: Vec<f64> = layouts.iter().map(|layout| self.entry(layout).best.1.rate).collect();
        let sizes: Vec<Size> = layouts.iter().map(|layout| (layout.racks, layout.ranks_per_rack)).collect();
        let counts = replicas(None, self.yard, &sizes, &rates)?;
        Some(
            counts
                .iter()
                .zip(&rates)
                .map(|(count, rate)| f64::from(*count) * rate)
                .fold(f64::INFINITY, f64::min),
        )
    }

    /// The most requests a second that pools carry, or whole replicas, by closed forms.
    pub(super) fn best_by_closed_forms(&self, pools: bool) -> f64 {
        let tops = |role: Role| {
            let classes = self.classes.iter().filter(move |(key, _)| key.0 == role);
            classes
                .filter_map(|(_, class)| class.iter().max_by(|a, b| a.best.1.rate.total_cmp(&b.best.1.rate)))
        };
        let of = |entries: &[&Entry]| {
            self.by_closed_forms(&entries.iter().map(|entry| entry.curve.layout).collect::<Vec<_>>())
                .unwrap_or(0.0)
        };
        if pools {
            let pairs = tops(Role::Prefill)
                .flat_map(|prompts| tops(Role::Decode).map(move |answers| [prompts, answers]));
            pairs.map(|pair| of(&pair)).fold(0.0, f64::max)
        } else {
            tops(Role::Whole).map(|entry| of(&[entry])).fold(0.0, f64::max)
        }
    }

    /// The best use of the yard that was served, after what could be better was served too.
    pub(super) fn winner(&mut self, progress: &mut dyn FnMut(&str)) -> Result<Choice, PlanError> {
        loop {
            let best = self.uses().into_iter().min_by(|a, b| a.1.better(&b.1, self.ask));
            let Some((tops, choice)) = best else { return Err(self.nothing()) };
            let untried = tops.iter().find(|(key, at)| self.classes[key][*at].trial.is_none());
            let Some(&(key, at)) = untried else {
                if choice.is_tried() {
                    return Ok(choice);
                }
                let together = Together::of(self.ask, &choice, self.sources)?;
                progress(&format!(
                    "both pools together: {:.0}% keep the limits at {:.3} requests/s",
                    together.kept * 100.0,
                    choice.rate
                ));
                self.pairs.note(&choice, together);
                continue;
            };
            if !self.all && self.is_spent() {
                // Whoever was not served is left out, and told.
                self.left += self.leave_untried();
                continue;
            }
            self.serve(key, at)?;
            let Entry { curve, best, trial, .. } = &self.classes[&key][at];
            let carries = trial.iter().flatten().map(|trial| trial.rate).fold(0.0, f64::max);
            progress(&format!(
                "served: {}: {carries:.3} requests/s, {:.3} by closed forms",
                curve.layout, best.1.rate
            ));
        }
    }

    /// Whether enough was served.
    fn is_spent(&self) -> bool {
        let tokens = self.classes.values().flatten().map(|entry| entry.trials.tokens).sum::<f64>();
        self.tried() >= TRIALS_MAX || tokens >= TOKENS_MAX
    }

    /// Leaves out what has not been served; how many those are.
    fn leave_untried(&mut self) -> usize {
        let untried =
            self.classes.values_mut().flatten().filter(|entry| entry.trial.is_none() && !entry.banned);
        untried.map(|entry| entry.banned = true).count()
    }

    /// Finds what one entry carries.
    pub(super) fn serve(&mut self, key: (Role, Size), at: usize) -> Result<(), PlanError> {
        let (ask, sources) = (self.ask, self.sources);
        let entry = &mut self.classes.get_mut(&key).expect("a class of the search")[at];
        if entry.trial.is_none() {
            let limits = entry.curve.share_of(ask.limits);
            entry.trial = Some(entry.trials.best(&mut entry.curve, (ask, limits), entry.best.0, sources)?);
        }
        Ok(())
    }

    pub(super) fn tried(&self) -> usize {
        self.classes.values().flatten().filter(|entry| entry.trial.is_some()).count()
    }

    /// Leaves out what differs in the tokens of a step alone from the part of `choice` that carries least.
    pub(super) fn ban(&mut self, choice: &Choice) {
        let alike =
            |a: &Layout, b: &Layout| Layout { step_tokens: 0, ..*a } == Layout { step_tokens: 0, ..*b };
        let least = choice.parts.iter().min_by(|a, b| a.rate().total_cmp(&b.rate()));
        let last = least.expect("a choice has parts").layout;
        for entry in self.classes.values_mut().flatten() {
            entry.banned |= alike(&entry.curve.layout, &last);
        }
    }

    fn nothing(&self) -> PlanError {
        if let Some(fault) = self.fault.clone().filter(|_| self.classes.is_empty()) {
            return fault.into();
        }
        if self.left > 0 {
            let tried = self.tried();
            let told = "layouts were served and none keeps the limits; raise one, or ask for a smaller yard";
            return PlanError::Nothing(format!("{tried} {told}"));
        }
        let most =
            self.classes.iter().filter(|(key, _)| key.0 == Role::Whole).flat_map(|((_, size), class)| {
                let room = f64::from(self.yard.room_for(size.0, size.1));
                class
                    .iter()
                    .map(move |entry| room * entry.trial.as_ref().map_or(entry.best.1.rate, |_| entry.rate()))
            });
        let most = most.fold(0.0, f64::max);
        PlanError::Nothing(match (self.ask.load.rate, self.refused.last()) {
            (Some(rate), _) if most > 0.0 => {
                format!(
                    "{rate} requests a second are asked for; {} ranks carry some {most:.3}",
                    self.yard.ranks()
                )
            }
            (_, Some(refused)) => {
                let (racks, ranks) = refused.size;
                format!("with {racks} x {ranks} ranks: {}", refused.problem)
            }
            _ => "limits on TTFT and TPOT leave no load; raise one".to_owned(),
        })
    }

    /// The layouts and loads of whole replicas that no other is above in both.
    pub(super) fn front(&mut self) -> Vec<FrontPoint> {
        let output = self.ask.load.output_len;
        let mut points = Vec::new();
        for (key, class) in &mut self.classes {
            if key.0 != Role::Whole {
                continue;
            }
            for entry in class {
                for at in grid().step_by(super::steady::AN_OCTAVE as usize) {
                    let Ok(steady) = entry.curve.at(sequences_at(at)) else { break };
                    let layout = entry.curve.layout;
                    points.push(FrontPoint {
                        layout,
                        tokens_per_s_per_user: 1e3 / steady.tpot_ms,
                        tokens_per_s_per_rank: steady.rate * output / f64::from(layout.ranks()),
                        ttft_ms: steady.ttft_ms,
                    });
                }
            }
        }
        points.sort_by(|a, b| {
            let user = b.tokens_per_s_per_user.total_cmp(&a.tokens_per_s_per_user);
            user.then(b.tokens_per_s_per_rank.total_cmp(&a.tokens_per_s_per_rank))
                .then(a.layout.cmp(&b.layout))
        });
        let mut most = 0.0;
        points.retain(|point| {
            let above = point.tokens_per_s_per_rank > most;
            most = point.tokens_per_s_per_rank.max(most);
            above
        });
        points
    }
}
