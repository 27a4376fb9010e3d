//! The flags of `railyard roofline`.

use crate::sweep_flag::{Sweep, sweep};
use blackboard::deployment::Mode;
use clap::Args;
use serde::Serialize;
use study::scenario::{Takes, Words};

/// What a decode step takes of a scenario's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RooflineWords;

impl Takes for RooflineWords {
    const LEFT_OUT: &'static [&'static str] = &["gate", "placement", "slots", "seeds"];
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(after_help = "\
Examples:
  railyard roofline --batch 600 --context 5000                      DeepSeek-V3 on 2 racks of 8 GB200
  railyard roofline --racks 1 --ranks 64 --batch 2400 --context 5000    on one rack of 64
  railyard roofline --model config.json --hardware h100 --scheme hierarchical
  railyard roofline --racks 4 --ranks 256 --pp 4 --batch 9600 --context 4989    four racks as four stages
  railyard roofline --context 32768 --sweep 'batch=1..8192*2'       a table over the batch
  railyard roofline --sweep batch=1..8192 --csv                     8192 points as CSV
  railyard roofline --hardware h800 --ranks 32 --batch 128 --prompt 4096    a step of prompts

Everything is analytic: roofline times of even loads, lower bounds of what real kernels take.")]
pub(crate) struct RooflineArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) scenario: Words<RooflineWords>,
    /// Sequences in flight, over all micro-batches
    #[arg(long, value_name = "B", default_value_t = 1.0, help_heading = "Model and tokens")]
    pub(crate) batch: f64,
    /// Tokens of context a sequence
    #[arg(long, value_name = "L", default_value_t = 0.0, help_heading = "Model and tokens")]
    pub(crate) context: f64,
    /// New tokens of each sequence's prompt that the step computes, after its context; with 0 it decodes
    #[arg(long, value_name = "L", default_value_t = 0.0, help_heading = "Model and tokens")]
    pub(crate) prompt: f64,
    /// Tokens a rank sends in one all-to-all [default: its share of a micro-batch]
    #[arg(long, value_name = "T", help_heading = "Model and tokens")]
    pub(crate) tokens_per_rank: Option<f64>,
    /// US dollars of a rank and hour
    #[arg(long, value_name = "USD_PER_GPU_HOUR", default_value_t = 2.0)]
    pub(crate) price: f64,
    /// `max`: all overlaps (lower bound); `sum`: reading the cache overlaps nothing; `serial`: communication doesn't either
    /// [default: max; serial where layers or servers were measured]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// Vary one input, named as its flag: NAME=A..B, NAME=A..B:STEP, NAME=A..B*FACTOR or NAME=A,B,C, such as
    /// batch=1..8192*2, tp=1,2,4 or scheme=flat,dedup
    #[arg(long, value_name = "SWEEP", value_parser = sweep)]
    pub(crate) sweep: Option<Sweep>,
    /// Every column of a sweep's table, even where the terminal is narrower
    #[arg(long, requires = "sweep", conflicts_with_all = ["csv", "json"])]
    #[serde(skip)]
    pub(crate) wide: bool,
    /// A sweep as CSV
    #[arg(long, requires = "sweep", conflicts_with = "json")]
    #[serde(skip)]
    pub(crate) csv: bool,
    /// Print one JSON object
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}
