//! The flags of `railyard place`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use study::scenario::{Takes, Words};

/// What `railyard place` takes of a scenario's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceWords;

impl Takes for PlaceWords {
    /// The demand is measured, and nothing is sent; of routings those that say what a gate does with it.
    const LEFT_OUT: &'static [&'static str] = &[
        "dtype",
        "kv_dtype",
        "memory_share",
        "mtp_depth",
        "mtp_acceptance",
        "throttle",
        "oversubscription",
        "background",
        "latency",
        "gate",
        "pp",
        "tp",
        "common_weights",
        "micro_batches",
        "seeds",
    ];
}

/// Whose file `railyard place --export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportArg {
    /// {"expert_to_ep_rank": [...]}, without replicas; a list a layer where there are several
    Vllm,
    /// YAML of moe_config.load_balancer
    Trtllm,
    /// JSON of --init-expert-location
    Sglang,
    /// One layer (--layer) for `railyard compare --placement`
    Railyard,
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(after_help = "\
Examples:
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320                all policies side by side
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --placement rack-aware
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --placement rack-aware --balance 0.9    fewer copies, less even
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --placement eplb --groups 8    a group stays in a rack
  railyard place --loads loads.json --ranks-per-rack 72,36 --placement rack-aware --slots 288 --model deepseek-v3
  railyard place --loads loads.json --ranks 64 --slots 320 --placement eplb --export sglang > init.json
  railyard place --loads new.json --ranks 64 --slots 320 --placement rack-aware --from init.json    what a change costs
  railyard serve-bench examples/batch-curve.toml --set serve.placement=init.json    what these layers serve
  railyard place --loads loads.json --placement eplb --layer 3 --export railyard > layer.json
  railyard compare --placement layer.json                                           what that placement costs

Loads are records of SGLang ({\"logical_count\": [[tokens of each expert] for each layer]}), Megatron, vLLM, moe-balance or simllm, bare lists, or a CSV with the header layer,expert,count: docs/loads.md.")]
pub(crate) struct PlaceArgs {
    /// Recorded expert loads: tokens of each expert and layer, or what tokens picked (docs/loads.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) loads: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) scenario: Words<PlaceWords>,
    /// Groups of experts that eplb keeps in one rack each where they divide over the racks
    /// [default: the model's; without any 1, side by side one a rack]
    #[arg(long, value_name = "G")]
    pub(crate) groups: Option<u32>,
    /// The placement in use, a file of ours or another system's: what the change moves, how long that takes on the hardware's links, and
    /// after how many steps it has paid
    #[arg(long, value_name = "FILE", requires = "placement", conflicts_with_all = ["compare", "export"])]
    pub(crate) from: Option<PathBuf>,
    /// Tokens of each rank in a step that the change is to shorten [default: 32]
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) tokens: Option<u32>,
    /// Only the layer that has this number in the record; counts are numbered from 0
    #[arg(long, value_name = "L")]
    pub(crate) layer: Option<u32>,
    /// Least balancedness of rack-aware, mean over largest load of a rank, with the fewest copies that it allows
    /// [default: as even as eplb-global; side by side the other end too, as even as the EPLB that sends fewer copies]
    #[arg(long, value_name = "X", value_parser = balance)]
    pub(crate) balance: Option<f64>,
    /// All policies side by side, as without --placement; with it that one beside them
    #[arg(long, conflicts_with = "export")]
    pub(crate) compare: bool,
    /// Every column of the tables, even where the terminal is narrower
    #[arg(long, conflicts_with_all = ["export", "json"])]
    #[serde(skip)]
    pub(crate) wide: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "export")]
    #[serde(skip)]
    pub(crate) json: bool,
    /// Print the file that another system reads
    #[arg(long, value_name = "SYSTEM", requires = "placement")]
    #[serde(skip)]
    pub(crate) export: Option<ExportArg>,
}

fn balance(text: &str) -> Result<f64, String> {
    let balance = text.parse().ok().filter(|balance| *balance > 0.0 && *balance <= 1.0);
    balance.ok_or_else(|| "give a number above 0 and up to 1, which is even".to_owned())
}
