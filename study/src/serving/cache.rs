//! The prompts' cache of a run: tiers as an experiment gives them, and what the station asks of them.

use super::ServeError;
use super::deploy::Deployment;
use super::spec::{CacheTable, Prefill, ServeSpec, TierTable};
use blackboard::units::{DollarsPerS, FlopPerS, Params};
use serving::arrivals::ArrivalSpec;
use serving::arrivals::trace::TraceSummary;
use serving::tiers::{
    CacheError, CacheReport, CacheSpec, KvStore, Recompute, TierSpec, hbm_tier, tier_preset,
};
use serving::{Prefix, PrefixCache, Request};
use std::sync::Arc;
use topology::{Picos, Rate};

/// What a prompt's beginning may be found in.
#[derive(Debug)]
pub enum Cache {
    /// Nothing is kept.
    None,
    /// All prompts are computed elsewhere: only their last token is left.
    Elsewhere,
    /// Tiers. The first thing that goes wrong is told at the end; nothing is found from then on.
    Tiers(Box<KvStore>, Option<CacheError>),
}

impl Cache {
    /// The cache of `spec`.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for tiers that can't be.
    pub fn new(spec: &ServeSpec, deployment: &Deployment) -> Result<Self, ServeError> {
        match (&spec.cache, spec.serve.prefill) {
            (None, Prefill::Here) => Ok(Self::None),
            (None, Prefill::Elsewhere) => Ok(Self::Elsewhere),
            (Some(_), Prefill::Elsewhere) => Err(setting(
                "serve.prefill",
                "elsewhere: prompts come with their caches; leave [cache] out".to_owned(),
            )),
            (Some(table), Prefill::Here) => {
                let store = KvStore::new(cache_spec(spec, table, deployment)?);
                Ok(Self::Tiers(Box::new(store?), None))
            }
        }
    }

    /// What a reader should know where prompts share beginnings of which none was found; `trace` is what was recorded, `report` what
    /// came of the tiers.
    #[must_use]
    pub fn note(
        &self,
        arrivals: &ArrivalSpec,
        trace: Option<&TraceSummary>,
        report: Option<&CacheReport>,
    ) -> Option<String> {
        let shared = match trace {
            Some(trace) if trace.blocks_seen_before > 0 => {
                format!("{} of {} blocks were seen before", trace.blocks_seen_before, trace.blocks)
            }
            None if arrivals.prefixes.is_some() => "arrivals.prefixes".to_owned(),
            _ => return None,
        };
        let why = match self {
            Self::None => "and no tier holds them: give cache.tiers".to_owned(),
            Self::Elsewhere => return None,
            Self::Tiers(..) => format!("of which none was found: {}", report?.why_nothing()?),
        };
        Some(format!("prompts share beginnings ({shared}), {why}"))
    }

    /// What came of it at `now`.
    ///
    /// # Errors
    /// What went wrong first.
    pub fn report(&mut self, now: Picos) -> Result<Option<CacheReport>, ServeError> {
        match self {
            Self::Tiers(_, Some(error)) => Err(error.clone().into()),
            Self::Tiers(store, None) => Ok(Some(store.report(now))),
            _ => Ok(None),
        }
    }
}

fn setting(what: &str, problem: String) -> ServeError {
    ServeError::Setting { what: what.to_owned(), problem }
}

