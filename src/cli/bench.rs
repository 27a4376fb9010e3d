//! The flags of `railyard bench`.

use super::{ClusterArgs, GaugeArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use study::bench::parse_size;
use study::layer::{BackendKind, LayerArgs};
use study::scenario::{Takes, Words};

/// What a link or an even all-to-all takes of a scenario's words: racks and links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkWords;

impl Takes for LinkWords {
    const LEFT_OUT: &'static [&'static str] = &[
        "model",
        "top_k",
        "dtype",
        "kv_dtype",
        "memory_share",
        "scheme",
        "gate",
        "routing",
        "placement",
        "slots",
        "pp",
        "micro_batches",
        "tp",
        "mtp_depth",
        "mtp_acceptance",
        "common_weights",
        "seeds",
    ];
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard bench alltoall                             16 local processes in 2 racks, the columns of nccl-tests
  railyard bench alltoall --backend sim -b 1M -e 64M -f 2 -J out.json
  railyard bench link --tier scale-up                 two ranks of a rack
  railyard bench alltoall --racks 1 --ranks 4 --raw   what processes and QUIC carry here, beside TCP and memory copy
  railyard bench dispatch --scheme dedup --tokens 128 by rank, as DeepEP's tests print it
  railyard bench expert --backend analytic -b 1 -e 4096 -f 4
  railyard bench wire

Every column and formula is in docs/bench.md. Exit code: 0 done, 1 something was wrong or the host could not keep up, 2 usage.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Two ranks that send each other as much at once, in nccl-tests' columns (busbw = algbw)
    Link(Box<LinkArgs>),
    /// Equal bytes from every rank to every rank, in nccl-tests' columns
    Alltoall(Box<AlltoallArgs>),
    /// The dispatch of a layer, by rank, in lines like DeepEP's
    Dispatch(Box<RankArgs>),
    /// The combine of a layer, by rank, in lines like DeepEP's
    Combine(Box<RankArgs>),
    /// The experts of a layer: rows a second of the grouped products, beside the roofline
    Expert(Box<ExpertArgs>),
    /// Frames a second that this host makes and reads
    Wire(WireArgs),
}

/// How often.
#[derive(Debug, Args)]
pub(crate) struct Iterations {
    /// Measured rounds at most; they end when times differ by no more than 0.5%, two at least (quic) [default: 5]
    #[arg(short = 'n', long = "iters", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) iters: Option<u32>,
    /// Rounds before the measured ones (quic) [default: 1]
    #[arg(short = 'w', long = "warmup_iters", value_name = "N", value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) warmup_iters: Option<u32>,
    /// Write a JSON object to this file: of link and alltoall with the keys of nccl-tests
    #[arg(short = 'J', long = "json_file", value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,
}

/// Sizes, each a factor times the one before.
#[derive(Debug, Args)]
pub(crate) struct Sizes {
    /// Smallest size, bytes of a rank: 64K, 8M (K is 1024)
    #[arg(short = 'b', long = "minbytes", value_name = "SIZE", default_value = "64K", value_parser = parse_size)]
    pub(crate) min: u64,
    /// Largest size
    #[arg(short = 'e', long = "maxbytes", value_name = "SIZE", default_value = "4M", value_parser = parse_size)]
    pub(crate) max: u64,
    /// Each size over the one before
    #[arg(short = 'f', long = "stepfactor", value_name = "N", default_value_t = 4)]
    pub(crate) factor: u32,
}

/// Where it runs.
#[derive(Debug, Args)]
pub(crate) struct On {
    /// `analytic` (closed form), `sim` (virtual clock) or `quic` (processes over QUIC)
    #[arg(long, value_name = "BACKEND", default_value = "quic", help_heading = "Run")]
    pub(crate) backend: BackendKind,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// On which processes.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// Unthrottled: ports hold nothing back, times are of the wall: what processes and QUIC carry here
    #[arg(long, help_heading = "Run")]
    pub(crate) raw: bool,
    /// Run the ranks as tasks of this process, over the same QUIC
    #[arg(long, conflicts_with = "cluster", help_heading = "Run")]
    pub(crate) in_process: bool,
    #[command(flatten)]
    pub(crate) gauge: GaugeArgs,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Which link
    #[arg(long, value_name = "TIER", default_value = "scale-out", help_heading = "Racks and links")]
    pub(crate) tier: Tier,
    #[command(flatten)]
    pub(crate) even: AlltoallArgs,
}

/// A kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Inside a rack
    ScaleUp,
    /// Between racks
    ScaleOut,
}

#[derive(Debug, Args)]
pub(crate) struct AlltoallArgs {
    #[command(flatten)]
    pub(crate) scenario: Words<LinkWords>,
    #[command(flatten)]
    pub(crate) sizes: Sizes,
    #[command(flatten)]
    pub(crate) iterations: Iterations,
    #[command(flatten)]
    pub(crate) on: On,
}

#[derive(Debug, Args)]
pub(crate) struct RankArgs {
    // As `compare` takes it: of several backends the one nearest to reality, one scheme (hierarchical if none is said), one gate.
    #[command(flatten)]
    pub(crate) layer: LayerArgs,
    #[command(flatten)]
    pub(crate) iterations: Iterations,
    #[command(flatten)]
    pub(crate) place: Where,
}

#[derive(Debug, Args)]
pub(crate) struct ExpertArgs {
    /// Least tokens of a rank
    #[arg(short = 'b', long = "mintokens", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) min: u32,
    /// Most tokens of a rank
    #[arg(short = 'e', long = "maxtokens", value_name = "N", default_value_t = 512)]
    pub(crate) max: u32,
    /// Each number over the one before
    #[arg(short = 'f', long = "stepfactor", value_name = "N", default_value_t = 4)]
    pub(crate) factor: u32,
    #[command(flatten)]
    pub(crate) rank: RankArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WireArgs {
    /// Smallest row, bytes
    #[arg(short = 'b', long = "minbytes", value_name = "SIZE", default_value = "1K", value_parser = parse_size)]
    pub(crate) min: u64,
    /// Largest row, bytes; at most 128K
    #[arg(short = 'e', long = "maxbytes", value_name = "SIZE", default_value = "16K", value_parser = parse_size)]
    pub(crate) max: u64,
    /// Each size over the one before
    #[arg(short = 'f', long = "stepfactor", value_name = "N", default_value_t = 4)]
    pub(crate) factor: u32,
    /// Rows of a frame
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) rows: u32,
}
