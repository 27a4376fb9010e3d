//! A fault as it is written: its name, then `key=value` for whom and when; in TOML a table with the same keys.

use super::{Fault, FaultPhase, What, When, Whom};
use crate::{LinkClass, Picos, RackId, RankId, did_you_mean, named};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest time of a fault, microseconds: a phase that it holds up for so long is still one that a node may report.
const TIME_US_MAX: f64 = 1e9;

/// The keys of a fault, `what` first.
pub const FAULT_KEYS: [&str; 16] = [
    "what", "rank", "from", "to", "both", "rack", "links", "step", "steps", "phase", "at_us", "for_us",
    "by_us", "factor", "frame", "ppm",
];

const PHASES: [(&str, FaultPhase); 5] = [
    ("dispatch", FaultPhase::Dispatch),
    ("expert", FaultPhase::Expert),
    ("combine", FaultPhase::Combine),
    ("local", FaultPhase::Local),
    ("hop", FaultPhase::Hop),
];

const LINKS: [(&str, LinkClass); 2] = [("scale-up", LinkClass::ScaleUp), ("scale-out", LinkClass::ScaleOut)];

/// Names of faults; what they need besides stands in [`what`].
const NAMES: [(&str, What); 11] = [
    ("kill", What::Kill),
    ("freeze", What::Freeze),
    ("slow", What::Slow { permille: 0 }),
    ("degrade", What::Degrade { permille: 0 }),
    ("cut", What::Cut),
    ("drop", What::Drop),
    ("duplicate", What::Duplicate),
    ("reorder", What::Reorder),
    ("corrupt", What::Corrupt),
    ("delay", What::Delay(Picos::ZERO)),
    ("skew", What::Skew(Picos::ZERO)),
];

/// What is wrong with a fault's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct FaultProblem {
    /// The key at fault; empty where something is missing.
    pub key: String,
    /// What is wrong, and the remedy.
    pub problem: String,
}

fn problem(key: &str, problem: impl Into<String>) -> FaultProblem {
    FaultProblem { key: key.to_owned(), problem: problem.into() }
}

/// Keys with their values, each used once.
struct Given<'a>(&'a [(&'a str, &'a str)]);

