//! Rank by rank: who waited for whom in each phase, how many rows each computes, before and after a placement, and how long rounds took.

use super::phases::plain;
use super::traffic::{chosen, over_racks};
use super::trust::clock;
use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Curve, Group, Lines, bars, lines, short};
use serde_json::{Value, json};
use study::layer::{Detail, Record, Report};

/// Most placements that have a picture of their loads.
const PLACEMENTS_MAX: usize = 6;
/// Most ranks that have a bar each; more are a curve.
const BARS_MAX: usize = 24;
const PHASES: [&str; 3] = ["dispatch", "experts", "combine"];

/// Waits and loads of the rows that have them.
pub(super) fn pictures(report: &Report, id: &str) -> Vec<Picture> {
    let rows = chosen(report);
    let mut pictures: Vec<Picture> =
        rows.iter().filter_map(|(record, detail)| waits(record, detail, id)).collect();
    let mut placements: Vec<&str> = Vec::new();
    for (record, detail) in over_racks(report) {
        if placements.len() < PLACEMENTS_MAX && !placements.contains(&record.placement.as_str()) {
            placements.push(&record.placement);
            pictures.extend(loads(record, detail, id));
            // One demand, whatever is placed for it.
            pictures.extend(experts(record, detail, id).filter(|_| placements.len() == 1));
        }
    }
    pictures.extend(rounds(&rows, id));
    pictures
}

fn times(detail: &Detail) -> [&[f64]; 3] {
    [&detail.rank_us.dispatch, &detail.rank_us.expert, &detail.rank_us.combine]
}

/// How long each rank waited for the last one of each phase.
fn waits(record: &Record, detail: &Detail, id: &str) -> Option<Picture> {
    let times = times(detail);
    let ranks = times[0].len();
    if ranks == 0 || times.iter().any(|times| times.len() != ranks) {
        return None;
    }
    let last = times.map(|times| times.iter().copied().fold(0.0, f64::max));
    let slowest =
        times.map(|times| (0..ranks).max_by(|&one, &other| times[one].total_cmp(&times[other])).unwrap_or(0));
    let wait = |phase: usize, rank: usize| last[phase] - times[phase][rank];
    let mean = |phase: usize| (0..ranks).map(|rank| wait(phase, rank)).sum::<f64>() / ranks as f64;
    let longest = (0..3).max_by(|&one, &other| mean(one).total_cmp(&mean(other)))?;
    let title = format!(
        "{}: ranks wait longest for rank {} in the {}, {} us of {} on average",
        record.title,
        slowest[longest],
        ["dispatch", "experts' phase", "combine"][longest],
        short(mean(longest)),
        short(last[longest])
    );
    let legend: Vec<String> =
        (0..3).map(|phase| format!("{}, for rank {}", PHASES[phase], slowest[phase])).collect();
    let svg = if ranks <= BARS_MAX {
        let group = |rank: usize| {
            let parts = (0..3).map(|phase| (phase, wait(phase, rank))).collect();
            Group { label: format!("rank {rank}"), bars: vec![Bar { parts, ..Bar::default() }] }
        };
        let axis = "wait, emulated us".to_owned();
        bars(&Bars { axis, legend, groups: (0..ranks).map(group).collect(), rule: None, told: title.clone() })
    } else {
        let of = |phase: usize, label: String| curve(label, (0..ranks).map(|rank| wait(phase, rank)));
        let (x, y) = ("rank".to_owned(), "wait, emulated us".to_owned());
        let curves = legend.into_iter().enumerate().map(|(phase, label)| of(phase, label)).collect();
        lines(&Lines { x, y, curves, told: title.clone(), ..Lines::default() })
    };
    let row = |rank: usize| -> Vec<Value> {
        let own = (0..3).map(|phase| json!(times[phase][rank]));
        let waited = (0..3).map(|phase| json!(wait(phase, rank)));
        [json!(rank)].into_iter().chain(own).chain(waited).collect()
    };
    let columns = PHASES.iter().map(|phase| format!("{phase}_us"));
    let columns = columns.chain(PHASES.iter().map(|phase| format!("waited in {phase}, us")));
    Some(Picture {
        id: format!("{id}-waits-{}", plain(&record.title)),
        title,
        caption: format!(
            "From each rank's own end of a phase to that of the last one, for which all wait; medians over rounds, {}.",
            clock(record.backend)
        ),
        columns: ["rank".to_owned()].into_iter().chain(columns).collect(),
        rows: (0..ranks).map(row).collect(),
        svg,
    })
}

fn curve(label: String, values: impl Iterator<Item = f64>) -> Curve {
    let points = values.enumerate().map(|(at, value)| (at as f64, value, 0.0)).collect();
    Curve { label, points, ..Curve::default() }
}

/// The largest over the mean.
fn uneven(values: &[u64]) -> f64 {
    let sum: u64 = values.iter().sum();
    let most = values.iter().copied().max().unwrap_or(0);
    if sum == 0 { 1.0 } else { most as f64 * values.len() as f64 / sum as f64 }
}

