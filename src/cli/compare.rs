//! The flags of `railyard compare`.

use super::{ClusterArgs, GaugeArgs, TimelineArgs, UiArgs};
use clap::Args;
use std::path::PathBuf;
use study::layer::LayerArgs;

const COMPARE_EXAMPLES: &str = "\
Examples:
  railyard compare                                    2 racks of 8 DeepSeek-V3 ranks on 16 local processes
  railyard compare --backend sim --tokens 512         simulated only, larger batches
  railyard compare --racks 4 --throttle 18            four racks, links as far apart as GB200 and CX7
  railyard compare --model mixtral-8x7b --routing gate --gate unlimited,limit:1
  railyard compare --routing trace:routing.jsonl --experts gemm
  railyard compare --backend sim --scheme flat --pairs   who sends how many bytes to whom
  railyard compare --backend sim --timeline trace.json   what happened when, for ui.perfetto.dev (docs/timeline.md)
  railyard compare --base rack --latency zero --json  against a single rack of 8, as one JSON object
  railyard compare --backend sim --fault 'slow rank=5 factor=2' --fault 'kill rank=3 step=2'    docs/faults.md
  railyard compare --out results                      results/compare-1.json, manifest.json and report.html, a page to open
  railyard compare --cluster coordinator:7000 --certs ./certs   on a cluster that is running

Exit code: 0 done, 1 a configuration was not verified or the host could not keep up, 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) spec: LayerArgs,
    /// Run the ranks as tasks of this process, over the same QUIC
    #[arg(long, conflicts_with = "cluster", help_heading = "Run")]
    pub(crate) in_process: bool,
    #[command(flatten)]
    pub(crate) gauge: GaugeArgs,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
    #[command(flatten)]
    pub(crate) ui: UiArgs,
    /// Where a node is lost and nobody takes its seat, compare again on those who are left (with --cluster)
    #[arg(long, requires = "cluster", help_heading = "Run")]
    pub(crate) shrink: bool,
    /// Keep the report in DIR as compare-N.json and compare-N.txt, with manifest.json and the page report.html beside it
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print the bytes of every pair of ranks too, as squares of numbers that other tools read (row: sender); with --json, what is behind
    /// every record (`detail`)
    #[arg(long, help_heading = "Output")]
    pub(crate) pairs: bool,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
    /// Print every column, as a pipe gets them, whether they fit the terminal or not
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) wide: bool,
}