impl<'a> Given<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, FaultProblem> {
        let read =
            |text: &str| text.parse().map_err(|_| problem(key, format!("`{text}`: give a whole number")));
        self.text(key).map(read).transpose()
    }

    /// Microseconds.
    fn time(&self, key: &str) -> Result<Option<Picos>, FaultProblem> {
        let read = |text: &str| {
            let us = text.parse::<f64>().ok().filter(|us| (0.0..=TIME_US_MAX).contains(us));
            let remedy = || format!("`{text}`: give microseconds from 0 to {TIME_US_MAX:e}, such as 2.5");
            let us = us.ok_or_else(|| problem(key, remedy()))?;
            Ok(Picos((us * 1e6).round() as u64))
        };
        self.text(key).map(read).transpose()
    }

    fn word<T: Copy>(&self, key: &str, known: &[(&'static str, T)]) -> Result<Option<T>, FaultProblem> {
        self.text(key).map(|text| named(text, known).map_err(|wrong| problem(key, wrong))).transpose()
    }
}

impl Fault {
    /// Reads keys with their values; `what` is one of them.
    ///
    /// # Errors
    /// [`FaultProblem`] with the key that is wrong.
    pub fn read(given: &[(&str, &str)]) -> Result<Self, FaultProblem> {
        for (at, (key, _)) in given.iter().enumerate() {
            if !FAULT_KEYS.contains(key) {
                let meant = did_you_mean(key, FAULT_KEYS);
                let known =
                    if meant.is_empty() { format!("; known are {}", FAULT_KEYS.join(", ")) } else { meant };
                return Err(problem(key, format!("unknown key{known}")));
            }
            if given[..at].iter().any(|(other, _)| other == key) {
                return Err(problem(key, "given twice; keep one of them"));
            }
        }
        let given = Given(given);
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        let missing = || problem("", format!("no `what`; give one of {}", names.join(", ")));
        let kind = given.word("what", &NAMES)?.ok_or_else(missing)?;
        let what = what(&given, kind)?;
        let whom = whom(&given, what)?;
        let links = given.word("links", &LINKS)?;
        if links.is_some() && !what.is_of_links() {
            return Err(problem("links", "this fault is of a rank, not of its links; leave it out"));
        }
        Ok(Self { what, whom, links, when: when(&given, what)? })
    }
}

fn what(given: &Given<'_>, kind: What) -> Result<What, FaultProblem> {
    let factor = || {
        let text =
            given.text("factor").ok_or_else(|| problem("", "no `factor`; give how many times the time"))?;
        let factor = text.parse::<f64>().ok().filter(|factor| (1.0..=1e6).contains(factor));
        let factor =
            factor.ok_or_else(|| problem("factor", format!("`{text}`: give a number from 1 to 1000000")))?;
        Ok((factor * 1e3).round() as u32)
    };
    let by = || given.time("by_us")?.ok_or_else(|| problem("", "no `by_us`; give how many microseconds"));
    let what = match kind {
        What::Slow { .. } => What::Slow { permille: factor()? },
        What::Degrade { .. } => What::Degrade { permille: factor()? },
        What::Delay(_) => What::Delay(by()?),
        What::Skew(_) => What::Skew(by()?),
        other => other,
    };
    let takes_factor = matches!(what, What::Slow { .. } | What::Degrade { .. });
    let takes_by = matches!(what, What::Delay(_) | What::Skew(_));
    for (key, taken) in [("factor", takes_factor), ("by_us", takes_by), ("frame", what.is_of_frames())] {
        if given.text(key).is_some() && !taken {
            return Err(problem(key, "this fault takes none; leave it out"));
        }
    }
    Ok(what)
}

fn whom(given: &Given<'_>, what: What) -> Result<Whom, FaultProblem> {
    let rank = given.number("rank")?.map(|rank| Whom::Rank(RankId(rank)));
    let rack = given.number("rack")?.map(|rack| Whom::Rack(RackId(rack)));
    let both = given.word("both", &[("true", true), ("false", false)])?;
    let pair = match (given.number("from")?, given.number("to")?) {
        (Some(from), Some(to)) if from == to => {
            return Err(problem("to", format!("rank {to} sends itself nothing; give another rank")));
        }
        (Some(from), Some(to)) => {
            Some(Whom::Pair { from: RankId(from), to: RankId(to), both: both.unwrap_or(false) })
        }
        (None, None) if both.is_none() => None,
        _ => return Err(problem("", "a pair needs `from` and `to`, two ranks")),
    };
    let mut named = [rank, rack, pair].into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => Err(problem("", "give one of `rank`, `rack`, or `from` and `to`")),
        (Some(Whom::Pair { .. }), None) if !what.is_of_links() => {
            Err(problem("from", "this fault is of a rank; give `rank` or `rack`"))
        }
        (Some(whom), None) => Ok(whom),
        (None, _) if what.is_of_links() => Ok(Whom::All),
        (None, _) => Err(problem("", "whose? give `rank` or `rack`")),
    }
}

