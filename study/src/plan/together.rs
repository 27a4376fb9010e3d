//! Two pools served together, as the proof of a plan does: what share of what each carries alone they carry within the limits.

use super::proof::proof_spec;
use super::trial::of_record;
use super::{Ask, Choice, Layout, Together};
use crate::scenario::Seeds;
use crate::serving::{ServeError, Sources, serve};
use std::collections::BTreeMap;

/// Seeds with each of which the limits must be kept.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;
/// What of a load is tried next where it keeps too little.
const LESS: f64 = 0.96;
/// Pools that carry less than this share together are left out.
const LEAST: f64 = 0.4;

impl Together {
    /// `choice` at all that it is to carry.
    pub(super) fn of(ask: &Ask, choice: &Choice, sources: &dyn Sources) -> Result<Self, ServeError> {
        let mut ask = ask.clone();
        ask.load.rate = Some(choice.rate);
        let served = |seed: u64| -> Result<Self, ServeError> {
            let mut spec = proof_spec(&ask, choice);
            spec.serve.cost = crate::serving::CostChoice::Analytic;
            spec.scenario.seeds = Seeds(vec![seed]);
            if let Some(pool) = &mut spec.prefill {
                pool.scenario.seeds = Seeds(vec![seed]);
            }
            let record = serve(&spec, sources, &mut |_| ())?;
            Ok(of_record(&record, choice.rate, 0).map_or(Self::NOTHING, |trial| Self {
                kept: trial.kept,
                ttft_ms: trial.ttft_ms,
                p90_ttft_ms: trial.p90_ttft_ms,
                tpot_ms: trial.tpot_ms,
                p90_tpot_ms: trial.p90_tpot_ms,
            }))
        };
        let mut worst = served(*SEEDS.start())?;
        // One seed that keeps too little is enough.
        for seed in SEEDS.skip(1) {
            if !worst.keeps() {
                break;
            }
            let other = served(seed)?;
            worst = if other.kept < worst.kept { other } else { worst };
        }
        Ok(worst)
    }

    const NOTHING: Self = Self {
        kept: 0.0,
        ttft_ms: f64::INFINITY,
        p90_ttft_ms: f64::INFINITY,
        tpot_ms: f64::INFINITY,
        p90_tpot_ms: f64::INFINITY,
    };

    fn keeps(&self) -> bool {
        self.kept >= Ask::KEPT
    }
}

/// What is known of two layouts together.
#[derive(Clone, Debug)]
struct Pair {
    /// Of what they carry one by one.
    share: f64,
    /// Replicas with which they kept the limits at that share.
    kept: Option<(Vec<u32>, Together)>,
}

/// What is known of all pairs that were served.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs(BTreeMap<Vec<Layout>, Pair>);

impl Pairs {
    /// The share that `layouts` carry together of what they carry one by one, as far as is known; 0 where they are left out.
    pub(super) fn share(&self, layouts: &[Layout]) -> f64 {
        self.0.get(layouts).map_or(1.0, |pair| pair.share)
    }

    /// How so many replicas of `layouts` did together.
    pub(super) fn known(&self, layouts: &[Layout], replicas: &[u32]) -> Option<Together> {
        let (kept, together) = self.0.get(layouts)?.kept.as_ref()?;
        (kept == replicas).then_some(*together)
    }

    /// Notes how `choice` did: where it keeps too little, it is to carry less.
    pub(super) fn note(&mut self, choice: &Choice, together: Together) {
        let layouts: Vec<Layout> = choice.parts.iter().map(|part| part.layout).collect();
        let replicas = choice.parts.iter().map(|part| part.replicas).collect();
        let pair = self.0.entry(layouts).or_insert(Pair { share: 1.0, kept: None });
        if together.keeps() {
            pair.kept = Some((replicas, together));
        } else {
            pair.share *= LESS;
            pair.kept = None;
            if pair.share < LEAST {
                pair.share = 0.0;
            }
        }
    }
}
