//! The flags of timelines.

use clap::Args;
use std::path::PathBuf;
use view::timeline::EVENTS;

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// Write what happened when to FILE, for ui.perfetto.dev (docs/timeline.md)
    #[arg(long, value_name = "FILE", conflicts_with = "cluster", help_heading = "Output")]
    pub(crate) timeline: Option<PathBuf>,
    /// Most events in it: where there are more, one in so many frames or steps is shown, and the file says so
    #[arg(long, value_name = "N", default_value_t = EVENTS, requires = "timeline", help_heading = "Output")]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) timeline_events: u64,
}
