//! The commands and their flags.

use crate::options::{BackendArg, SpecArgs, bytes};
use crate::sweep_flag::{Sweep, sweep};
use crate::words::PlacementParser;
use blackboard::deployment::Mode;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lecture::claims::Preset;
use moe::DispatchScheme;
use moe::placement::PlacementWord;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use topology::Dtype;

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
    /// Show or check racks and links
    Topology(TopologyArgs),
    /// Every claim of the lecture as an equation: formula, inputs, computed, stated, verdict
    Board(BoardArgs),
    /// One decode step of a model on hardware: what it takes, what binds, what it holds and costs
    Roofline(Box<RooflineArgs>),
    /// From measured expert loads to a placement of every layer, and how even it is
    Place(PlaceArgs),
    /// From measured dispatch and combine times to a hardware profile, and how far off it is
    Calibrate(CalibrateArgs),
    /// Make the cluster's certificate authority and certificates
    Certs(CertsArgs),
    /// Form a cluster of nodes, run a comparison on it, then serve clients
    Coordinator(Box<CoordinatorArgs>),
    /// Host one rank: register with a coordinator and do what it says
    Node(NodeArgs),
    /// Ask a coordinator whether it, or one of its nodes, is well
    Health(HealthArgs),
    /// The models that have a name, or all figures of one
    Model(ModelArgs),
    /// The hardware that has a name, or all figures of one
    Hardware(HardwareArgs),
    /// The placement policies that have a name, and what each does
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

const COMPARE_EXAMPLES: &str = "\
Examples:
  railyard compare                                    2 racks of 8 DeepSeek-V3 ranks on 16 local processes
  railyard compare --backend sim --tokens 512         simulated only, larger batches
  railyard compare --racks 4 --throttle 18            four racks, links as far apart as GB200 and CX7
  railyard compare --model mixtral-8x7b --routing gate --gate unlimited,limit:1
  railyard compare --routing trace:routing.jsonl --experts gemm
  railyard compare --base rack --latency zero --json  against a single rack of 8, as one JSON object
  railyard compare --cluster coordinator:7000 --certs ./certs   on a cluster that is running

Exit code: 0 done, 1 a row was not verified or the host could not keep up, 2 usage.";

/// A cluster that is running.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Run on the cluster of this coordinator
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "RAILYARD_CLUSTER",
        requires = "certs",
        help_heading = "Run"
    )]
    pub(crate) cluster: Option<String>,
    /// Directory with ca.pem and this client's certificate (with --cluster)
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS", requires = "cluster", help_heading = "Run")]
    pub(crate) certs: Option<PathBuf>,
    /// Name of the client's certificate (with --cluster)
    #[arg(long, value_name = "NAME", default_value = "cli", help_heading = "Run")]
    pub(crate) name: String,
    /// Datagram size; 1452 for networks with an MTU of 1500 (with --cluster)
    #[arg(
        long,
        value_name = "BYTES",
        env = "RAILYARD_DATAGRAM_BYTES",
        default_value_t = 1452,
        help_heading = "Run"
    )]
    pub(crate) datagram_bytes: u16,
}

#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Run the ranks as tasks of this process, over the same QUIC
    #[arg(long, conflicts_with = "cluster", help_heading = "Run")]
    pub(crate) in_process: bool,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print every column, as a pipe gets them, whether they fit the terminal or not
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) wide: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard run examples/throttle.toml                      every point on all cores, results/throttle.jsonl
  railyard run examples/throttle.toml --dry-run            what would run, each point as a command of its own
  railyard run examples/batch-curve.toml                   a serving experiment: what it is about say its tables
  railyard run sweep.toml --backend quic                   measured, one point after the other
  railyard run sweep.toml --shard 2/8                      the second of eight parts
  railyard report results                                  all parts in one table

Finished points are not run again: after Ctrl-C or a crash, the same command goes on. In a Slurm array or a Kubernetes
Indexed Job each task takes its own part (SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX with JOB_COMPLETIONS). Keys are the
flags of `railyard compare` (a layer) or the tables of docs/serving.md; docs/experiments.md has the rest.

