//! The flags of `railyard roofline`.

use crate::sweep_flag::{Sweep, sweep};
use blackboard::deployment::Mode;
use clap::Args;
use moe::DispatchScheme;
use topology::Dtype;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard roofline --batch 2400 --context 5000                     DeepSeek-V3 on 64 GB200
  railyard roofline --model config.json --hardware h100 --ranks 16 --racks 2 --scheme hierarchical
  railyard roofline --ranks 256 --pp 4 --batch 9600 --context 4989  four racks as four stages
  railyard roofline --context 32768 --sweep 'batch=1..8192*2'       a table over the batch
  railyard roofline --sweep batch=1..8192 --csv                     8192 points as CSV

Everything is analytic: roofline times of even loads, lower bounds of what real kernels take.")]
pub(crate) struct RooflineArgs {
    /// A preset's name, a model file (.toml) or a Hugging Face config.json
    #[arg(long, value_name = "NAME|FILE", default_value = "deepseek-v3")]
    pub(crate) model: String,
    /// A preset's name, or a cluster file (.toml) with hardware and links [default: talk-gb200]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) hardware: Option<String>,
    /// Ranks in all [default: one scale-up domain, at most 64]
    #[arg(long, value_name = "N")]
    pub(crate) ranks: Option<u32>,
    /// Sequences in flight, over all micro-batches
    #[arg(long, value_name = "B", default_value_t = 1.0)]
    pub(crate) batch: f64,
    /// Tokens of context a sequence
    #[arg(long, value_name = "L", default_value_t = 0.0)]
    pub(crate) context: f64,
    /// Format of weights and arithmetic: bf16, fp8 or fp4 [default: fp8 where the hardware has it]
    #[arg(long, value_name = "DTYPE", value_parser = dtype)]
    pub(crate) dtype: Option<Dtype>,
    /// Format of the KV cache
    #[arg(long, value_name = "DTYPE", value_parser = dtype, default_value = "bf16")]
    pub(crate) kv_dtype: Dtype,
    /// Pipeline stages
    #[arg(long, value_name = "P", default_value_t = 1)]
    pub(crate) pp: u32,
    /// Micro-batches in flight [default: as many as stages]
    #[arg(long, value_name = "M")]
    pub(crate) micro_batches: Option<u32>,
    /// Racks in all: with more racks than stages a stage is spread over several, with fewer a rack has several stages
    /// [default: one a stage]
    #[arg(long, value_name = "R")]
    pub(crate) racks: Option<u32>,
    /// How rows travel: flat, dedup or hierarchical
    #[arg(long, value_name = "SCHEME", default_value = "dedup")]
    pub(crate) scheme: DispatchScheme,
    /// Tokens a rank sends in one all-to-all [default: its share of a micro-batch]
    #[arg(long, value_name = "T")]
    pub(crate) tokens_per_rank: Option<f64>,
    /// Experts a token goes to [default: the model's]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u32>,
    /// Scale-up over scale-out rate [default: the hardware's]
    #[arg(long, value_name = "X")]
    pub(crate) throttle: Option<f64>,
    /// Count the links' latencies
    #[arg(long)]
    pub(crate) latency: bool,
    /// US dollars of a rank and hour
    #[arg(long, value_name = "USD_PER_GPU_HOUR", default_value_t = 2.0)]
    pub(crate) price: f64,
    /// `max`: all overlaps (lower bound); `sum`: reading the cache overlaps nothing
    #[arg(long, value_name = "MODE", default_value = "max", value_parser = mode)]
    pub(crate) mode: Mode,
    /// Vary one input: NAME=A..B, NAME=A..B:STEP, NAME=A..B*FACTOR or NAME=A,B,C (batch, context, ranks, racks, pp,
    /// micro-batches, tokens-per-rank, price)
    #[arg(long, value_name = "SWEEP", value_parser = sweep)]
    pub(crate) sweep: Option<Sweep>,
    /// Every column of a sweep's table, even where the terminal is narrower
    #[arg(long, requires = "sweep", conflicts_with_all = ["csv", "json"])]
    pub(crate) wide: bool,
    /// A sweep as CSV
    #[arg(long, requires = "sweep", conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn dtype(text: &str) -> Result<Dtype, String> {
    let all = [Dtype::Bf16, Dtype::Fp8, Dtype::Fp4];
    let found = all.into_iter().find(|dtype| dtype.to_string() == text.to_lowercase());
    found.ok_or_else(|| format!("`{text}`: give bf16, fp8 or fp4"))
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "max" => Ok(Mode::Max),
        "sum" => Ok(Mode::Sum),
        _ => Err(format!("`{text}`: give max or sum")),
    }
}
