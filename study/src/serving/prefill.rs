//! What a file says of replicas, and of ranks that compute prompts alone.
//!
//! The table `[prefill]` takes the words of `[serve]`, `[parallel]` and `[scheduler]` that say how ranks serve; what it doesn't say is as
//! there. So a pool of prompts is the same run with other words ([`ServeSpec::of_prompts`]).

use super::ServeError;
use super::spec::{Deployed, Prefill, PrefillPool, ServeSpec, place_of};

/// Most replicas of a pool.
const REPLICAS_MAX: u32 = 1_024;
/// The words of a scenario that a pool of prompts may have otherwise; the others are about the model and its requests.
const WORDS: [&str; 16] = [
    "hardware",
    "racks",
    "ranks_per_rack",
    "ranks",
    "throttle",
    "oversubscription",
    "background",
    "latency",
    "dtype",
    "memory_share",
    "scheme",
    "placement",
    "slots",
    "common_weights",
    "pp",
    "tp",
];
/// The word for trains, which stands in another table.
const TRAINS: &str = "micro_batches";
/// Words that say together what racks there are.
const RACKS: [&str; 3] = ["racks", "ranks_per_rack", "ranks"];

/// The keys of `[prefill]`: where each stands for the other ranks; `policy` and `parallel` are the keys of those tables.
pub(crate) fn prefill_keys(parallel: &[&str], policy: &[&str]) -> Vec<(String, String)> {
    let words = WORDS.iter().chain([&TRAINS]).map(|word| ((*word).to_owned(), place_of(word)));
    let table = |name: &str, keys: &[&str]| -> Vec<_> {
        let keys = keys.iter().filter(|key| **key != "lockstep");
        keys.map(|key| ((*key).to_owned(), format!("{name}.{key}"))).collect()
    };
    let replicas = ("replicas".to_owned(), "serve.replicas".to_owned());
    words.chain([replicas]).chain(table("parallel", parallel)).chain(table("scheduler", policy)).collect()
}

/// Whether `place` of the other ranks gives way to what `[prefill]` says at `said`: one word of racks stands against the others.
pub(crate) fn gives_way(place: &str, said: &[&str]) -> bool {
    let word = place.strip_prefix("serve.").unwrap_or_default();
    let says = |words: &[&str]| said.iter().any(|said| words.contains(said));
    match word {
        "ranks" => says(&RACKS),
        "racks" | "ranks_per_rack" => says(&["ranks", word]),
        _ => false,
    }
}

impl ServeSpec {
    /// The run of the pool that computes prompts, as if it were all.
    #[must_use]
    pub fn of_prompts(&self) -> Option<Self> {
        let PrefillPool { replicas, scenario, parallel, scheduler } = self.prefill.as_deref()?;
        Some(Self {
            scenario: scenario.clone(),
            serve: Deployed { prefill: Prefill::Here, replicas: *replicas, ..self.serve.clone() },
            parallel: *parallel,
            scheduler: scheduler.clone(),
            prefill: None,
            cache: None,
            ..self.clone()
        })
    }

    /// Whether there are more ranks than those of one deployment.
    #[must_use]
    pub const fn has_pools(&self) -> bool {
        self.prefill.is_some() || self.serve.replicas > 1
    }

    /// Checks the words of replicas and pools.
    pub(super) fn validate_pools(&self) -> Result<(), ServeError> {
        let refuse = |what: &str, problem: &str| Err(ServeError::setting(what, problem));
        let replicas = self.serve.replicas;
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            return refuse("serve.replicas", &format!("{replicas}: give 1 to {REPLICAS_MAX}"));
        }
        if !self.has_pools() {
            return Ok(());
        }
        let what = if self.prefill.is_some() { "prefill" } else { "serve.replicas" };
        if self.prefill.is_some() && self.serve.prefill == Prefill::Elsewhere {
            return refuse(
                "serve.prefill",
                "elsewhere: [prefill] says where prompts are computed; give one of the two",
            );
        }
        if self.cache.is_some() {
            return refuse(what, "tiers keep the caches of one deployment that does all; leave [cache] out");
        }
        if self.parallel.lockstep {
            return refuse(what, "stages in step are those of one deployment; leave parallel.lockstep out");
        }
        Ok(())
    }

    /// The fault of what only one deployment can do, where there are more.
    pub(super) fn refuse_pools(&self) -> Result<(), ServeError> {
        let what = if self.prefill.is_some() { "prefill" } else { "serve.replicas" };
        let problem = "real ranks are one deployment that computes prompts and answers; give --backend sim or analytic, or leave it out";
        if self.has_pools() { Err(ServeError::setting(what, problem)) } else { Ok(()) }
    }
}