Exit code: 0 done, 1 a point was not verified or the host could not keep up, 2 usage.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    /// Directory for results: NAME.jsonl, or NAME.I-of-N.jsonl for a part, and the file's plots
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
    pub(crate) backend: Vec<BackendArg>,
    /// Part I of N, from 1; `/N` takes I from a job array [default: the array's, else all points]
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Points at a time (analytic, sim) [default: as many as cores, fewer where memory does not suffice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// Memory that all points under way may take together: 2G, 500M [default: three quarters of what is available]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory_limit: Option<u64>,
    /// Run the ranks of quic as tasks of this process
    #[arg(long)]
    pub(crate) in_process: bool,
    /// Say what would run, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Every column of the table, even where the terminal is narrower
    #[arg(long, conflicts_with = "json")]
    pub(crate) wide: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
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
  railyard serve-bench serve.toml --json                         one JSON object with the keys of vLLM

docs/serving.md has the file's keys, the formula of every metric, and what is simulated, computed or assumed.

Exit code: 0 done, 1 failed or not to be trusted, 2 usage.")]
pub(crate) struct ServeBenchArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    #[command(flatten)]
    pub(crate) on: ClusterArgs,
    /// Directory for results (NAME.jsonl, to which the same command adds) and plots [default: none are written]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard report results                          every experiment in the directory, shards merged, mean and 95% interval over seeds
  railyard report results/throttle.jsonl --csv     a line a record, to load elsewhere
  railyard report results --plot throttle.svg --x throttle --y a2a_us --series scheme

Exit code: 0 done, 1 a point is missing, was not verified or is invalid, 2 usage.")]
pub(crate) struct ReportArgs {
    /// Files of results, or directories with them
    #[arg(required = true)]
    pub(crate) from: Vec<PathBuf>,
    /// Every column of the tables, even where the terminal is narrower
    #[arg(long, group = "format")]
    pub(crate) wide: bool,
    /// One line a record as CSV, of one experiment
    #[arg(long, group = "format")]
    pub(crate) csv: bool,
    /// One JSON object: a row each combination and backend, means and intervals; for several experiments a list of them
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
    /// Swept key, or column, along the x axis (with --plot): lines over numbers, bars over names
    #[arg(long, value_name = "KEY", requires = "plot")]
    pub(crate) x: Option<String>,
    /// Column along the y axis, such as a2a_us (with --plot)
    #[arg(long, value_name = "COLUMN", requires = "plot")]
    pub(crate) y: Option<String>,
    /// Swept keys, or `backend`, that come first in the legend; all others that vary have lines or bars of their own too
    #[arg(long, value_name = "KEY", requires = "plot", value_delimiter = ',')]
    pub(crate) series: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard board                        all claims with the lecture's own numbers
  railyard board scale-up --preset dsv3 one chapter with DeepSeek-V3 on GB200
  railyard board B5                     one claim and all that it computes
  railyard board --set throttle=18      what changes on GB200 with one 400 Gb/s card a GPU
  railyard board --plots plots          every chapter's plots as SVG

Verdicts: reproduces, order of magnitude (within a factor of 3), assumption (stated, not derivable), wrong input,
contradicts. Chapters: roofline, scale-up, pipeline, overtraining, prices, reversible (or A to F).")]
pub(crate) struct BoardArgs {
    /// A chapter or a claim [default: all]
    #[arg(value_name = "CHAPTER|ID")]
    pub(crate) selection: Option<String>,
    /// Whose inputs: `talk` (the lecture's own) or `dsv3` (DeepSeek-V3 on GB200)
    #[arg(long, value_name = "NAME", default_value = "talk")]
    pub(crate) preset: Preset,
    /// Vary an input in every claim that has it; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the plots to this directory as SVG, and print their paths
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    pub(crate) plots: Option<PathBuf>,
}

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
    /// A preset's name, or a Hugging Face config.json
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
    /// Whose experts and top-k: a preset's name, or a Hugging Face config.json; for the memory of weights
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) model: Option<String>,
    /// Experts a token goes to [default: the model's, else 8]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u32>,
    /// All policies side by side
    #[arg(long, conflicts_with = "export")]
    pub(crate) compare: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "export")]
    pub(crate) json: bool,
    /// Print the file that another system reads
    #[arg(long, value_name = "SYSTEM")]
    pub(crate) export: Option<ExportArg>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard calibrate --measured blackboard/data/h100-deepep-ll.csv                 the shipped profile h100-deepep-ll
  railyard calibrate --measured own.csv --nominal h800 --out own.toml             then compare --hardware own.toml
  railyard calibrate --measured own.csv --scale-up 450 --scale-out 50 --check-sim

