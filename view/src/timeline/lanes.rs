//! Who stands where: a process for each rank and one for the run, a thread for each lane.

use super::events::{Events, Place};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use topology::LinkClass;

/// The process of the run as a whole; no rank has such a number.
pub(super) const RUN: u32 = 100_000_000;

/// A lane of a rank. Its number is its thread's; 0 is the idle task to some readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Phases = 1,
    SendUp = 2,
    SendOut = 3,
    ReceiveUp = 4,
    ReceiveOut = 5,
    Jobs = 6,
    Waits = 7,
}

impl Lane {
    pub(super) const fn of(self, process: u32) -> Place {
        Place { process, thread: self as u32 }
    }

    pub(super) const fn send(link: LinkClass) -> Self {
        match link {
            LinkClass::ScaleUp => Self::SendUp,
            LinkClass::ScaleOut => Self::SendOut,
        }
    }

    pub(super) const fn receive(link: LinkClass) -> Self {
        match link {
            LinkClass::ScaleUp => Self::ReceiveUp,
            LinkClass::ScaleOut => Self::ReceiveOut,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Phases => "phases",
            Self::SendUp => "send scale-up",
            Self::SendOut => "send scale-out",
            Self::ReceiveUp => "receive scale-up",
            Self::ReceiveOut => "receive scale-out",
            Self::Jobs => "jobs",
            Self::Waits => "waits",
        }
    }
}

/// Processes and lanes that have been named.
#[derive(Debug, Default)]
pub(super) struct Seen {
    others: BTreeSet<u32>,
    ranks: BTreeSet<u32>,
    lanes: BTreeSet<Place>,
}

impl Seen {
    /// Names the run's process.
    pub(super) fn run<W: Write>(&mut self, events: &mut Events<W>) -> io::Result<()> {
        self.process(events, RUN, "run")?;
        self.thread(events, Lane::Phases.of(RUN), "configurations, steps, phases")
    }

    /// Names a process that is no rank's, once; it stands before them.
    pub(super) fn process<W: Write>(
        &mut self,
        events: &mut Events<W>,
        process: u32,
        name: &str,
    ) -> io::Result<()> {
        if !self.others.insert(process) {
            return Ok(());
        }
        events.about(process, None, "process_name", &json!({ "name": name }))?;
        events.about(process, None, "process_sort_index", &json!({ "sort_index": process - RUN }))
    }

    /// Names a rank's process, once: `rack` is where it is in the racks that the run is about.
    pub(super) fn rank<W: Write>(
        &mut self,
        events: &mut Events<W>,
        rank: u32,
        rack: Option<u32>,
    ) -> io::Result<()> {
        if !self.ranks.insert(rank) {
            return Ok(());
        }
        let name = rack.map_or_else(|| format!("rank {rank}"), |rack| format!("rank {rank} (rack {rack})"));
        events.about(rank, None, "process_name", &json!({ "name": name }))?;
        events.about(rank, None, "process_sort_index", &json!({ "sort_index": u64::from(rank) + 10 }))
    }

    /// Most names that `ranks` ranks are yet to have.
    pub(super) fn left(&self, ranks: u32) -> u64 {
        const NAMES_OF_RANK: u64 = 16;
        u64::from(ranks).saturating_sub(self.ranks.len() as u64) * NAMES_OF_RANK
    }

    /// Names a rank's lane, once.
    pub(super) fn lane<W: Write>(
        &mut self,
        events: &mut Events<W>,
        lane: Lane,
        rank: u32,
    ) -> io::Result<Place> {
        self.thread(events, lane.of(rank), lane.name())?;
        Ok(lane.of(rank))
    }

    /// Names a lane, once.
    pub(super) fn thread<W: Write>(
        &mut self,
        events: &mut Events<W>,
        place: Place,
        name: &str,
    ) -> io::Result<()> {
        if !self.lanes.insert(place) {
            return Ok(());
        }
        let Place { process, thread } = place;
        events.about(process, Some(thread), "thread_name", &json!({ "name": name }))?;
        events.about(process, Some(thread), "thread_sort_index", &json!({ "sort_index": thread }))
    }
}
