//! What pages and scripts are shown, as data: the step that was complete last, and news.

use crate::counters::word;
use coordinator::server::{SeenPhase, SeenStep};
use serde::Serialize;

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct News {
    /// Milliseconds since 1970.
    pub(crate) at_unix_ms: u64,
    /// `joined`, `left`, `lost` and the like.
    pub(crate) what: &'static str,
    /// One sentence.
    pub(crate) text: String,
}

/// A step as it is drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StepView {
    /// Number of the run.
    pub(crate) run: u64,
    /// Number of the step in it.
    pub(crate) step: u32,
    /// Ranks of each rack.
    pub(crate) rack_sizes: Vec<u32>,
    /// The node of each rank.
    pub(crate) nodes: Vec<String>,
    /// How often it was begun anew.
    pub(crate) replays: u32,
    /// Its phases, in order.
    pub(crate) phases: Vec<PhaseView>,
}

/// A phase of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PhaseView {
    /// `dispatch`, `expert`, `combine`, `local` or `hop`.
    phase: &'static str,
    /// Emulated microseconds until each rank had its last row.
    measured_us: Vec<f64>,
    /// Wall milliseconds of the phase.
    wall_ms: f64,
    /// Source, destination, row bytes.
    sent_bytes: Vec<(u32, u32, u64)>,
    /// Data frames received.
    frames: u64,
}

impl StepView {
    pub(crate) fn of(step: &SeenStep) -> Self {
        let SeenStep { run, step: number, rack_sizes, nodes, replays, phases } = step;
        Self {
            run: *run,
            step: *number,
            rack_sizes: rack_sizes.clone(),
            nodes: nodes.clone(),
            replays: *replays,
            phases: phases.iter().map(PhaseView::of).collect(),
        }
    }
}

impl PhaseView {
    fn of(seen: &SeenPhase) -> Self {
        Self {
            phase: word(seen.phase),
            measured_us: seen.measured_ps.iter().map(|&ps| ps as f64 / 1e6).collect(),
            wall_ms: seen.wall_ns as f64 / 1e6,
            sent_bytes: seen.sent_bytes.iter().map(|&(from, to, bytes)| (from.0, to.0, bytes)).collect(),
            frames: seen.frames,
        }
    }
}