fn when(given: &Given<'_>, what: What) -> Result<When, FaultProblem> {
    let ppm: Option<u32> = given.number("ppm")?;
    if ppm.is_some_and(|ppm| ppm == 0 || ppm > 1_000_000) {
        return Err(problem("ppm", "give millionths, 1 to 1000000"));
    }
    let once = what.happens() && ppm.is_none();
    let steps = given.number("steps")?.or_else(|| once.then_some(1));
    if steps == Some(0) {
        return Err(problem("steps", "0 steps: it would never strike; give 1 at least"));
    }
    let phase = given.word("phase", &PHASES)?;
    if let Some(wrong) = phase.filter(|&phase| !what.strikes_in(phase)) {
        let can = PHASES.iter().filter(|(_, phase)| what.strikes_in(*phase)).map(|(name, _)| *name);
        let can = can.collect::<Vec<_>>().join(", ");
        let (of, wrong) =
            (if what.is_of_links() { "what travels" } else { "arithmetic" }, name_of(&PHASES, &wrong));
        return Err(problem(
            "phase",
            format!("this fault is of {of}, and can't strike in {wrong}; give one of {can}"),
        ));
    }
    let of_rank = matches!(what, What::Kill | What::Freeze);
    let from = given.time("at_us")?.unwrap_or_default();
    let until = given.time("for_us")?.map(|time| from.saturating_add(time));
    if what == What::Kill && until.is_some() {
        return Err(problem("for_us", "what is killed is gone; give freeze, or leave it out"));
    }
    Ok(When {
        step: given.number("step")?,
        steps,
        phase: phase.or_else(|| of_rank.then_some(FaultPhase::Dispatch)),
        from,
        until,
        frame: given.number("frame")?.unwrap_or(0),
        ppm,
    })
}

impl FromStr for Fault {
    type Err = FaultProblem;

    fn from_str(text: &str) -> Result<Self, FaultProblem> {
        let mut words = text.split_whitespace();
        let mut given = vec![("what", words.next().unwrap_or_default())];
        for word in words {
            let pair = word.split_once('=');
            given.push(pair.ok_or_else(|| problem("", format!("`{word}`: give key=value, such as rank=3")))?);
        }
        Self::read(&given)
    }
}

fn name_of<T: PartialEq>(known: &[(&'static str, T)], of: &T) -> &'static str {
    known.iter().find(|(_, value)| value == of).map_or("", |(name, _)| name)
}

/// As it is read; what has its default is left out.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = |permille: u32| f64::from(permille) / 1e3;
        let (kind, amount) = match self.what {
            What::Slow { permille } => (What::Slow { permille: 0 }, format!(" factor={}", factor(permille))),
            What::Degrade { permille } => {
                (What::Degrade { permille: 0 }, format!(" factor={}", factor(permille)))
            }
            What::Delay(by) => (What::Delay(Picos::ZERO), format!(" by_us={}", by.as_micros_f64())),
            What::Skew(by) => (What::Skew(Picos::ZERO), format!(" by_us={}", by.as_micros_f64())),
            other => (other, String::new()),
        };
        f.write_str(name_of(&NAMES, &kind))?;
        match self.whom {
            Whom::Rank(rank) => write!(f, " rank={}", rank.0)?,
            Whom::Rack(rack) => write!(f, " rack={}", rack.0)?,
            Whom::Pair { from, to, both } => {
                write!(f, " from={} to={}{}", from.0, to.0, if both { " both=true" } else { "" })?;
            }
            Whom::All => {}
        }
        if let Some(links) = &self.links {
            write!(f, " links={}", name_of(&LINKS, links))?;
        }
        f.write_str(&amount)?;
        self.when.write(f, self.what)
    }
}

impl When {
    fn write(&self, f: &mut fmt::Formatter<'_>, what: What) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, " step={step}")?;
        }
        let once = what.happens() && self.ppm.is_none();
        if let Some(steps) = self.steps.filter(|&steps| !(once && steps == 1)) {
            write!(f, " steps={steps}")?;
        }
        let by_default = matches!(what, What::Kill | What::Freeze).then_some(FaultPhase::Dispatch);
        if let Some(phase) = self.phase.filter(|_| self.phase != by_default) {
            write!(f, " phase={}", name_of(&PHASES, &phase))?;
        }
        if self.from > Picos::ZERO {
            write!(f, " at_us={}", self.from.as_micros_f64())?;
        }
        if let Some(until) = self.until {
            write!(f, " for_us={}", until.saturating_sub(self.from).as_micros_f64())?;
        }
        if self.frame > 0 {
            write!(f, " frame={}", self.frame)?;
        }
        self.ppm.map_or(Ok(()), |ppm| write!(f, " ppm={ppm}"))
    }
}

crate::serde_as_text!(Fault);
