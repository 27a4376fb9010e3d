//! What a serving experiment says: the deployment, its trains, its requests, its cache, what is asked of it.

use serde::{Deserialize, Serialize};
use serving::arrivals::ArrivalSpec;
use serving::cost::Overlap;
use serving::tiers::{LoadRule, Policy};
use serving::{Slo, TrainPolicy};

use super::ServeError;
use crate::scenario::{Scenario, Takes};

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

/// What serving takes of a scenario's words; [`place_of`] has where they stand in files.
#[derive(Clone, Copy, Debug)]
pub struct ServeWords;

impl Takes for ServeWords {
    const LEFT_OUT: &'static [&'static str] = &["gate"];
}

/// The place of a scenario's word in files.
#[must_use]
pub fn place_of(word: &str) -> String {
    match word {
        "pp" | "tp" | "micro_batches" => format!("parallel.{word}"),
        "seeds" => "serve.seed".to_owned(),
        _ => format!("serve.{word}"),
    }
}

/// How ranks serve, beside what the scenario says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deployed {
    /// Where prompts are computed.
    pub prefill: Prefill,
    /// Where times are from.
    pub cost: CostChoice,
    /// What a rank costs, $/h.
    pub usd_per_rank_hour: f64,
    /// Like deployments behind one queue.
    #[serde(skip_serializing_if = "is_one")]
    pub replicas: u32,
}

/// One is not written, so that a run of one deployment is what it was before there could be more.
#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
const fn is_one(replicas: &u32) -> bool {
    *replicas == 1
}

impl Default for Deployed {
    /// $2 an hour, as the lecture has it (claim A20 of `railyard board`).
    fn default() -> Self {
        Self { prefill: Prefill::Here, cost: CostChoice::Memoised, usd_per_rank_hour: 2.0, replicas: 1 }
    }
}

/// How stages work, beside what the scenario says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parallel {
    /// Ranks of an expert-parallel group, that is of a stage. All ranks over `pp`; given, it is checked.
    pub ep: Option<u32>,
    /// What overlaps in a stage.
    pub overlap: Overlap,
    /// Whether stages go in step, as on real ranks: each tick a train, or none, enters the first, and all wait for the slowest.
    pub lockstep: bool,
    /// Takes the place of what links say of a hop from stage to stage, us.
    pub hop_us: Option<f64>,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { ep: None, overlap: Overlap::None, lockstep: false, hop_us: None }
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

/// Ranks that compute prompts alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefillPool {
    /// Like deployments behind one queue.
    pub replicas: u32,
    /// What is studied, its racks, stages, scheme and so on those of this pool.
    pub scenario: Scenario,
    /// How its stages work.
    pub parallel: Parallel,
    /// When its trains leave and what they carry.
    pub scheduler: TrainPolicy,
}

/// One serving run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSpec {
    /// What is studied.
    #[serde(default)]
    pub scenario: Scenario,
    /// How it is served.
    #[serde(default)]
    pub serve: Deployed,
    /// How stages work.
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
    /// The ranks that compute prompts, where the others don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<Box<PrefillPool>>,
}

impl ServeSpec {
    /// Micro-batches, that is trains.
    #[must_use]
    pub fn micro_batches(&self) -> u32 {
        self.scenario.micro_batches.unwrap_or(self.scenario.pp)
    }

    /// Checks the numbers that need nothing else.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for the first that can't be.
    pub fn validate(&self) -> Result<(), ServeError> {
        let refuse = |what: &str, problem: String| Err(ServeError::setting(what, problem));
        let price = self.serve.usd_per_rank_hour;
        if !(0.0..=1e6).contains(&price) {
            return refuse("serve.usd_per_rank_hour", format!("{price}: give dollars from 0 to 1000000"));
        }
        let limits = [("ttft", self.slo.ttft_ms), ("tpot", self.slo.tpot_ms), ("e2el", self.slo.e2el_ms)];
        for (name, ms) in limits.into_iter().filter_map(|(name, ms)| Some((name, ms?))) {
            if !(ms.is_finite() && ms > 0.0) {
                return refuse(&format!("slo.{name}_ms"), format!("{ms}: give milliseconds above 0"));
            }
        }
        if self.scenario.pp == 0 {
            return refuse("parallel.pp", "0: give 1 or more stages".to_owned());
        }
        if !(1..=1_024).contains(&self.micro_batches()) {
            let problem = format!("{}: give 1 to 1024", self.micro_batches());
            return refuse("parallel.micro_batches", problem);
        }
        let used = self.scenario.memory_share;
        if !(used > 0.0 && used <= 1.0) {
            return refuse("serve.memory_share", format!("{used}: give a share above 0, and at most 1"));
        }
        let share = self.hbm_share();
        if !(0.0..=0.95).contains(&share) {
            return refuse("cache.hbm_share", format!("{share}: give a share from 0 to 0.95"));
        }
        self.scheduler.validate().map_err(|error| ServeError::setting("scheduler", error))
    }

    /// Share of the memory left by weights and buffers that is kept for caches of ended requests.
    #[must_use]
    pub fn hbm_share(&self) -> f64 {
        self.cache.as_ref().map_or(0.0, |cache| cache.hbm_share)
    }
}