/// Rows that each rank computes, before and after the placement.
fn loads(record: &Record, detail: &Detail, id: &str) -> Option<Picture> {
    let (placed, linear) = (&detail.rows_per_rank, &detail.rows_per_rank_linear);
    if placed.is_empty() {
        return None;
    }
    let other = linear.len() == placed.len() && linear != placed;
    let before = if other { format!(", {:.2} with experts in order", uneven(linear)) } else { String::new() };
    let title = format!(
        "The fullest rank computes {:.2} times as many rows as the mean with placement {}{before}",
        uneven(placed),
        record.placement
    );
    let mut series = vec![(record.placement.clone(), placed)];
    if other {
        series.push(("before: experts in order".to_owned(), linear));
    }
    let told = title.clone();
    let svg = if placed.len() <= BARS_MAX {
        let group = |rank: usize| {
            let bar = |(colour, (_, values)): (usize, &(String, &Vec<u64>))| Bar {
                parts: vec![(colour, values[rank] as f64)],
                ..Bar::default()
            };
            Group { label: format!("rank {rank}"), bars: series.iter().enumerate().map(bar).collect() }
        };
        let groups = (0..placed.len()).map(group).collect();
        let legend = series.iter().map(|(name, _)| name.clone()).collect();
        bars(&Bars { axis: "rows computed in a step".to_owned(), legend, groups, rule: None, told })
    } else {
        let curves =
            series.iter().map(|(name, values)| curve(name.clone(), values.iter().map(|rows| *rows as f64)));
        let (x, y) = ("rank".to_owned(), "rows computed in a step".to_owned());
        lines(&Lines { x, y, curves: curves.collect(), told, ..Lines::default() })
    };
    let row = |rank: usize| vec![json!(rank), json!(placed[rank]), json!(linear.get(rank))];
    Some(Picture {
        id: format!("{id}-loads-{}", plain(&record.placement)),
        title,
        caption: "Rows (token, expert) of one step, counted by the plan that every verified run has kept; which experts tokens pick is assumed \
                  (routing)."
            .to_owned(),
        columns: ["rank", "rows_per_rank", "rows_per_rank_linear"].map(str::to_owned).to_vec(),
        rows: (0..placed.len()).map(row).collect(),
        svg,
    })
}

/// Tokens of each expert, the most popular first.
fn experts(record: &Record, detail: &Detail, id: &str) -> Option<Picture> {
    let tokens = &detail.tokens_per_expert;
    let mut ranked: Vec<(usize, u64)> = tokens.iter().copied().enumerate().collect();
    ranked.sort_by_key(|(expert, tokens)| (std::cmp::Reverse(*tokens), *expert));
    let &(most, count) = ranked.first().filter(|(_, tokens)| *tokens > 0)?;
    let idle = ranked.iter().filter(|(_, tokens)| *tokens == 0).count();
    let title = format!(
        "Expert {most} gets {count} tokens of a step, {:.1} times the mean; {idle} of {} experts get none",
        uneven(tokens),
        tokens.len()
    );
    let picture = Lines {
        x: "experts, the most popular first".to_owned(),
        y: "tokens of a step".to_owned(),
        curves: vec![curve(String::new(), ranked.iter().map(|(_, tokens)| *tokens as f64))],
        told: title.clone(),
        ..Lines::default()
    };
    Some(Picture {
        id: format!("{id}-experts-{}", plain(&record.placement)),
        title,
        caption: "Tokens of one step, replicas together, counted by the plan; which experts tokens pick is assumed (routing).".to_owned(),
        columns: ["expert", "tokens_per_expert"].map(str::to_owned).to_vec(),
        rows: ranked.iter().map(|(expert, tokens)| vec![json!(expert), json!(tokens)]).collect(),
        svg: lines(&picture),
    })
}

/// How long the rounds' all-to-alls took, the shortest first; nothing where all are equal.
fn rounds(rows: &[(&Record, &Detail)], id: &str) -> Option<Picture> {
    let (mut curves, mut data) = (Vec::new(), Vec::new());
    let mut widest = (1.0, String::new());
    for (record, detail) in rows {
        let pairs = detail.round_us.dispatch.iter().zip(&detail.round_us.combine);
        let mut us: Vec<f64> = pairs.map(|(dispatch, combine)| dispatch + combine).collect();
        us.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (us.first(), us.last()) else { continue };
        if least == most || least <= 0.0 {
            continue;
        }
        if most / least > widest.0 {
            widest = (most / least, record.title.clone());
        }
        let share = |at: usize| 100.0 * (at + 1) as f64 / us.len() as f64;
        let points = us.iter().enumerate().map(|(at, us)| (*us, share(at), 0.0)).collect();
        data.extend(
            us.iter().enumerate().map(|(at, us)| vec![json!(record.title), json!(us), json!(share(at))]),
        );
        curves.push(Curve {
            label: record.title.clone(),
            points,
            marked: us.len() <= 20,
            ..Curve::default()
        });
    }
    let (record, _) = rows.first()?;
    if curves.is_empty() {
        return None;
    }
    let title = format!(
        "The slowest round's all-to-all takes {:.2} times as long as the fastest: {}",
        widest.0, widest.1
    );
    let picture = Lines {
        x: "all-to-all of a round, emulated us".to_owned(),
        y: "rounds that took no longer, %".to_owned(),
        curves,
        told: title.clone(),
        ..Lines::default()
    };
    Some(Picture {
        id: format!("{id}-rounds"),
        title,
        caption: format!("Every round of every seed, {}.", clock(record.backend)),
        columns: ["configuration", "a2a_us", "rounds that took no longer, %"].map(str::to_owned).to_vec(),
        rows: data,
        svg: lines(&picture),
    })
}
