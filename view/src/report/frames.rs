//! What frames say: when the last row of each rank was with each other, and how busy ports were as a phase went on.

use super::phases::plain;
use super::traffic::{SIDE_MAX, chosen, racks};
use crate::page::Picture;
use crate::page::svg::{Curve, Heat, Lines, heat, lines, short};
use serde_json::{Value, json};
use study::layer::{BackendKind, Detail, MatrixBy, PortsOverTime, Record, Report, Way};

/// Both kinds of pictures of the rows that have them.
pub(super) fn pictures(report: &Report, id: &str) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for (record, detail) in chosen(report) {
        for phase in ["dispatch", "combine"] {
            pictures.extend(waits(record, detail, phase, id));
            pictures.extend(over_time(record, detail, phase, id));
        }
    }
    pictures
}

/// By whose clock frames have their times.
const fn clock(backend: BackendKind) -> &'static str {
    match backend {
        BackendKind::Quic => {
            "in a measured step, by the stamps that its frames had, so without what the host was late"
        }
        BackendKind::Sim | BackendKind::Analytic => "simulated",
    }
}

/// Until when each rank waited for the last row of each other, as a heat map.
fn waits(record: &Record, detail: &Detail, phase: &str, id: &str) -> Option<Picture> {
    let mut detail = detail.clone();
    if detail.matrix_by == MatrixBy::Rank && detail.rack_sizes.iter().sum::<u32>() as usize > SIDE_MAX {
        detail.sum_by_rack();
    }
    let (values, whole_us) = match phase {
        "dispatch" => (&detail.dispatch_wait_us, record.dispatch_us),
        _ => (&detail.combine_wait_us, record.combine_us),
    };
    if values.len() < 2 || values.len() > SIDE_MAX {
        return None;
    }
    let by_rank = detail.matrix_by == MatrixBy::Rank;
    let what = if by_rank { "rank" } else { "rack" };
    let cells = values
        .iter()
        .enumerate()
        .flat_map(|(from, row)| row.iter().enumerate().map(move |(to, wait)| (from, to, *wait)));
    let (from, to, most) =
        cells.max_by(|one, other| one.2.total_cmp(&other.2)).filter(|cell| cell.2 > 0.0)?;
    let title = format!(
        "{}, {phase}: {what} {to} waits longest, {} us, for the last row of {what} {from}",
        record.title,
        short(most)
    );
    let picture = Heat {
        label: format!("us until the last row was there, {what} to {what}"),
        also: vec![(format!("% of the {phase}"), 100.0 / whole_us)]
            .into_iter()
            .filter(|(_, factor)| factor.is_finite())
            .collect(),
        names: (format!("from {what}"), format!("to {what}")),
        values: values.clone(),
        // Last rows come late: what tells them apart is at the upper end.
        from: values.iter().flatten().copied().filter(|wait| *wait > 0.0).fold(most, f64::min),
        borders: if by_rank { racks(&detail).0[1..].to_vec() } else { Vec::new() },
        told: title.clone(),
    };
    let columns = (0..values.len()).map(|to| format!("to {to}"));
    let row = |(from, row): (usize, &Vec<f64>)| -> Vec<Value> {
        [json!(from)].into_iter().chain(row.iter().map(|wait| json!(wait))).collect()
    };
    Some(Picture {
        id: format!("{id}-until-{phase}-{}", plain(&record.title)),
        title,
        caption: format!(
            "From the {phase}'s common start until the last row of each {what} (down) was with each {what} (across), emulated us of one step, {}; \
             empty where no rows went. A dark row is a sender that all wait for, a dark column a receiver whose port is full.",
            clock(record.backend)
        ),
        columns: [format!("us from {what}")].into_iter().chain(columns).collect(),
        rows: values.iter().enumerate().map(row).collect(),
        svg: heat(&picture),
    })
}

