//! What the frames of a step say: until when each rank waited for each other's rows, and how busy ports were as a phase went on.

use super::matrix::{place, side};
use node::control::PhaseReport;
use node::wire::Phase;
use serde::{Deserialize, Serialize};
use topology::{Cluster, LinkClass, Picos, RankId};

/// Equal parts of a phase's time of which ports have a value each.
pub const BINS: usize = 64;

/// Which way rows pass a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Out of the rank.
    Send,
    /// Into it.
    Receive,
}

/// One kind of port in one phase of one step: how busy those of all ranks are in each part of the phase's time.
///
/// Busy is the share of the part in which the port passes bytes on, from 0 to 1: the share of its line that it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortsOverTime {
    /// `dispatch` or `combine`.
    pub phase: String,
    /// `scale_up` or `scale_out`.
    pub link: String,
    /// Which way.
    pub way: Way,
    /// Length of a part, emulated microseconds.
    pub bin_us: f64,
    /// The least busy rank's, `[BINS]`.
    pub least: Vec<f64>,
    /// The mean over all ranks, `[BINS]`.
    pub mean: Vec<f64>,
    /// The busiest rank's, `[BINS]`.
    pub most: Vec<f64>,
    /// The rank whose port is busy longest over the phase.
    pub fullest_rank: u32,
    /// That port's, `[BINS]`.
    pub fullest: Vec<f64>,
}

/// What the frames of a step say, both phases.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameTimes {
    /// Microseconds as in [`super::Detail::dispatch_wait_us`], of dispatch and combine.
    pub(super) waits: [Vec<Vec<f64>>; 2],
    pub(super) ports: Vec<PortsOverTime>,
}

impl FrameTimes {
    /// That of reports of dispatch and combine of which every frame was kept.
    pub(super) fn new(cluster: &Cluster, phases: [(Phase, &[PhaseReport]); 2]) -> Self {
        Self {
            waits: phases.map(|(_, reports)| waits(cluster, reports)),
            ports: phases.iter().flat_map(|(phase, reports)| ports(cluster, *phase, reports)).collect(),
        }
    }
}

/// To whole nanoseconds: what is finer says nothing, and makes files large.
fn micros(time: Picos) -> f64 {
    (time.0.div_ceil(1_000)) as f64 / 1e3
}

/// When the last row of each sender (row) had reached each receiver (column).
fn waits(cluster: &Cluster, reports: &[PhaseReport]) -> Vec<Vec<f64>> {
    let Some(side) = side(cluster) else { return Vec::new() };
    let mut waits = vec![vec![0.0_f64; side]; side];
    for (to, report) in cluster.ranks().zip(reports) {
        let rows = report.trace.received.iter().filter(|frame| frame.bytes > 0);
        for frame in rows.filter(|frame| frame.peer.0 < cluster.num_ranks()) {
            let cell = &mut waits[place(cluster, frame.peer)][place(cluster, to)];
            *cell = cell.max(micros(frame.end));
        }
    }
    waits
}

/// Every kind of port that passes anything in a phase.
fn ports(cluster: &Cluster, phase: Phase, reports: &[PhaseReport]) -> Vec<PortsOverTime> {
    let length = reports.iter().map(|report| report.stamped).max().unwrap_or(Picos::ZERO);
    if length == Picos::ZERO {
        return Vec::new();
    }
    let kinds = LinkClass::ALL.into_iter().flat_map(|link| [(link, Way::Send), (link, Way::Receive)]);
    kinds.filter_map(|(link, way)| kind(cluster, (phase, link, way), reports, length)).collect()
}

fn kind(
    cluster: &Cluster,
    (phase, link, way): (Phase, LinkClass, Way),
    reports: &[PhaseReport],
    length: Picos,
) -> Option<PortsOverTime> {
    let edge = |bin: usize| {
        u64::try_from(u128::from(length.0) * bin as u128 / BINS as u128).expect("no more than the whole")
    };
    let mut busy_ps = vec![[0_u64; BINS]; reports.len()];
    for ((me, report), busy) in cluster.ranks().zip(reports).zip(&mut busy_ps) {
        let frames = match way {
            Way::Send => &report.trace.sent,
            Way::Receive => &report.trace.received,
        };
        let known = |peer: RankId| peer.0 < cluster.num_ranks() && cluster.link_class(me, peer) == link;
        for frame in frames.iter().filter(|frame| frame.bytes > 0 && known(frame.peer)) {
            let first = u128::from(frame.start.0) * BINS as u128 / u128::from(length.0);
            let first = usize::try_from(first).unwrap_or(BINS).saturating_sub(1);
            let parts = (first..BINS).take_while(|&bin| edge(bin) < frame.end.0);
            for bin in parts {
                let (from, to) = (frame.start.0.max(edge(bin)), frame.end.0.min(edge(bin + 1)));
                busy[bin] += to.saturating_sub(from);
            }
        }
    }
    let sum = |busy: &[u64; BINS]| busy.iter().sum::<u64>();
    let (fullest_rank, fullest) =
        (0..).zip(&busy_ps).max_by_key(|(rank, busy)| (sum(busy), std::cmp::Reverse(*rank)))?;
    if sum(fullest) == 0 {
        return None;
    }
    let width = |bin: usize| edge(bin + 1) - edge(bin);
    let share = |bin: usize, busy: f64| match width(bin) {
        0 => 0.0,
        width => (busy / width as f64 * 1e4).round() / 1e4,
    };
    let over = |of: &dyn Fn(usize) -> f64| (0..BINS).map(|bin| share(bin, of(bin))).collect::<Vec<f64>>();
    let all = |bin: usize| busy_ps.iter().map(move |busy| busy[bin]);
    Some(PortsOverTime {
        phase: if phase == Phase::Dispatch { "dispatch" } else { "combine" }.to_owned(),
        link: if link == LinkClass::ScaleUp { "scale_up" } else { "scale_out" }.to_owned(),
        way,
        bin_us: length.as_micros_f64() / BINS as f64,
        least: over(&|bin| all(bin).min().unwrap_or(0) as f64),
        mean: over(&|bin| all(bin).sum::<u64>() as f64 / busy_ps.len() as f64),
        most: over(&|bin| all(bin).max().unwrap_or(0) as f64),
        fullest_rank,
        fullest: over(&|bin| fullest[bin] as f64),
    })
}