/// The tiers of `table` for the ranks of `deployment`.
///
/// # Errors
/// [`ServeError::Setting`] for a tier that can't be.
pub fn cache_spec(
    spec: &ServeSpec,
    table: &CacheTable,
    deployment: &Deployment,
) -> Result<CacheSpec, ServeError> {
    let (hardware, stack) = (&deployment.hardware, &deployment.stack);
    let ranks = deployment.cluster.num_ranks();
    let rank_price = DollarsPerS::per_hour(spec.serve.usd_per_rank_hour);
    let kept: u64 = deployment.memory.iter().map(|stage| stage.kept_bytes * u64::from(stack.columns())).sum();
    let rate =
        Rate::new(hardware.hbm_bytes_per_s).map_err(|error| setting("serve.hardware", error.to_string()))?;
    let whole = hbm_tier(hardware.hbm_bytes, rate, rank_price);
    let hbm = TierSpec { capacity_bytes: kept, ..whole.times(ranks) };
    let tiers = table.tiers.iter().enumerate().map(|(index, tier)| {
        tier_of(tier, &hbm).map_err(|problem| setting(&format!("cache.tiers[{index}]"), problem))
    });
    let model = &stack.model;
    let active = model.published_active.unwrap_or_else(|| model.active_params());
    let flops = hardware.flops(stack.dtype).map_err(|error| setting("serve.dtype", error.to_string()))?;
    let all = f64::from(ranks);
    let growth = model.cache_growth(0..model.num_layers(), stack.kv_dtype, 1);
    let kv = growth.per_token().ok_or_else(|| {
        let problem = format!(
            "{} has windows or states, and tiers hold blocks that each take as much; leave [cache] out",
            model.name
        );
        setting("cache.tiers", problem)
    })?;
    Ok(CacheSpec {
        tiers: tiers.collect::<Result<_, _>>()?,
        block_tokens: table.block_tokens,
        bytes_per_token: kv.ceil() as u64,
        recompute: Recompute::of(Params(active), FlopPerS(flops * all), DollarsPerS(rank_price.0 * all)),
        policy: table.policy,
        load: table.load,
    })
}

fn tier_of(table: &TierTable, hbm: &TierSpec) -> Result<TierSpec, String> {
    let parts = table.parts.unwrap_or(1);
    if parts == 0 {
        return Err("parts = 0: give 1 or more".to_owned());
    }
    let rate =
        |bytes_per_s: u64| Rate::new(bytes_per_s).map_err(|error| format!("read_bytes_per_s: {error}"));
    let mut tier = match table.preset.as_deref() {
        Some("hbm") => hbm.clone(),
        Some(name) => tier_preset(name).map_err(|error| error.to_string())?,
        None => {
            let missing = |key: &str| format!("{key} is missing; give it, or a preset");
            TierSpec {
                name: table.name.clone().ok_or_else(|| missing("name"))?,
                capacity_bytes: table.capacity_bytes.ok_or_else(|| missing("capacity_bytes"))?,
                read_bytes_per_s: rate(table.read_bytes_per_s.ok_or_else(|| missing("read_bytes_per_s"))?)?,
                usd_per_gb_hour: table.usd_per_gb_hour.ok_or_else(|| missing("usd_per_gb_hour"))?,
                in_place: false,
            }
        }
    };
    if let Some(name) = &table.name {
        tier.name.clone_from(name);
    }
    if let Some(capacity_bytes) = table.capacity_bytes {
        tier.capacity_bytes = capacity_bytes;
    }
    if let Some(bytes_per_s) = table.read_bytes_per_s {
        tier.read_bytes_per_s = rate(bytes_per_s)?;
    }
    if let Some(price) = table.usd_per_gb_hour {
        tier.usd_per_gb_hour = price;
    }
    let times = if table.preset.as_deref() == Some("hbm") { 1 } else { parts };
    Ok(tier.times(times))
}

impl PrefixCache for Cache {
    fn lookup(&mut self, now: Picos, request: &Request) -> (u32, Picos) {
        match self {
            Self::None | Self::Tiers(_, Some(_)) => (0, Picos::ZERO),
            Self::Elsewhere => (request.input_tokens - 1, Picos::ZERO),
            Self::Tiers(store, failed) => {
                match store.lookup(now, &blocks_of(request, store.block_tokens()), request.input_tokens) {
                    Ok(found) => (found.hit_tokens, found.load),
                    Err(error) => {
                        *failed = Some(error);
                        (0, Picos::ZERO)
                    }
                }
            }
        }
    }

    fn store(&mut self, now: Picos, request: &Request) {
        if let Self::Tiers(store, failed) = self
            && failed.is_none()
        {
            let prefix = blocks_of(request, store.block_tokens());
            *failed = store.store(now, &prefix, request.input_tokens).err();
        }
    }
}

/// A prompt's blocks. One that shares nothing has none, in blocks of any length.
fn blocks_of(request: &Request, block_tokens: u32) -> Prefix {
    if request.prefix.blocks.is_empty() {
        return Prefix { block_tokens, blocks: Arc::from([]) };
    }
    request.prefix.clone()
}