Measurements are CSV, average microseconds of flat dispatch and combine: tokens,nodes,phase,us with phase dispatch or combine,
or a column for each phase and number of nodes: tokens,dispatch_1,combine_1,dispatch_2,... with `-` where there is none.")]
pub(crate) struct CalibrateArgs {
    /// Measured times (CSV)
    #[arg(long, value_name = "CSV")]
    pub(crate) measured: PathBuf,
    /// Hardware whose links are fitted, a preset's name: all else is kept
    #[arg(long, value_name = "NAME", default_value = "h100")]
    pub(crate) nominal: String,
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
    /// Experts
    #[arg(long, value_name = "E", default_value_t = 256)]
    pub(crate) experts: u32,
    /// Simulate every measurement as well (seeds 1 to 4): the mean over ranks, and the last rank
    #[arg(long)]
    pub(crate) check_sim: bool,
    /// Write the profile to this cluster file, for --hardware
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A preset's name, or a Hugging Face config.json [default: all presets]
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HardwareArgs {
    /// A preset's name, or a cluster file (.toml) [default: all presets]
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    #[command(subcommand)]
    pub(crate) command: TopologyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopologyCommand {
    /// Print the racks, hardware and links of a cluster file
    Show {
        /// Cluster file (TOML)
        file: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say whether a cluster file is sound
    Check {
        /// Cluster file (TOML)
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard certs ./certs                                a coordinator, client `cli`, nodes rack0-0 .. rack1-7
  railyard certs ./certs --racks 4 --ranks-per-rack 4
  railyard certs ./certs --node extra-0 --client alice

An authority that is already there is kept, and so are certificates; new names are added.")]
pub(crate) struct CertsArgs {
    /// Directory to write to
    pub(crate) dir: PathBuf,
    /// Racks whose nodes get certificates, named rack0-0 and so on
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) racks: u32,
    /// Nodes in each of them
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) ranks_per_rack: u32,
    /// A further node; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Vec<String>,
    /// A client besides `cli`; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  railyard certs ./certs
  railyard coordinator --nodes 16 --certs ./certs --out ./out
  railyard node --coordinator localhost:7000 --certs ./certs --name rack0-0     (and 15 more)")]
pub(crate) struct CoordinatorArgs {
    /// UDP address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7000")]
    pub(crate) listen: SocketAddr,
    /// Nodes to wait for before the first comparison
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) nodes: u32,
    /// Directory with ca.pem and coordinator.pem
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Directory for results: compare-N.json and compare-N.txt
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Seconds to wait for the nodes
    #[arg(long, value_name = "S", default_value_t = 120)]
    pub(crate) forming_limit: u32,
    /// Datagram size; 1452 for networks with an MTU of 1500
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES", default_value_t = 1452)]
    pub(crate) datagram_bytes: u16,
    /// Serve clients without a comparison first
    #[arg(long)]
    pub(crate) no_first_run: bool,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The coordinator
    #[arg(long, value_name = "HOST:PORT", env = "RAILYARD_CLUSTER")]
    pub(crate) coordinator: String,
    /// Directory with ca.pem and this node's certificate
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Name of the node and of its certificate; seats go by it: rack0-0, rack0-1, ...
    #[arg(long, value_name = "NAME", env = "RAILYARD_NODE")]
    pub(crate) name: String,
    /// Address to bind [default: 0.0.0.0, with --leave-with-stdin 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<IpAddr>,
    /// Address that the other nodes dial, if it is another one
    #[arg(long, value_name = "IP")]
    pub(crate) advertise: Option<IpAddr>,
    /// Seconds to look for the coordinator
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) connect_limit: u32,
    /// Datagram size, as the coordinator's [default: 1452, with --leave-with-stdin 6500]
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES")]
    pub(crate) datagram_bytes: Option<u16>,
    /// End when stdin does, as a local coordinator asks of its workers
    #[arg(long)]
    pub(crate) leave_with_stdin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard health --coordinator localhost:7000 --certs /certs                   does it serve?
  railyard health --coordinator localhost:7000 --certs /certs --nodes 16        are 16 nodes there?
  railyard health --coordinator coordinator:7000 --certs /certs --node rack0-3  is this node there?")]
pub(crate) struct HealthArgs {
    /// The coordinator
    #[arg(long, value_name = "HOST:PORT", env = "RAILYARD_CLUSTER")]
    pub(crate) coordinator: String,
    /// Directory with ca.pem and a client's certificate
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Name of the client's certificate
    #[arg(long, value_name = "NAME", default_value = "cli")]
    pub(crate) name: String,
    /// Least number of nodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) nodes: u32,
    /// A node that must have registered
    #[arg(long, value_name = "NAME", env = "RAILYARD_NODE")]
    pub(crate) node: Option<String>,
    /// Datagram size; 1452 for networks with an MTU of 1500
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES", default_value_t = 1452)]
    pub(crate) datagram_bytes: u16,
}
