//! Flags of `railyard calibrate` and `railyard trust`.

use blackboard::calibration::HoldOut;
use clap::Args;
use moe::DispatchScheme;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard calibrate --measured blackboard/data/measured/deepep_ll_h100.csv --hold-out each:nodes
  railyard calibrate --measured own.csv more.csv --nominal h800 --out own.toml             then compare --hardware own.toml
  railyard calibrate --measured own.csv --hold-out 'nodes>=4' --hold-out fold:5
  railyard calibrate --measured layers.csv --nominal h200 --kernels h100-deepep-normal --hidden 4096 --top-k 6 --variant fused --out own.toml
  railyard calibrate --measured own.csv --evaluate h100-deepep-ll                          how far off a profile is, without a fit
  railyard calibrate --measured blackboard/data/measured/serving_published.csv --hold-out each:row --variant h800 --out own.toml     of servers

Measurements are CSV (or between `;` or tabs) with a header, microseconds, any mixture of these columns: tokens_per_rank, nodes or ep (ranks in one rack),
experts, sms, kernel, row_dtype; dispatch_us, combine_us, combine_low_precision_us, dispatch_notify_us, combine_notify_us, prepare_us;
unfused_us (or layer_us) and fused_us of whole layers; or phase and us. `-` and nothing are no measurement.
A file of server runs has model, gpu (presets), phase (decode or prefill), ep, sequences_per_gpu (`16384 tokens` of a step of prompts; `~256` if assumed), context,
tokens_per_s_per_gpu, and at will name, nodes, weights: one number is fitted for each accelerator, the share of its nominal rates that a step reaches.")]
pub(crate) struct CalibrateArgs {
    /// Measured times (CSV), one file or several
    #[arg(long, value_name = "CSV", num_args = 1.., required = true)]
    pub(crate) measured: Vec<PathBuf>,
    /// Hardware whose kernels or layers are fitted, a preset's name: all else is kept [default: h100]
    #[arg(long, value_name = "NAME")]
    pub(crate) nominal: Option<String>,
    /// Profile whose dispatch and combine measured layers have, a preset's name [default: nominal ports]
    #[arg(long, value_name = "PROFILE")]
    pub(crate) kernels: Option<String>,
    /// Nominal scale-up rate of a port, GB/s one way [default: the hardware's]
    #[arg(long, value_name = "GB/s")]
    pub(crate) scale_up: Option<f64>,
    /// Nominal scale-out rate of a port, GB/s one way [default: the hardware's]
    #[arg(long, value_name = "GB/s")]
    pub(crate) scale_out: Option<f64>,
    /// Ranks of a node, which is a scale-up domain
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) ranks_per_node: u32,
    /// Elements of a row
    #[arg(long, value_name = "H", default_value_t = 7168)]
    pub(crate) hidden: u32,
    /// Experts a token goes to
    #[arg(long, value_name = "K", default_value_t = 8)]
    pub(crate) top_k: u32,
    /// Inner width of an expert, of whole layers
    #[arg(long, value_name = "F", default_value_t = 2048)]
    pub(crate) expert_inter: u32,
    /// Experts, where no column says
    #[arg(long, value_name = "E", default_value_t = 256)]
    pub(crate) experts: u32,
    /// How copies travelled [default: with ep dedup, with sms hierarchical, else flat]
    #[arg(long, value_name = "SCHEME")]
    pub(crate) scheme: Option<DispatchScheme>,
    /// How experts were picked: uniform, or balanced (all ranks alike) [default: with ep balanced, else uniform]
    #[arg(long, value_name = "ROUTING")]
    pub(crate) routing: Option<blackboard::calibration::Routing>,
    /// Kernel and row format, or a server's accelerator, to write a profile of, as in the files, where they have several
    #[arg(long, value_name = "VARIANT")]
    pub(crate) variant: Option<String>,
    /// Leave measurements out and predict them: nodes>=4, 'tokens in 8,16', each:nodes, each:row, fold:5; several times
    #[arg(long, value_name = "RULE")]
    pub(crate) hold_out: Vec<HoldOut>,
    /// Fit nothing: how far off this profile is, a preset's name or a cluster file
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["out", "hold_out"])]
    pub(crate) evaluate: Option<String>,
    /// Where the measurements are from, for the profile [default: the files' names]
    #[arg(long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// When they were published, for the profile
    #[arg(long, value_name = "DATE", default_value = "not said")]
    pub(crate) date: String,
    /// Write the profile to this cluster file, for --hardware
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl CalibrateArgs {
    /// The nominal hardware's name.
    pub(crate) fn nominal(&self) -> &str {
        self.nominal.as_deref().unwrap_or("h100")
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard trust                                    errors by table
  railyard trust --plot trust.svg --csv rows.csv    as a picture, and every measurement with what is said of it")]
pub(crate) struct TrustArgs {
    /// Closed forms alone
    #[arg(long)]
    pub(crate) no_sim: bool,
    /// Draw the median error of each table, as .svg or .png
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Write every measurement with what is said of it
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
