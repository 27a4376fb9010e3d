//! The flags of experiment files and their results: `railyard run`, `serve-bench` and `report`.

use super::{ClusterArgs, GaugeArgs, TimelineArgs};
use clap::Args;
use std::path::PathBuf;
use study::layer::bytes;
use study::scenario::BackendWord;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard run examples/throttle.toml                      every point on all cores, results/throttle.jsonl
  railyard run examples/throttle.toml --dry-run            what would run, each point as a command of its own
  railyard run examples/batch-curve.toml                   a serving experiment: what it is about say its tables
  railyard run sweep.toml --backend quic                   measured, one point after the other
  railyard run sweep.toml --cluster coordinator:7000 --certs ./certs    measured on a cluster that is running
  railyard run sweep.toml --shard 2/8                      the second of eight parts
  railyard report results                                  all parts in one table

Finished points are not run again: after Ctrl-C or a crash, the same command goes on. In a Slurm array or a Kubernetes Indexed Job each task takes its own part (SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX with JOB_COMPLETIONS). Keys are the flags of `railyard compare` (a layer) or the tables of docs/serving.md; docs/experiments.md has the rest.

Exit code: 0 done, 1 a point was not verified or the host could not keep up, 2 usage, 130 interrupted.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
    /// Directory for results: NAME.jsonl, or NAME.I-of-N.jsonl for a part, the file's plots, manifest.json and the page report.html
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(crate) out: PathBuf,
}

/// An experiment and how it is run.
#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Experiment file (TOML)
    pub(crate) file: PathBuf,
    /// A setting of the file otherwise, as `place=value`; a swept one has this value alone
    #[arg(long = "set", value_name = "PLACE=VALUE")]
    pub(crate) set: Vec<String>,
    /// `analytic`: closed forms; `sim`: the ranks' frames on a virtual clock; `quic`: worker processes on the wall clock; several
    /// with a comma between them, or `all` [default: the file's, else for layers analytic,sim, for serving as serve.cost says]
    #[arg(long, value_name = "BACKENDS", value_delimiter = ',')]
    pub(crate) backend: Vec<BackendWord>,
    /// Part I of N, from 1; `/N` takes I from a job array [default: the array's, else all points]
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Points at a time (analytic, sim) [default: as many as cores, fewer where memory does not suffice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// Memory that all points under way may take together: 2G, 500M [default: three quarters of what the machine, cgroups and ulimits leave]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory_limit: Option<u64>,
    /// Run the ranks of quic as tasks of this process
    #[arg(long)]
    pub(crate) in_process: bool,
    #[command(flatten)]
    pub(crate) gauge: GaugeArgs,
    /// Say what would run, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Every column of the table, even where the terminal is narrower
    #[arg(long, conflicts_with = "json")]
    pub(crate) wide: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) timeline: TimelineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard serve-bench examples/batch-curve.toml                 every point of a sweep, one table
  railyard serve-bench examples/batch-curve.toml --out results   results/batch-curve.jsonl and its plots as well
  railyard serve-bench serve.toml --backend analytic             closed forms, milliseconds
  railyard serve-bench examples/serve-lab.toml --backend quic    worker processes, every token checked
  railyard serve-bench serve.toml --cluster coordinator:7000 --certs ./certs    on a cluster that is running
  railyard serve-bench serve.toml --set arrivals.request_rate=8  one setting otherwise
  railyard serve-bench serve.toml --timeline trace.json          trains, stages and the queue, for ui.perfetto.dev
  railyard serve-bench serve.toml --json                         one JSON object with the keys of vLLM

docs/serving.md has the file's keys, the formula of every metric, and what is simulated, computed or assumed.

Exit code: 0 done, 1 failed or not to be trusted, 2 usage.")]
pub(crate) struct ServeBenchArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
    /// Directory for results (NAME.jsonl, to which the same command adds), plots, manifest.json and report.html [default: none are written]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard report results                          every experiment in the directory, shards merged, mean and 95% interval over seeds
  railyard report before after --html page.html    comparisons and experiments as one page, side by side with their differences
  railyard report results/throttle.jsonl --csv     a line a record, to load elsewhere
  railyard report results/throttle.jsonl --plot throttle.svg --x throttle --y a2a_us --series scheme

Exit code: 0 done, 1 a point is missing, was not verified or is invalid, 2 usage.")]
pub(crate) struct ReportArgs {
    /// Files of results, or directories with them; reports of `compare` for --html alone
    #[arg(required = true)]
    pub(crate) from: Vec<PathBuf>,
    /// Write one self-contained page to FILE: answer, trust, tables, pictures; several results side by side
    #[arg(long, value_name = "FILE", group = "format")]
    pub(crate) html: Option<PathBuf>,
    /// Every column of the tables, even where the terminal is narrower
    #[arg(long, group = "format")]
    pub(crate) wide: bool,
    /// One line a record as CSV, of one experiment
    #[arg(long, group = "format")]
    pub(crate) csv: bool,
    /// One JSON object: an entry each combination and backend, means and intervals; for several experiments a list of them
    #[arg(long, group = "format")]
    pub(crate) json: bool,
    /// One JSON object a line, one line a record
    #[arg(long, group = "format")]
    pub(crate) jsonl: bool,
    /// Write the records to FILE as Parquet (a build with the feature `parquet`)
    #[arg(long, value_name = "FILE", group = "format")]
    pub(crate) parquet: Option<PathBuf>,
    /// Draw to FILE, which ends in .svg or .png
    #[arg(long, value_name = "FILE", group = "format", requires = "x", requires = "y")]
    pub(crate) plot: Option<PathBuf>,
    /// Draw for a paper's column (with --plot): 85 mm wide, letters of 9 points, without title and caption
    #[arg(long, requires = "plot")]
    pub(crate) paper: bool,
    /// Swept key, or column, along the x axis (with --plot): lines over numbers, bars over names
    #[arg(long, value_name = "KEY", requires = "plot")]
    pub(crate) x: Option<String>,
    /// Columns of one unit along the y axis, such as a2a_us (with --plot)
    #[arg(long, value_name = "COLUMN", requires = "plot", value_delimiter = ',')]
    pub(crate) y: Vec<String>,
    /// Swept keys, or `backend`, that come first in the legend; all others that vary have lines or bars of their own too
    #[arg(long, value_name = "KEY", requires = "plot", value_delimiter = ',')]
    pub(crate) series: Vec<String>,
}
