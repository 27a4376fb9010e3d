//! Serving: what requests wait for and see, what fills memory, where stages spend their time.

use super::rows::{BARS_MAX, named};
use super::trust::clocks;
use crate::page::Picture;
use crate::page::svg::{Bar, Bars, Curve, Group, Lines, Stretch, Stretches, bars, lines, short, stretches};
use serde_json::{Value, json};
use study::experiment::SummaryRow;
use study::layer::BackendKind;

/// The pictures of serving runs, a bar or group a row that can be trusted.
pub(super) fn pictures(mut rows: Vec<SummaryRow<'_>>, id: &str) -> Vec<Picture> {
    rows.retain(|row| row.verified() && row.valid());
    let rows = rows.as_slice();
    if rows.is_empty() || rows.len() > BARS_MAX {
        return Vec::new();
    }
    let mut pictures = Vec::new();
    for (key, words) in [
        ("ttft", "time to the first token"),
        ("tpot", "time per output token"),
        ("queue_wait", "wait in the queue"),
    ] {
        pictures.extend(latency(rows, id, key, words));
    }
    pictures.extend(over_time(rows, id));
    pictures.extend(seats(rows, id));
    pictures.extend(timeline(rows, id));
    pictures.extend(shares(rows, id));
    pictures.extend(memory(rows, id));
    pictures
}

/// Milliseconds in words, as seconds where they are many.
fn of_ms(ms: f64) -> String {
    if ms >= 1e4 { format!("{} s", short(ms / 1e3)) } else { format!("{} ms", short(ms)) }
}

fn label(row: &SummaryRow<'_>) -> String {
    format!("{}, {}", named(row), row.backend)
}

