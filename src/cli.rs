//! The commands; the flags of each are in a file below.

mod bench;
mod calibrate;
mod cluster;
mod compare;
mod experiments;
mod jobs;
mod known;
mod place;
mod plan;
mod roofline;
mod swarm;
mod timeline;

pub(crate) use bench::{
    AlltoallArgs, BenchArgs, BenchCommand, ExpertArgs, LinkArgs, RankArgs, Tier, Where, WireArgs,
};
pub(crate) use calibrate::{CalibrateArgs, TrustArgs};
pub(crate) use cluster::{
    CertsArgs, ClientArgs, ClusterArgs, CoordinatorArgs, DrainArgs, GaugeArgs, HealthArgs, NodeArgs, UiArgs,
};
pub(crate) use compare::CompareArgs;
pub(crate) use experiments::{ExperimentArgs, ReportArgs, RunArgs, ServeBenchArgs};
pub(crate) use jobs::{CancelArgs, RunsArgs, SubmitArgs, WatchArgs};
pub(crate) use known::{BoardArgs, HardwareArgs, ModelArgs, TopologyArgs, TopologyCommand};
pub(crate) use place::{ExportArg, PlaceArgs};
pub(crate) use plan::PlanArgs;
pub(crate) use roofline::RooflineArgs;
pub(crate) use swarm::SwarmArgs;
pub(crate) use timeline::TimelineArgs;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Expert-parallel mixture-of-experts over emulated racks: what a second rack costs, measured over QUIC.
#[derive(Debug, Parser)]
#[command(
    name = "railyard",
    version = env!("RAILYARD_VERSION"),
    arg_required_else_help = true,
    propagate_version = true,
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Log what happens to stderr (RUST_LOG chooses finer)
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// No progress, errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One rack against several: every scheme and placement, measured, simulated and by closed forms
    Compare(Box<CompareArgs>),
    /// An experiment file: a sweep over the options of `compare`, point by point, resumable, in shards
    Run(Box<RunArgs>),
    /// Tables, CSV, JSON or a plot from the results of `run`, shards merged
    Report(Box<ReportArgs>),
    /// Serve requests: trains, KV caches and pipelines by an experiment file, in the words of `vllm bench serve`
    ServeBench(Box<ServeBenchArgs>),
    /// Links, all-to-alls, dispatch, combine, experts and frames, in the columns of nccl-tests and DeepEP
    Bench(Box<BenchArgs>),
    /// Show or check racks and links
    Topology(TopologyArgs),
    /// Every claim of the lecture as an equation: formula, inputs, computed, stated, verdict
    Board(BoardArgs),
    /// One decode step of a model on hardware: what it takes, what binds, what it holds and costs
    Roofline(Box<RooflineArgs>),
    /// The best deployment of a model on racks under limits on TTFT and TPOT, why, and the proof to run
    Plan(Box<PlanArgs>),
    /// From measured expert loads to a placement of every layer, and how even it is
    Place(Box<PlaceArgs>),
    /// From measured dispatch and combine times to a hardware profile, and how far off it is
    Calibrate(CalibrateArgs),
    /// Every published measurement in the tree beside closed forms and the simulator: how far off they are
    Trust(TrustArgs),
    /// Make the cluster's certificate authority and certificates
    Certs(CertsArgs),
    /// Form a cluster of nodes, run a comparison on it, then serve clients
    Coordinator(Box<CoordinatorArgs>),
    /// Host one rank: register with a coordinator and do what it says
    Node(NodeArgs),
    /// Ask a coordinator whether it, or one of its nodes, is well
    Health(HealthArgs),
    /// Leave a comparison with a running cluster, and go
    Submit(Box<SubmitArgs>),
    /// The comparisons that a coordinator keeps: which wait, which is under way, which are done
    Runs(RunsArgs),
    /// Wait for a comparison on a running cluster, and print its tables
    Watch(WatchArgs),
    /// End a comparison on a running cluster
    Cancel(CancelArgs),
    /// Empty a node of a running cluster for maintenance, without losing a step
    Drain(DrainArgs),
    /// Disturb thousands of small clusters in this process, and see that no run is harmed
    Swarm(SwarmArgs),
    /// The models that have a name, or one as a model file
    Model(ModelArgs),
    /// The hardware that has a name, or one as a cluster file
    Hardware(HardwareArgs),
    /// The placement policies and gates that have a name, and what each does
    Policies {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a script that completes this command's words in a shell
    Completions {
        /// Whose script
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands to a directory
    Man {
        /// Directory to write railyard.1, railyard-compare.1 and so on to
        dir: Option<PathBuf>,
    },
}
