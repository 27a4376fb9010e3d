//! The flags of `railyard place`.

use crate::words::PlacementParser;
use clap::{Args, ValueEnum};
use moe::placement::PlacementWord;
use std::path::PathBuf;

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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --compare      all policies side by side
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --policy rack-aware
  railyard place --loads loads.json --ranks 64 --racks 8 --slots 320 --groups 8     EPLB, a group stays in a rack
  railyard place --loads loads.json --ranks-per-rack 72,36 --policy rack-aware --slots 288 --model deepseek-v3
  railyard place --loads loads.json --ranks 64 --slots 320 --export sglang > init.json
  railyard serve-bench examples/batch-curve.toml --set serve.placement=init.json    what these layers serve
  railyard place --loads loads.json --ranks 16 --racks 2 --layer 3 --export railyard > layer.json
  railyard compare --placement layer.json                                           what that placement costs

Loads are records of SGLang ({\"logical_count\": [[tokens of each expert] for each layer]}), Megatron, vLLM, moe-balance
or simllm: docs/loads.md.")]
pub(crate) struct PlaceArgs {
    /// Tokens of each expert and layer, or what tokens picked (docs/loads.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) loads: PathBuf,
    /// Ranks in all [default: what --ranks-per-rack adds up to]
    #[arg(long, value_name = "N")]
    pub(crate) ranks: Option<u32>,
    /// Racks of equal size [default: 1]
    #[arg(long, value_name = "R")]
    pub(crate) racks: Option<u32>,
    /// Ranks in a rack, or one number a rack: 8,6
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) ranks_per_rack: Vec<u32>,
    /// Slots in all; those beyond the experts are replicas [default: one an expert, or what the policy has]
    #[arg(long, value_name = "S")]
    pub(crate) slots: Option<u32>,
    /// How slots get their experts: a program, a policy, or a file of ours, vLLM's, TensorRT-LLM's or SGLang's
    #[arg(long, value_name = "NAME|FILE|exec:COMMAND", default_value = "eplb", value_parser = PlacementParser)]
    pub(crate) policy: PlacementWord,
    /// Groups of experts that the gate limits (eplb): kept in one rack where they divide over the racks
    /// [default: 1, with --compare one a rack]
    #[arg(long, value_name = "G")]
    pub(crate) groups: Option<u32>,
    /// Only the layer that has this number in the record; counts are numbered from 0
    #[arg(long, value_name = "L")]
    pub(crate) layer: Option<u32>,
    /// Whose experts and top-k: a preset's name, a model file (.toml) or a Hugging Face config.json; for the memory of weights
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) model: Option<String>,
    /// Experts a token goes to [default: the model's, else 8]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u32>,
    /// All policies side by side
    #[arg(long, conflicts_with = "export")]
    pub(crate) compare: bool,
    /// Every column of the tables, even where the terminal is narrower
    #[arg(long, conflicts_with_all = ["export", "json"])]
    pub(crate) wide: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "export")]
    pub(crate) json: bool,
    /// Print the file that another system reads
    #[arg(long, value_name = "SYSTEM")]
    pub(crate) export: Option<ExportArg>,
}
