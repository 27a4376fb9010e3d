//! The words of a scenario: a field is a flag by its name, a key of files, and a part of the command that repeats a run.

use super::files::is_cluster_file;
use super::{GateChoice, LatencyChoice, Racks, ScenarioError, Seeds};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, Error};
use moe::DispatchScheme;
use moe::placement::{POLICIES, PlacementWord};
use moe::routing::RoutingChoice;
use moe::work::{CommonWeights, Drafts};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::Display;
use topology::Dtype;

const MODEL: &str = "Model and tokens";
const LINKS: &str = "Racks and links";
const EXPERTS: &str = "Experts and routing";
const LAYOUT: &str = "Stages and seeds";

/// What is studied, as it is typed. Where a word may have several values, rows or points come of them; who takes one alone refuses more
/// (such as [`Scenario::the_scheme`]).
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
pub struct Scenario {
    /// A preset's name, a model file (.toml) or a Hugging Face config.json [default: deepseek-v3, for a trace a model that fits]
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    pub model: Option<String>,
    /// Experts a token goes to [default: the model's]
    #[arg(long, value_name = "K", help_heading = MODEL)]
    pub top_k: Option<u32>,
    /// Format of arithmetic, and of weights that are not quantised: bf16, fp8 or fp4 [default: fp8; what a file's weights are stored
    /// for; bf16 where the hardware has neither]
    #[arg(long, value_name = "DTYPE", help_heading = MODEL)]
    pub dtype: Option<Dtype>,
    /// Format of the KV cache's entries: bf16, fp8 or fp4 [default: fp8; what a config.json says, bf16 for one that says nothing]
    #[arg(long, value_name = "DTYPE", help_heading = MODEL)]
    pub kv_dtype: Option<Dtype>,
    /// Share of a rank's memory that weights, caches and buffers may take; the rest is a reserve
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = MODEL)]
    pub memory_share: f64,

    /// A preset's name, or a cluster file (.toml) with racks, hardware and links [default: talk-gb200]
    #[arg(long, value_name = "NAME|FILE", help_heading = LINKS)]
    pub hardware: Option<String>,
    /// Racks [default: 2, or the cluster file's]
    #[arg(long, value_name = "N", help_heading = LINKS)]
    pub racks: Option<u32>,
    /// Ranks in a rack, or one number a rack: 8,6 [default: 8, or the cluster file's]
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = LINKS)]
    pub ranks_per_rack: Vec<u32>,
    /// Ranks in all, shared out to the racks [default: what the racks add up to]
    #[arg(long, value_name = "N", help_heading = LINKS)]
    pub ranks: Option<u32>,
    /// Scale-up over scale-out rate [default: the hardware's; 8 of talk-gb200]
    #[arg(long, value_name = "X", help_heading = LINKS)]
    pub throttle: Option<f64>,
    /// Scale-out ports of a rack over its uplink, 1 to 1000: with 4 the ranks of a rack share a quarter of what their ports carry
    /// [default: 1, or the cluster file's]
    #[arg(long, value_name = "X", help_heading = LINKS)]
    pub oversubscription: Option<f64>,
    /// Share of every link between racks that a second job takes at all times, 0 to 0.999 [default: 0, or the cluster file's]
    #[arg(long, value_name = "SHARE", help_heading = LINKS)]
    pub background: Option<f64>,
    /// `zero`, `preset` or two numbers of microseconds, in a rack and between racks; compare takes it several times
    /// [default: preset; compare: zero and preset]
    #[arg(
        long,
        value_name = "zero|preset|US,US",
        num_args = 0..=1,
        default_missing_value = "preset",
        help_heading = LINKS
    )]
    pub latency: Vec<LatencyChoice>,
    /// How rows travel: flat, dedup or hierarchical; compare takes several with a comma between them, and bases come with them
    /// [default: dedup; compare: all]
    #[arg(long, value_name = "SCHEME", value_delimiter = ',', help_heading = LINKS)]
    pub scheme: Vec<DispatchScheme>,

    /// `unlimited`, or `limit:M` for at most M racks a token; compare takes several with a comma between them
    /// [default: unlimited; compare: unlimited,limit:1]
    #[arg(long, value_name = "GATE", value_delimiter = ',', help_heading = EXPERTS)]
    pub gate: Vec<GateChoice>,
    /// `model` (the model's own gate on drawn scores), `uniform` (no limits), `gate` (seeded weights on hidden states), `zipf:S`, `log-normal:S`, `power-law:A`,
    /// `drifting:S,STEPS`, `workload:W0` to `workload:W7` (docs/loads.md), `loads:FILE` or `trace:FILE`
    #[arg(long, value_name = "ROUTING", default_value = "model", help_heading = EXPERTS)]
    pub routing: RoutingChoice,
    /// Where experts are: a policy, a file (ours, vLLM's, TensorRT-LLM's or SGLang's) or a program (docs/placement.md). What is made for a
    /// demand is made for the one measured, or for the one that the routing is expected to have, from other tokens than those of the
    /// run (a trace: from all its rows) [default: linear; place: all of them, side by side]
    #[arg(
        long,
        alias = "policy",
        value_name = "NAME|FILE|exec:COMMAND",
        value_parser = PlacementParser,
        help_heading = EXPERTS
    )]
    pub placement: Option<PlacementWord>,
    /// Expert slots over all ranks of a stage; those beyond the experts are replicas [default: one an expert, or what the placement has]
    #[arg(long, value_name = "N", help_heading = EXPERTS)]
    pub slots: Option<u32>,

    /// Pipeline stages
    #[arg(long, value_name = "P", default_value_t = 1, help_heading = LAYOUT)]
    pub pp: u32,
    /// Micro-batches in flight [default: as many as stages]
    #[arg(long, value_name = "M", help_heading = LAYOUT)]
    pub micro_batches: Option<u32>,
    /// Tensor parallelism: ranks of a rack that share out heads and inner widths of attention, dense blocks and shared experts, and work on the
    /// same sequences; closed forms and simulations alone
    #[arg(long, value_name = "T", default_value_t = 1, help_heading = LAYOUT)]
    pub tp: u32,
    /// Multi-token prediction: tokens that the model's further layers draft a step, checked all at once by the next; closed forms and
    /// simulations alone
    #[arg(long, value_name = "D", default_value_t = 0, help_heading = MODEL)]
    pub mtp_depth: u32,
    /// Probability that a draft holds where those before it did; needed with --mtp-depth
    #[arg(long, value_name = "P", help_heading = MODEL)]
    pub mtp_acceptance: Option<f64>,
    /// Where the weights lie that every token uses: `replicated` (on every rank, or group of --tp) or `even` (an equal part on each rank)
    /// [default: replicated; even for a model without experts]
    #[arg(long, value_name = "WHERE", help_heading = LAYOUT)]
    pub common_weights: Option<CommonWeights>,
    /// Seeds, each a run of its own: 1,2,7 or 1-5
    #[arg(long, alias = "seed", value_name = "SEEDS", default_value = "1", help_heading = LAYOUT)]
    pub seeds: Seeds,
}

