//! Who sends how many bytes to whom, rank by rank or rack by rack, and how full each port is.

use super::phases::plain;
use super::rows::{links, told_by};
use super::trust::clock;
use crate::page::Picture;
use crate::page::svg::{Curve, Heat, Lines, heat, lines, short};
use serde_json::{Value, json};
use study::layer::{Detail, MatrixBy, Record, Report};

/// Most ranks, or racks, that a heat map has one by one.
pub(super) const SIDE_MAX: usize = 160;
/// Most configurations that have pictures rank by rank.
const CHOSEN_MAX: usize = 3;

/// The rows over several racks that have pictures rank by rank: those of the first latency on the backend nearest to reality.
pub(super) fn chosen(report: &Report) -> Vec<(&Record, &Detail)> {
    over_racks(report).take(CHOSEN_MAX).collect()
}

/// All of those, without limited gates, whose rows are others'.
pub(super) fn over_racks(report: &Report) -> impl Iterator<Item = (&Record, &Detail)> {
    let (latency, backend) = told_by(report);
    let rows = report.rows.iter().filter(move |record| {
        record.latency == latency
            && record.backend == backend
            && record.racks > 1
            && record.gate_rack_limit.is_none()
    });
    rows.filter_map(|record| Some((record, record.detail.as_ref()?)))
}

/// One phase of a row that moves bytes.
struct Moves<'a> {
    record: &'a Record,
    detail: &'a Detail,
    phase: &'static str,
    bytes: &'a [Vec<u64>],
    us: f64,
    /// Bytes a second of a scale-up and of a scale-out port in this phase.
    rates: Option<[f64; 2]>,
}

/// Heat maps and ports of both phases.
pub(super) fn pictures(report: &Report, id: &str) -> Vec<Picture> {
    let rate = |keys: [&str; 2]| {
        let link = keys.iter().find_map(|key| report.config.get(key))?;
        link.get("bytes_per_s").and_then(Value::as_f64).filter(|rate| *rate > 0.0)
    };
    let rates = |up: [&str; 2], out: [&str; 2]| Some([rate(up)?, rate(out)?]);
    let mut pictures = Vec::new();
    for (record, detail) in chosen(report) {
        let dispatch = Moves {
            record,
            detail,
            phase: "dispatch",
            bytes: &detail.dispatch_bytes,
            us: record.dispatch_us,
            rates: rates(["scale_up", "scale_up"], ["scale_out", "scale_out"]),
        };
        let combine = Moves {
            record,
            detail,
            phase: "combine",
            bytes: &detail.combine_bytes,
            us: record.combine_us,
            rates: rates(["combine_scale_up", "scale_up"], ["combine_scale_out", "scale_out"]),
        };
        for moves in [dispatch, combine] {
            pictures.extend(map(&moves, id));
            pictures.extend(ports(&moves, id));
        }
    }
    pictures
}

/// The first rank of each rack, and the rack of each rank.
pub(super) fn racks(detail: &Detail) -> (Vec<usize>, Vec<usize>) {
    let (mut borders, mut of) = (Vec::new(), Vec::new());
    for (rack, size) in detail.rack_sizes.iter().enumerate() {
        borders.push(of.len());
        of.resize(of.len() + *size as usize, rack);
    }
    (borders, of)
}

/// The matrix as a heat map; of many ranks rack by rack.
fn map(moves: &Moves<'_>, id: &str) -> Option<Picture> {
    let Moves { record, detail, phase, bytes, us, rates } = moves;
    let total: u64 = bytes.iter().flatten().sum();
    if total == 0 {
        return None;
    }
    let (borders, rack_of) = racks(detail);
    let ranks = detail.matrix_by == MatrixBy::Rank;
    let rack = |place: usize| if ranks { rack_of.get(place).copied().unwrap_or(0) } else { place };
    let crossing: u64 =
        cells(bytes).filter(|(from, to, _)| rack(*from) != rack(*to)).map(|cell| cell.2).sum();
    let by_rank = ranks && bytes.len() <= SIDE_MAX;
    let shown: Vec<Vec<u64>> = if by_rank || !ranks {
        bytes.to_vec()
    } else {
        let mut sums = vec![vec![0; detail.rack_sizes.len()]; detail.rack_sizes.len()];
        for (from, to, bytes) in cells(bytes) {
            sums[rack(from)][rack(to)] += bytes;
        }
        sums
    };
    if shown.len() > SIDE_MAX || shown.len() < 2 {
        return None;
    }
    let what = if by_rank { "rank" } else { "rack" };
    let (from, to, most) = cells(&shown).max_by_key(|cell| cell.2)?;
    let title = format!(
        "{}, {phase}: {:.0}% of {} cross racks; most, {}, goes from {what} {from} to {to}",
        record.title,
        100.0 * crossing as f64 / total as f64,
        of_bytes(total),
        of_bytes(most)
    );
    let mut also = vec![("GB/s over the phase".to_owned(), 1e-3 / us)];
    if let Some([up, out]) = rates.filter(|_| by_rank) {
        let rate = if rack(from) == rack(to) { up } else { out };
        also.push(("% of the port".to_owned(), 1e8 / us / rate));
    }
    let picture = Heat {
        label: format!("bytes, {what} to {what}"),
        also: also.into_iter().filter(|(_, factor)| factor.is_finite()).collect(),
        names: (format!("from {what}"), format!("to {what}")),
        values: shown.iter().map(|row| row.iter().map(|bytes| *bytes as f64).collect()).collect(),
        from: 0.0,
        borders: if by_rank { borders[1..].to_vec() } else { Vec::new() },
        told: title.clone(),
    };
    let summed = match by_rank {
        true => "lines part the racks",
        false => {
            "there are too many ranks to show one by one: a cell is all that the ranks of one rack send to those of another"
        }
    };
    Some(Picture {
        id: format!("{id}-{phase}-{}", plain(&record.title)),
        title,
        caption: format!(
            "Bytes of one step, counted as the ranks sent them, hops by gateways included; {summed}. GB/s are these over the {phase}'s {} us, {}; \
             a port's rate is assumed.",
            short(*us),
            clock(record.backend)
        ),
        columns: [format!("bytes from {what}")]
            .into_iter()
            .chain((0..shown.len()).map(|to| format!("to {to}")))
            .collect(),
        rows: shown
            .iter()
            .enumerate()
            .map(|(from, row)| {
                [json!(from)].into_iter().chain(row.iter().map(|bytes| json!(bytes))).collect()
            })
            .collect(),
        svg: heat(&picture),
    })
}

