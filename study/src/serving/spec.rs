//! What a serving experiment says: the deployment, its trains, its requests, its cache, what is asked of it.

use serde::{Deserialize, Serialize};
use serving::arrivals::{ArrivalKind, ArrivalSpec};
use serving::cost::Overlap;
use serving::tiers::{LoadRule, Policy};
use serving::{Slo, TrainPolicy};
use topology::{Dtype, Hardware};

use crate::layer::LatencyChoice;
use moe::DispatchScheme;
use moe::work::CommonWeights;

/// Where the times of steps are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostChoice {
    /// Every frame of every step is simulated.
    Frames,
    /// Layers are simulated once a shape and looked up or interpolated afterwards; the error is measured.
    #[default]
    Memoised,
    /// Closed forms.
    Analytic,
}

/// Where prompts are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefill {
    /// On these ranks.
    #[default]
    Here,
    /// On others, which hand over the caches at no time: a decode cluster. A prompt's last token is computed here.
    Elsewhere,
}

/// The deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deployed {
    /// A preset, or a Hugging Face config.json.
    pub model: String,
    /// A preset, or a cluster file.
    pub hardware: String,
    /// Racks in all.
    pub racks: u32,
    /// Ranks of each.
    pub ranks_per_rack: u32,
    /// Scale-up over scale-out rate; the hardware's where it isn't given.
    pub throttle: Option<f64>,
    /// Latencies of the links.
    pub latency: String,
    /// Weights and arithmetic.
    pub dtype: Dtype,
    /// KV cache.
    pub kv_dtype: Dtype,
    /// Where the weights lie that every token uses.
    pub common_weights: CommonWeights,
    /// How rows travel.
    pub scheme: DispatchScheme,
    /// Where experts are on the ranks of a stage: a policy's name, or a file.
    pub placement: String,
    /// Expert slots on the ranks of a stage; one an expert where it isn't given.
    pub slots: Option<u32>,
    /// Where routing comes from, as `railyard compare --routing` takes it.
    pub routing: String,
    /// Where prompts are computed.
    pub prefill: Prefill,
    /// Where times are from.
    pub cost: CostChoice,
    /// What a rank costs, $/h.
    pub usd_per_rank_hour: f64,
    /// Seed of routing, arrivals and lengths.
    pub seed: u64,
}

impl Default for Deployed {
    /// DeepSeek-V3 in FP8 on one rack of 64 GB200, as the lecture has them, at $2 an hour (claims A20 and B1 of `railyard board`).
    fn default() -> Self {
        Self {
            model: "deepseek-v3".to_owned(),
            hardware: Hardware::DEFAULT_PRESET.to_owned(),
            racks: 1,
            ranks_per_rack: 64,
            throttle: None,
            latency: "preset".to_owned(),
            dtype: Dtype::Fp8,
            kv_dtype: Dtype::Fp8,
            common_weights: CommonWeights::default(),
            scheme: DispatchScheme::Hierarchical,
            placement: "linear".to_owned(),
            slots: None,
            routing: "uniform".to_owned(),
            prefill: Prefill::Here,
            cost: CostChoice::Memoised,
            usd_per_rank_hour: 2.0,
            seed: 1,
        }
    }
}

/// How the model is spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parallel {
    /// Ranks of an expert-parallel group, that is of a stage. All ranks over `pp`; given, it is checked.
    pub ep: Option<u32>,
    /// Pipeline stages: whole racks each, or equal parts of a rack each.
    pub pp: u32,
    /// Micro-batches, that is trains; as many as stages where it isn't given.
    pub micro_batches: Option<u32>,
    /// What overlaps in a stage.
    pub overlap: Overlap,
    /// Whether stages go in step, as on real ranks: each tick a train, or none, enters the first, and all wait for the slowest.
    pub lockstep: bool,
    /// Takes the place of what links say of a hop from stage to stage, us.
    pub hop_us: Option<f64>,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { ep: None, pp: 1, micro_batches: None, overlap: Overlap::None, lockstep: false, hop_us: None }
    }
}

/// A memory tier: a preset, so many of it, or all of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierTable {
    /// `hbm`, `ddr5`, `nvme`, `qlc`, `hdd`, ...
    pub preset: Option<String>,
    /// How many of it; 1 where it isn't given. `hbm` is what `hbm_share` sets aside, whatever this says.
    pub parts: Option<u32>,
    /// In place of the preset's name.
    pub name: Option<String>,
    /// In place of the preset's capacity of one part, bytes.
    pub capacity_bytes: Option<u64>,
    /// In place of the preset's rate of one part, bytes/s.
    pub read_bytes_per_s: Option<u64>,
    /// In place of the preset's price.
    pub usd_per_gb_hour: Option<f64>,
}

/// Where caches of ended requests wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheTable {
    /// How long.
    pub policy: Policy,
    /// When they are loaded.
    pub load: LoadRule,
    /// Tokens of a block: those of the trace.
    pub block_tokens: u32,
    /// Share of the memory left by weights and buffers that is kept for them.
    pub hbm_share: f64,
    /// From fast to slow.
    pub tiers: Vec<TierTable>,
}

impl Default for CacheTable {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            load: LoadRule::default(),
            block_tokens: 512,
            hbm_share: 0.2,
            tiers: Vec::new(),
        }
    }
}

/// One serving run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSpec {
    /// The deployment.
    #[serde(default)]
    pub serve: Deployed,
    /// How the model is spread.
    #[serde(default)]
    pub parallel: Parallel,
    /// When trains leave and what they carry.
    #[serde(default)]
    pub scheduler: TrainPolicy,
    /// Requests.
    pub arrivals: ArrivalSpec,
    /// Where caches of ended requests wait; nowhere where it isn't given.
    #[serde(default)]
    pub cache: Option<CacheTable>,
    /// What requests are to keep.
    #[serde(default)]
    pub slo: Slo,
}

impl ServeSpec {
    /// Requests of `kind`, all else as it is where nothing is said.
    #[must_use]
    pub fn new(kind: ArrivalKind) -> Self {
        Self {
            serve: Deployed::default(),
            parallel: Parallel::default(),
            scheduler: TrainPolicy::default(),
            arrivals: ArrivalSpec::new(kind),
            cache: None,
            slo: Slo::default(),
        }
    }

    /// Micro-batches.
    #[must_use]
    pub fn micro_batches(&self) -> u32 {
        self.parallel.micro_batches.unwrap_or(self.parallel.pp)
    }

    /// The latencies.
    ///
    /// # Errors
    /// What can be given.
    pub fn latency(&self) -> Result<LatencyChoice, String> {
        self.serve.latency.parse().map_err(|error: crate::layer::ChoiceError| error.to_string())
    }
}
