//! What stands beside the best: the same with one word changed, and the limits at which the runner-up would win.

use super::search::Search;
use super::{Binds, Choice, Layout, Limits};
use serde::Serialize;

/// Factors of a limit that are looked at.
const FACTORS: [f64; 8] = [0.25, 0.5, 0.7, 0.85, 1.2, 1.5, 2.0, 4.0];

impl Binds {
    /// Why not even the least load can be.
    pub(super) fn refusal(self) -> String {
        match self {
            Self::Memory => "no sequence of this length fits beside the weights",
            Self::Ttft => "a prompt alone takes longer than the limit on TTFT",
            Self::Tpot => "a step takes longer than the limit on TPOT, whoever rides",
            Self::Prompts => "prompts fill all steps",
            Self::Seats => "a step has too few tokens",
        }
        .to_owned()
    }
}

/// A limit at which the runner-up is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    /// Which limit: `ttft_ms` or `tpot_ms`.
    pub limit: &'static str,
    /// Its value there, ms.
    pub at_ms: f64,
}

/// What requests a second `choice` carries under `limits`, by closed forms, with its replicas as they are.
fn carried(search: &mut Search<'_>, choice: &Choice, limits: Limits) -> f64 {
    let mut least = f64::INFINITY;
    for part in &choice.parts {
        let entry = search.entry_mut(&part.layout);
        let rate = entry.curve.best(limits).0.map_or(0.0, |(_, steady)| steady.rate);
        least = least.min(rate * f64::from(part.replicas));
    }
    least
}

/// The nearest value of each limit, above and below, at which `other` carries more a rank than `best`.
pub(super) fn flips(search: &mut Search<'_>, best: &Choice, other: &Choice) -> Vec<Flip> {
    let limits = search.ask.limits;
    let mut flips = Vec::new();
    let wins = |search: &mut Search<'_>, limits: Limits| {
        let of = |search: &mut Search<'_>, choice: &Choice| {
            carried(search, choice, limits) / f64::from(choice.ranks)
        };
        of(search, other) > of(search, best)
    };
    if wins(search, limits) {
        // Closed forms put the two the other way round: they say nothing about when.
        return flips;
    }
    for limit in ["ttft_ms", "tpot_ms"] {
        let (below, above) = FACTORS.split_at(4);
        for factors in [below.iter().rev().collect::<Vec<_>>(), above.iter().collect()] {
            let changed = |factor: f64| match limit {
                "ttft_ms" => Limits { ttft_ms: limits.ttft_ms * factor, ..limits },
                _ => Limits { tpot_ms: limits.tpot_ms * factor, ..limits },
            };
            if let Some(&&factor) = factors.iter().find(|factor| wins(search, changed(***factor))) {
                let at = changed(factor);
                flips.push(Flip { limit, at_ms: if limit == "ttft_ms" { at.ttft_ms } else { at.tpot_ms } });
            }
        }
    }
    flips
}

/// The best with one word changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// The word and its other value.
    pub change: String,
    /// Its requests a second over those of the best, by closed forms; 0 where none keeps the limits.
    pub share: f64,
    /// What it is bound by.
    pub binds: Option<Binds>,
}

/// A word of a layout: its name, and its value in words.
type Word = (&'static str, fn(&Layout) -> String);

const WORDS: [Word; 5] = [
    ("racks x ranks", |layout| format!("{} x {}", layout.racks, layout.ranks_per_rack)),
    ("pp", |layout| layout.pp.to_string()),
    ("tp", |layout| layout.tp.to_string()),
    ("scheme", |layout| layout.scheme.to_string()),
    ("overlap", |layout| {
        if layout.overlap == serving::cost::Overlap::None { "none" } else { "two_batch" }.to_owned()
    }),
];

/// The best uses of the yard in which one part differs from that of `best` in one word, whatever else of it changes too, each value once; and the
/// best without pools, or with them. By closed forms.
pub(super) fn near(search: &Search<'_>, best: &Choice) -> Vec<Near> {
    let base = search.by_closed_forms(&best.parts.iter().map(|part| part.layout).collect::<Vec<_>>());
    let Some(base) = base else { return Vec::new() };
    let share = |rate: f64| rate / base;
    let pools = best.parts.len() > 1;
    let mut all = vec![Near {
        change: if pools { "no pools" } else { "pools of prefill and decode" }.to_owned(),
        share: share(search.best_by_closed_forms(!pools)),
        binds: None,
    }];
    for (at, part) in best.parts.iter().enumerate() {
        for (name, value) in WORDS {
            let mine = value(&part.layout);
            let mut values: Vec<(String, f64, Binds)> = Vec::new();
            for entry in search.of_role(part.layout.role) {
                let word = value(&entry.curve.layout);
                if word == mine {
                    continue;
                }
                let mut layouts: Vec<Layout> = best.parts.iter().map(|part| part.layout).collect();
                layouts[at] = entry.curve.layout;
                let rate = search.by_closed_forms(&layouts).unwrap_or(0.0);
                match values.iter_mut().find(|known| known.0 == word) {
                    Some(known) if known.1 < rate => *known = (word, rate, entry.binds),
                    Some(_) => {}
                    None => values.push((word, rate, entry.binds)),
                }
            }
            let role = part.layout.role.prefix();
            all.extend(values.into_iter().map(|(word, rate, binds)| Near {
                change: format!("{role}{name} {word} for {mine}"),
                share: share(rate),
                binds: Some(binds),
            }));
        }
    }
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}