/// Bytes in words: 88.9 kB.
fn of_bytes(bytes: u64) -> String {
    let text = short(bytes as f64);
    match text.chars().last().filter(char::is_ascii_alphabetic) {
        Some(letter) => format!("{} {letter}B", &text[..text.len() - 1]),
        None => format!("{text} B"),
    }
}

fn cells(matrix: &[Vec<u64>]) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
    let row = |(from, row): (usize, &'_ Vec<u64>)| {
        row.iter().copied().enumerate().map(move |(to, bytes)| (from, to, bytes)).collect::<Vec<_>>()
    };
    matrix.iter().enumerate().flat_map(row)
}

/// How full each rank's four ports are over the phase.
fn ports(moves: &Moves<'_>, id: &str) -> Option<Picture> {
    const PORTS: [&str; 4] = ["scale-up, out", "scale-up, in", "scale-out, out", "scale-out, in"];
    let Moves { record, detail, phase, bytes, us, rates } = moves;
    let rates = rates.filter(|_| detail.matrix_by == MatrixBy::Rank && *us > 0.0 && !bytes.is_empty())?;
    let (_, rack_of) = racks(detail);
    let mut sums = vec![[0u64; 4]; bytes.len()];
    for (from, to, bytes) in cells(bytes).filter(|(from, to, _)| from != to) {
        let crosses = rack_of.get(from) != rack_of.get(to);
        let first = if crosses { 2 } else { 0 };
        sums[from][first] += bytes;
        sums[to][first + 1] += bytes;
    }
    let share = |port: usize, bytes: u64| 100.0 * bytes as f64 / (rates[port / 2] * us * 1e-6);
    let all = sums
        .iter()
        .enumerate()
        .flat_map(|(rank, sums)| sums.iter().enumerate().map(move |(port, bytes)| (rank, port, *bytes)));
    let (rank, port, most) =
        all.max_by(|one, other| share(one.1, one.2).total_cmp(&share(other.1, other.2)))?;
    let title = format!(
        "{}, {phase}: the fullest port is rank {rank}'s ({}), {:.0}% of its rate over the phase",
        record.title,
        PORTS[port],
        share(port, most)
    );
    let curve = |(port, label): (usize, &&str)| Curve {
        label: (*label).to_owned(),
        points: sums
            .iter()
            .enumerate()
            .map(|(rank, sums)| (rank as f64, share(port, sums[port]), 0.0))
            .collect(),
        marked: sums.len() <= 32,
        ..Curve::default()
    };
    let picture = Lines {
        x: "rank".to_owned(),
        y: "share of the port's rate, %".to_owned(),
        curves: PORTS.iter().enumerate().map(curve).collect(),
        told: title.clone(),
        ..Lines::default()
    };
    let row = |(rank, sums): (usize, &[u64; 4])| {
        let shares = sums.iter().enumerate().map(|(port, bytes)| json!(share(port, *bytes)));
        [json!(rank)].into_iter().chain(sums.iter().map(|bytes| json!(bytes))).chain(shares).collect()
    };
    let named = |unit: &str| PORTS.map(|port| format!("{port}, {unit}"));
    Some(Picture {
        id: format!("{id}-ports-{phase}-{}", plain(&record.title)),
        title,
        caption: format!(
            "Counted bytes of one step over (assumed rate x the {phase}'s {} us, {}), {}. At 100% a port was never idle; what lies below waited.",
            short(*us),
            clock(record.backend),
            links(&record.latency)
        ),
        columns: ["rank".to_owned()]
            .into_iter()
            .chain(named("bytes"))
            .chain(named("% of the rate"))
            .collect(),
        rows: sums.iter().enumerate().map(row).collect(),
        svg: lines(&picture),
    })
}