fn clocks_of(rows: &[SummaryRow<'_>]) -> String {
    let ran = |kind: &BackendKind| rows.iter().any(|row| row.backend == *kind);
    clocks(&BackendKind::ALL.into_iter().filter(ran).collect::<Vec<_>>())
}

/// Numbers of every row at `keys`, those of rows that have all of them.
fn values(rows: &[SummaryRow<'_>], keys: &[&str]) -> Vec<(String, Vec<f64>)> {
    let of = |row: &SummaryRow<'_>| {
        let values: Option<Vec<f64>> =
            keys.iter().map(|key| row.estimate(key).map(|estimate| estimate.mean)).collect();
        Some((label(row), values?))
    };
    rows.iter().filter_map(of).collect()
}

fn data(values: &[(String, Vec<f64>)]) -> Vec<Vec<Value>> {
    let row = |(label, values): &(String, Vec<f64>)| {
        [json!(label)].into_iter().chain(values.iter().map(|value| json!(value))).collect()
    };
    values.iter().map(row).collect()
}

fn columns(keys: &[&str]) -> Vec<String> {
    ["row"].iter().chain(keys).map(|key| (*key).to_owned()).collect()
}

/// Median, 90th and 99th percentile of one latency.
fn latency(rows: &[SummaryRow<'_>], id: &str, key: &str, words: &str) -> Option<Picture> {
    let keys = ["median", "p90", "p99"].map(|of| format!("{of}_{key}_ms"));
    let keys = [keys[0].as_str(), &keys[1], &keys[2]];
    let values = values(rows, &keys);
    let (worst, most) = values.iter().max_by(|one, other| one.1[2].total_cmp(&other.1[2]))?;
    if most[2] == 0.0 {
        return None;
    }
    let (median, high) = (of_ms(most[0]), of_ms(most[2]));
    let title = match key {
        "queue_wait" => format!("One request of 100 waits at least {high} in the queue: {worst}"),
        _ => format!("The {words} is {high} at the 99th percentile, {median} at the median: {worst}"),
    };
    let group = |(label, values): &(String, Vec<f64>)| {
        let bars =
            values.iter().enumerate().map(|(at, value)| Bar { parts: vec![(at, *value)], ..Bar::default() });
        Group { label: label.clone(), bars: bars.collect() }
    };
    let drawn = Bars {
        axis: format!("{words}, ms"),
        legend: ["median", "90th percentile", "99th percentile"].map(str::to_owned).to_vec(),
        groups: values.iter().map(group).collect(),
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-{}", key.replace('_', "-")),
        title,
        caption: format!(
            "Over all answered requests, means over seeds; times of steps are {}.",
            clocks_of(rows)
        ),
        columns: columns(&keys),
        rows: data(&values),
        svg: bars(&drawn),
    })
}

/// Those aboard, and the queue.
fn seats(rows: &[SummaryRow<'_>], id: &str) -> Option<Picture> {
    let keys = ["mean_batch", "max_num_running", "max_num_waiting"];
    let values = values(rows, &keys);
    let (fullest, most) = values.iter().max_by(|one, other| one.1[2].total_cmp(&other.1[2]))?;
    let title = match most[2] {
        0.0 => "No request ever waited to come aboard".to_owned(),
        waiting => format!(
            "At most {} requests waited, at most {} were aboard: {fullest}",
            short(waiting),
            short(most[1])
        ),
    };
    let group = |(label, values): &(String, Vec<f64>)| {
        let bars =
            values.iter().enumerate().map(|(at, value)| Bar { parts: vec![(at, *value)], ..Bar::default() });
        Group { label: label.clone(), bars: bars.collect() }
    };
    let drawn = Bars {
        axis: "requests".to_owned(),
        legend: ["on a train, mean", "aboard, most", "waiting, most"].map(str::to_owned).to_vec(),
        groups: values.iter().map(group).collect(),
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-seats"),
        title,
        caption: format!(
            "Counted; arrivals are the experiment's assumption, times of steps are {}.",
            clocks_of(rows)
        ),
        columns: columns(&keys),
        rows: data(&values),
        svg: bars(&drawn),
    })
}

/// Where stages spend their time.
fn shares(rows: &[SummaryRow<'_>], id: &str) -> Option<Picture> {
    let keys = ["share.local", "share.experts", "share.all_to_all", "idle_share"];
    let values = values(rows, &keys);
    let (busiest, most) = values.iter().max_by(|one, other| one.1[2].total_cmp(&other.1[2]))?;
    let title = format!("The all-to-all is at most {:.0}% of the stages' work: {busiest}", 100.0 * most[2]);
    let groups = values.iter().map(|(label, values)| {
        let work: f64 = values[..3].iter().sum();
        let parts = values[..3].iter().enumerate().map(|(at, share)| (at, 100.0 * share)).collect();
        let note = Some(format!("idle {:.0}%", 100.0 * values[3]));
        debug_assert!(work >= 0.0);
        Group { label: label.clone(), bars: vec![Bar { parts, note, ..Bar::default() }] }
    });
    let drawn = Bars {
        axis: "share of the time in which stages worked, %".to_owned(),
        legend: ["own work (attention, dense, head)", "experts", "all-to-all"].map(str::to_owned).to_vec(),
        groups: groups.collect(),
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-shares"),
        title,
        caption: format!(
            "Parts that overlap add up to more than 100%; idle is the share of the run in which stages had nothing to do. Times are {}.",
            clocks_of(rows)
        ),
        columns: columns(&keys),
        rows: data(&values),
        svg: bars(&drawn),
    })
}

/// What fills the fullest rank of each stage.
fn memory(rows: &[SummaryRow<'_>], id: &str) -> Option<Picture> {
    const KINDS: [(&str, &str); 4] = [
        ("weights", "weights_bytes"),
        ("buffers", "buffers_bytes"),
        ("caches of sequences, most", "kv_bytes_max"),
        ("kept for ended requests", "kept_bytes"),
    ];
    let (mut groups, mut data) = (Vec::new(), Vec::new());
    let mut fullest = (0.0, String::new());
    for row in rows {
        // Seeds differ in caches alone: the first stands for them.
        let Some(record) = row.records.first() else { continue };
        let stages = record.value("memory").and_then(Value::as_array).map_or(0, Vec::len);
        for stage in 0..stages {
            let bytes = |key: &str| record.number(&format!("memory.{stage}.{key}"));
            let Some(kinds) = KINDS.iter().map(|(_, key)| bytes(key)).collect::<Option<Vec<f64>>>() else {
                continue;
            };
            let Some(capacity) = bytes("capacity_bytes") else { continue };
            let label = if stages > 1 { format!("{}, stage {stage}", label(row)) } else { label(row) };
            let used: f64 = kinds.iter().sum();
            if capacity > 0.0 && used / capacity > fullest.0 {
                fullest = (used / capacity, label.clone());
            }
            let parts = kinds.iter().enumerate().map(|(at, bytes)| (at, bytes / 1e9)).collect();
            let note = Some(format!("of {:.0} GB", capacity / 1e9));
            groups.push(Group { label: label.clone(), bars: vec![Bar { parts, note, ..Bar::default() }] });
            data.push(
                [json!(label), json!(capacity)]
                    .into_iter()
                    .chain(kinds.iter().map(|bytes| json!(bytes)))
                    .collect(),
            );
        }
    }
    if groups.is_empty() || groups.len() > BARS_MAX {
        return None;
    }
    let title =
        format!("The fullest rank uses {:.0}% of the memory it may use: {}", 100.0 * fullest.0, fullest.1);
    let drawn = Bars {
        axis: "memory of the stage's fullest rank, GB".to_owned(),
        legend: KINDS.map(|(kind, _)| kind.to_owned()).to_vec(),
        groups,
        rule: None,
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-memory"),
        title,
        caption: "Counted from the model's shape and the sequences aboard; the rank's memory is the hardware preset's, assumed. 1 GB is 10^9 bytes."
            .to_owned(),
        columns: ["row", "capacity_bytes"].into_iter().chain(KINDS.map(|(_, key)| key)).map(str::to_owned).collect(),
        rows: data,
        svg: bars(&drawn),
    })
}

/// The row in which most requests waited, with what its record has at `key`.
fn busiest<'a>(rows: &'a [SummaryRow<'_>], key: &str) -> Option<(&'a SummaryRow<'a>, &'a Value)> {
    let waited = |row: &SummaryRow<'_>| row.estimate("max_num_waiting").map_or(0.0, |estimate| estimate.mean);
    let all = rows.iter().filter_map(|row| Some((row, row.records.first()?.value(key)?)));
    all.max_by(|one, other| waited(one.0).total_cmp(&waited(other.0)))
}

/// Queue, sequences aboard and trains over time, of the row in which most waited.
fn over_time(rows: &[SummaryRow<'_>], id: &str) -> Option<Picture> {
    const KINDS: [(&str, &str); 3] =
        [("waiting", "waiting"), ("aboard", "seated"), ("trains under way", "trains")];
    /// Beside more requests a train would lie on the axis.
    const TRAINS_SHOWN: f64 = 20.0;
    let (row, told) = busiest(rows, "over_time")?;
    let interval = told.get("interval_ms").and_then(Value::as_f64)?;
    let counts = KINDS.map(|(_, key)| {
        let list = told.get(key).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_f64).collect::<Vec<f64>>()).unwrap_or_default()
    });
    let count = counts[0].len();
    if count < 2 || counts.iter().any(|counts| counts.len() != count) {
        return None;
    }
    let at = |interval_number: usize| (interval_number as f64 + 0.5) * interval;
    let [waiting, aboard, trains] =
        [0, 1, 2].map(|what: usize| counts[what].iter().copied().fold(0.0, f64::max));
    let when = counts[0].iter().position(|count| *count == waiting).unwrap_or(0);
    let pools = row.records.first()?.value("pools").is_some_and(Value::is_object);
    let queue = if pools { "queue for answers" } else { "queue" };
    let title = match waiting {
        0.0 => {
            format!("No request waited in the {queue}; at most {} were aboard: {}", short(aboard), label(row))
        }
        _ => format!(
            "The {queue} was longest, {} requests, in the first {}; at most {} were aboard: {}",
            short(waiting),
            of_ms((when as f64 + 1.0) * interval),
            short(aboard),
            label(row)
        ),
    };
    let kinds_drawn = if trains * TRAINS_SHOWN < waiting.max(aboard) { 2 } else { KINDS.len() };
    let (unit, unit_ms) = if interval * count as f64 >= 1e4 { ("s", 1e3) } else { ("ms", 1.0) };
    let curve = |((name, _), counts): (&(&str, &str), &Vec<f64>)| Curve {
        label: (*name).to_owned(),
        points: counts
            .iter()
            .enumerate()
            .map(|(number, count)| (at(number) / unit_ms, *count, 0.0))
            .collect(),
        ..Curve::default()
    };
    let drawn = Lines {
        x: format!("time since the first request, {unit}"),
        y: if kinds_drawn == KINDS.len() { "requests; trains" } else { "requests" }.to_owned(),
        curves: KINDS.iter().zip(&counts).take(kinds_drawn).map(curve).collect(),
        told: title.clone(),
        ..Lines::default()
    };
    let line = |number: usize| {
        [json!(at(number))].into_iter().chain(counts.iter().map(|counts| json!(counts[number]))).collect()
    };
    Some(Picture {
        id: format!("{id}-over-time"),
        title,
        caption: format!(
            "The most at any moment of each of {count} intervals of {} ms, first seed; at most {} trains were under way. Arrivals are assumed, times of steps are {}.",
            short(interval),
            short(trains),
            clocks_of(rows)
        ),
        columns: ["middle of the interval, ms", "waiting", "aboard", "trains"].map(str::to_owned).to_vec(),
        rows: (0..count).map(line).collect(),
        svg: lines(&drawn),
    })
}

