//! Timelines: what happened when on every rank and port, as a file that ui.perfetto.dev and chrome://tracing open.
//!
//! The file is the array form of Chrome's trace format, one event a line, commas first: a file that a crash has cut still opens, which the
//! form with an object around does not. What other writers put in `otherData` is therefore the first event. Times are emulated microseconds
//! with six digits, so that picoseconds come back. A process stands for a rank, a thread for a lane of it; rows of a comparison follow each
//! other. There are no more events than asked for: of frames one in so many is shown, and the file says where.

mod events;
mod frames;
mod lanes;
mod layer;
mod yard;

use anyhow::Context;
use events::Events;
use lanes::{Lane, RUN, Seen};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use topology::Picos;

/// Events of a timeline, unless more or fewer are asked for.
pub const EVENTS: u64 = 200_000;

/// A timeline that is being written.
#[derive(Debug)]
pub struct Timeline<W: Write = BufWriter<File>> {
    events: Events<W>,
    seen: Seen,
    /// Ranks of each rack, by which ranks are named.
    rack_sizes: Vec<u32>,
    /// Where the next row begins.
    now: Picos,
    /// The most frames that one stands for so far.
    every_max: u32,
    failed: Option<io::Error>,
}

/// What came of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Events in the file.
    pub events: u64,
    /// Where frames were most, one in so many is shown; 1 where all are.
    pub every: u32,
    /// Events that had no room at all, beside frames that others stand for.
    pub left_out: u64,
}

impl Written {
    /// Whether something is not shown.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.every > 1 || self.left_out > 0
    }

    /// In a sentence.
    #[must_use]
    pub fn told(&self, path: &Path, most: u64) -> String {
        let frames = match self.every {
            1 => "every frame and step is shown".to_owned(),
            every => format!("one frame or step in up to {every} is shown"),
        };
        let left_out = match self.left_out {
            0 => String::new(),
            left_out => format!(", {left_out} events are left out"),
        };
        let more = if self.is_sampled() {
            format!(" (at most {most} events; --timeline-events raises it)")
        } else {
            String::new()
        };
        format!("timeline {}: {} events, {frames}{left_out}{more}", path.display(), self.events)
    }
}

/// What a timeline says of itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The command that it is of.
    pub command: Option<String>,
    /// Seeds of the run; the first is shown.
    pub seeds: Vec<u64>,
    /// Ranks of each rack.
    pub rack_sizes: Vec<u32>,
    /// What is to be known beside.
    pub notes: Vec<String>,
}

impl Timeline {
    /// Creates the file.
    ///
    /// # Errors
    /// For a file that can't be written.
    pub fn create(path: &Path, about: &About, most: u64) -> anyhow::Result<Self> {
        let told = || format!("cannot write the timeline {}", path.display());
        let file = File::create(path).with_context(told)?;
        Self::new(BufWriter::new(file), about, most).with_context(told)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first thing that went wrong in writing it.
    pub fn close(&mut self, path: &Path) -> anyhow::Result<Written> {
        self.finish().with_context(|| format!("cannot write the timeline {}", path.display()))
    }
}

impl<W: Write> Timeline<W> {
    /// Begins a timeline of at most `most` events.
    ///
    /// # Errors
    /// Where `out` takes nothing.
    pub fn new(out: W, about: &About, most: u64) -> io::Result<Self> {
        let mut timeline = Self {
            events: Events::new(out, most)?,
            seen: Seen::default(),
            rack_sizes: about.rack_sizes.clone(),
            now: Picos::ZERO,
            every_max: 1,
            failed: None,
        };
        timeline.seen.run(&mut timeline.events)?;
        let other = json!({
            "producer": format!("railyard {}", env!("CARGO_PKG_VERSION")),
            "command": about.command,
            "seeds": about.seeds,
            "seed_shown": about.seeds.first(),
            "racks": about.rack_sizes,
            "units": "ts and dur: emulated microseconds; bytes: bytes; *_us: emulated microseconds",
            "measured": "rows of quic: how long phases took by the wall clock, over the dilation",
            "simulated": "rows of sim, serving runs with frames, and all times at ports: the port arithmetic",
            "computed": "rows of analytic, serving runs without frames: closed forms",
            "not shown": "computing that takes no emulated time is a mark; acknowledgements and credits are left out",
            "events_max": most,
            "notes": about.notes,
        });
        timeline.events.instant(Lane::Phases.of(RUN), "otherData", Picos::ZERO, &other)?;
        timeline.events.flush()?;
        Ok(timeline)
    }

    /// Keeps the first failure: whoever tells of a row can do nothing about it.
    fn keep(&mut self, done: io::Result<()>) {
        if self.failed.is_none() {
            self.failed = done.and_then(|()| self.events.flush()).err();
        }
    }

    /// Says what was sampled, and ends the array.
    ///
    /// # Errors
    /// The first thing that went wrong in writing.
    pub fn finish(&mut self) -> io::Result<Written> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let (every, left_out) = (self.every_max, self.events.left_out());
        let said: Value = json!({ "one_frame_or_step_in_up_to": every, "events_left_out": left_out });
        let events = self.events.end(Lane::Phases.of(RUN), self.now, &said)?;
        Ok(Written { events, every, left_out })
    }
}