impl Scenario {
    /// What is said of racks.
    #[must_use]
    pub fn said_of_racks(&self) -> Racks {
        Racks { racks: self.racks, ranks_per_rack: self.ranks_per_rack.clone(), ranks: self.ranks }
    }

    /// Whether the hardware is a cluster file, which says what racks there are.
    #[must_use]
    pub fn names_racks(&self) -> bool {
        self.hardware.as_deref().is_some_and(is_cluster_file)
    }

    /// Tokens drafted a step.
    ///
    /// # Errors
    /// [`ScenarioError`] for drafts without a probability that they hold, or one that can't be.
    pub fn drafts(&self) -> Result<Drafts, ScenarioError> {
        let refused = |problem: String| ScenarioError::new("mtp_acceptance", problem);
        let drafts = match (self.mtp_depth, self.mtp_acceptance) {
            (0, None) => Drafts::default(),
            (0, Some(p)) => return Err(refused(format!("{p}: nothing is drafted; give --mtp-depth too"))),
            (depth, None) => {
                return Err(refused(format!("{depth} drafts a step: give the probability that one holds")));
            }
            (depth, Some(acceptance)) => Drafts { depth, acceptance },
        };
        drafts.validate().map(|()| drafts).map_err(refused)
    }

    /// The one latency.
    ///
    /// # Errors
    /// [`ScenarioError`] where several are given; so of the others below.
    pub fn the_latency(&self) -> Result<LatencyChoice, ScenarioError> {
        one("latency", &self.latency, LatencyChoice::Preset)
    }

    /// The one scheme.
    ///
    /// # Errors
    /// As [`Self::the_latency`].
    pub fn the_scheme(&self) -> Result<DispatchScheme, ScenarioError> {
        one("scheme", &self.scheme, DispatchScheme::Dedup)
    }

    /// The one seed.
    ///
    /// # Errors
    /// As [`Self::the_latency`].
    pub fn the_seed(&self) -> Result<u64, ScenarioError> {
        one("seeds", &self.seeds.0, 1)
    }
}

/// The one value of `word`.
fn one<T: Copy + Display>(word: &'static str, values: &[T], default: T) -> Result<T, ScenarioError> {
    match values {
        [] => Ok(default),
        [value] => Ok(*value),
        [first, ..] => {
            let count = values.len();
            Err(ScenarioError::new(
                word,
                format!("{count} of them; give one, such as {first}, or sweep over them in a file"),
            ))
        }
    }
}

/// Reads a placement; lists the policies in help.
#[derive(Clone, Copy, Debug)]
pub struct PlacementParser;

impl TypedValueParser for PlacementParser {
    type Value = PlacementWord;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<PlacementWord, Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        text.parse().map_err(|error: String| Error::raw(ErrorKind::ValueValidation, error).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(POLICIES.iter().map(|policy| PossibleValue::new(policy.name()).help(policy.help()))))
    }
}