/// What the stages of a pipeline did first.
fn timeline(rows: &[SummaryRow<'_>], id: &str) -> Option<Picture> {
    let (row, told) = busiest(rows, "spans")?;
    let number = |span: &Value, key: &str| span.get(key).and_then(Value::as_f64);
    let read = |span: &Value| {
        Some([
            number(span, "stage")?,
            number(span, "trip")?,
            number(span, "begin_us")?,
            number(span, "end_us")?,
        ])
    };
    let spans: Vec<[f64; 4]> = told.as_array()?.iter().filter_map(read).collect();
    let began = spans.iter().map(|span| span[2]).reduce(f64::min)?;
    let ended = spans.iter().map(|span| span[3]).fold(began, f64::max);
    let stages = spans.iter().map(|span| span[0] as usize).max()? + 1;
    if stages > BARS_MAX || ended <= began {
        return None;
    }
    // What is remembered ends with a trip, not at a time: a stage's own first and last span count.
    let (mut busy, mut whole) = (0.0, 0.0);
    for stage in 0..stages {
        let own = || spans.iter().filter(|span| span[0] as usize == stage);
        busy += own().map(|span| span[3] - span[2]).sum::<f64>();
        let first = own().map(|span| span[2]).reduce(f64::min).unwrap_or(0.0);
        whole += own().map(|span| span[3]).fold(first, f64::max) - first;
    }
    let idle = if whole > 0.0 { 1.0 - busy / whole } else { 0.0 };
    let title = format!(
        "Between their first and last ride shown the {stages} stages wait {:.0}% of the time: {}",
        100.0 * idle,
        label(row)
    );
    let drawn = Stretches {
        axis: "time since the first departure, ms; the numbers are rides of trains".to_owned(),
        rows: (0..stages).map(|stage| format!("stage {stage}")).collect(),
        stretches: spans
            .iter()
            .map(|[stage, trip, begin, end]| Stretch {
                row: *stage as usize,
                begin: (begin - began) / 1e3,
                end: (end - began) / 1e3,
                colour: *trip as usize % 4,
                text: format!("{trip}"),
            })
            .collect(),
        told: title.clone(),
    };
    Some(Picture {
        id: format!("{id}-timeline"),
        title,
        caption: format!(
            "The first {} times that a stage worked, the pipeline still filling, first seed. Times of steps are {}.",
            spans.len(),
            clocks_of(rows)
        ),
        columns: ["stage", "trip", "begin_us", "end_us"].map(str::to_owned).to_vec(),
        rows: spans.iter().map(|span| span.iter().map(|number| json!(number)).collect()).collect(),
        svg: stretches(&drawn),
    })
}