/// Of each kind of port the way whose fullest port is busy longer.
fn busier<'a>(detail: &'a Detail, phase: &str) -> Vec<&'a PortsOverTime> {
    let of = |link: &str, way: Way| {
        let own = detail.ports_over_time.iter().filter(|ports| ports.phase == phase);
        own.clone().find(|ports| ports.link == link && ports.way == way)
    };
    let sum = |ports: &PortsOverTime| ports.fullest.iter().sum::<f64>();
    let links = ["scale_up", "scale_out"].into_iter();
    let both = links.map(|link| (of(link, Way::Send), of(link, Way::Receive)));
    both.filter_map(|both| match both {
        (Some(send), Some(receive)) if sum(receive) > sum(send) => Some(receive),
        (send, receive) => send.or(receive),
    })
    .collect()
}

fn name(ports: &PortsOverTime) -> String {
    let link = if ports.link == "scale_up" { "scale-up" } else { "scale-out" };
    let way = if ports.way == Way::Send { "out" } else { "in" };
    format!("{link} ({way})")
}

/// Scale-up and scale-out ports over the phase's time: the mean in the band of all ranks, and the fullest port.
fn over_time(record: &Record, detail: &Detail, phase: &str, id: &str) -> Option<Picture> {
    let shown = busier(detail, phase);
    let busy =
        |ports: &PortsOverTime| 100.0 * ports.mean.iter().sum::<f64>() / ports.mean.len().max(1) as f64;
    let fullest = shown.iter().copied().max_by(|one, other| busy(one).total_cmp(&busy(other)))?;
    let title = format!(
        "{}, {phase}: {} ports carry {:.0}% of their line on average, rank {}'s {:.0}%",
        record.title,
        name(fullest),
        busy(fullest),
        fullest.fullest_rank,
        100.0 * fullest.fullest.iter().sum::<f64>() / fullest.fullest.len().max(1) as f64
    );
    let at = |ports: &PortsOverTime, bin: usize| (bin as f64 + 0.5) * ports.bin_us;
    let curve = |ports: &PortsOverTime, values: &[f64]| {
        values.iter().enumerate().map(|(bin, share)| (at(ports, bin), 100.0 * share, 0.0)).collect()
    };
    let curves = shown.iter().enumerate().flat_map(|(colour, ports)| {
        let band = ports.least.iter().zip(&ports.most).map(|(least, most)| (100.0 * least, 100.0 * most));
        let mean = Curve {
            label: format!("{}: mean of all ranks, least to most", name(ports)),
            points: curve(ports, &ports.mean),
            band: band.collect(),
            colour: Some(colour),
            ..Curve::default()
        };
        let fullest = Curve {
            label: format!("{}: rank {}, the fullest", name(ports), ports.fullest_rank),
            points: curve(ports, &ports.fullest),
            dashed: true,
            colour: Some(colour),
            ..Curve::default()
        };
        [mean, fullest]
    });
    let picture = Lines {
        x: format!("time since the {phase}'s start, emulated us"),
        y: "share of the port's line, %".to_owned(),
        curves: curves.collect(),
        told: title.clone(),
        ..Lines::default()
    };
    let all = || detail.ports_over_time.iter().filter(|ports| ports.phase == phase);
    let row = |ports: &PortsOverTime, bin: usize| {
        vec![
            json!(name(ports)),
            json!(at(ports, bin)),
            json!(ports.least[bin]),
            json!(ports.mean[bin]),
            json!(ports.most[bin]),
            json!(ports.fullest_rank),
            json!(ports.fullest[bin]),
        ]
    };
    let bins = |ports: &PortsOverTime| {
        let sizes = [&ports.least, &ports.mean, &ports.most, &ports.fullest].map(Vec::len);
        sizes.into_iter().min().unwrap_or(0)
    };
    let columns = ["port", "us", "least", "mean", "most", "fullest_rank", "fullest"];
    Some(Picture {
        id: format!("{id}-over-time-{phase}-{}", plain(&record.title)),
        title,
        caption: format!(
            "Share of each part of the {phase}'s time in which a port passes bytes on, {}; of each kind the way, out or in, whose fullest port is \
             busier. The data has both ways.",
            clock(record.backend)
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows: all().flat_map(|ports| (0..bins(ports)).map(move |bin| row(ports, bin))).collect(),
        svg: lines(&picture),
    })
}
