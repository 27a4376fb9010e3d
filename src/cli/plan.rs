//! The flags of `railyard plan`.

use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use study::scenario::{Takes, Words};

/// What a plan takes of a scenario's words; those of one replica's layout are searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanWords;

impl Takes for PlanWords {
    const LEFT_OUT: &'static [&'static str] =
        &["gate", "scheme", "pp", "micro_batches", "tp", "placement", "slots"];
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(after_help = "\
Examples:
  railyard plan --hardware h100 --racks 4 --ranks-per-rack 8 --input-len 2000 --output-len 500
                                                    the most that 32 H100 in 4 nodes can serve of DeepSeek-V3
  railyard plan --hardware h100 --racks 8 --rate 40 --input-len 1000 --output-len 300 --tpot-ms 30
                                                    the fewest ranks that carry 40 requests a second
  railyard plan --model config.json --hardware gb200 --racks 1 --ranks 64 --trace trace.csv --rate 100 --out plan
                                                    lengths of a trace; the proof's experiment files go to plan/

Searched are racks and ranks of a replica, stages, tensor parallelism, scheme, overlap, tokens a step, sequences, replicas, and pools of
prefill and decode. Closed forms choose whom to try; those are served on the virtual clock until none left could be better.")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) scenario: Words<PlanWords>,
    /// Tokens of a prompt
    #[arg(long, value_name = "TOKENS", default_value_t = 2_000, help_heading = "Requests and limits")]
    pub(crate) input_len: u32,
    /// Tokens of an answer
    #[arg(long, value_name = "TOKENS", default_value_t = 500, help_heading = "Requests and limits")]
    pub(crate) output_len: u32,
    /// Lengths of a trace's requests, and its rate, in place of these
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input_len", "output_len"], help_heading = "Requests and limits")]
    pub(crate) trace: Option<String>,
    /// Requests a second to carry with as few ranks as possible [default: as many as possible with all]
    #[arg(long, value_name = "PER_S", help_heading = "Requests and limits")]
    pub(crate) rate: Option<f64>,
    /// Longest time to first token that 9 of 10 requests keep, ms
    #[arg(long, value_name = "MS", default_value_t = 2_000.0, help_heading = "Requests and limits")]
    pub(crate) ttft_ms: f64,
    /// Longest time per output token that 9 of 10 requests keep, ms
    #[arg(long, value_name = "MS", default_value_t = 50.0, help_heading = "Requests and limits")]
    pub(crate) tpot_ms: f64,
    /// US dollars of a rank and hour
    #[arg(long, value_name = "USD_PER_GPU_HOUR", default_value_t = 2.0)]
    pub(crate) price: f64,
    /// Write the experiments that prove it here, and a picture of the front
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}
