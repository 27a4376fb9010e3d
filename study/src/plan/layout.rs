//! Layouts: what one replica is made of, and all that a yard has room for.

use super::{Ask, PlanError};
use crate::scenario::{Scenario, Studied};
use crate::serving::{CostChoice, Deployed, Parallel, Prefill, ServeSpec};
use moe::DispatchScheme;
use serde::Serialize;
use serving::arrivals::ArrivalSpec;
use serving::cost::Overlap;
use serving::{Slo, TrainPolicy};
use std::fmt;

/// Tensor parallelism that is tried.
const TP: [u32; 4] = [1, 2, 4, 8];
/// Stages that are tried.
const PP: [u32; 4] = [1, 2, 4, 8];
/// New tokens of a rank in one step that are tried: where prompts ride beside answers, where they ride alone, where answers do.
const STEP_TOKENS: [&[u32]; 3] = [&[512, 2_048, 8_192], &[4_096, 16_384], &[1_024]];

/// What the ranks of a replica do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Prompts and answers.
    Whole,
    /// Prompts alone, whose caches they hand over.
    Prefill,
    /// Answers alone.
    Decode,
}

impl Role {
    /// What stands before a word about one of two pools.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Prefill => "prefill: ",
            Self::Decode => "decode: ",
        }
    }
}

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Layout {
    /// What it does.
    pub role: Role,
    /// Racks that it lies in.
    pub racks: u32,
    /// Its ranks in each.
    pub ranks_per_rack: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Micro-batches in flight.
    pub micro_batches: u32,
    /// Ranks that share out heads and inner widths.
    pub tp: u32,
    /// How rows travel.
    #[serde(serialize_with = "scheme")]
    pub scheme: DispatchScheme,
    /// What overlaps.
    pub overlap: Overlap,
    /// Most new tokens of a rank in one step.
    pub step_tokens: u32,
}

fn scheme<S: serde::Serializer>(scheme: &DispatchScheme, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(scheme)
}

impl Layout {
    /// All ranks.
    #[must_use]
    pub const fn ranks(&self) -> u32 {
        self.racks * self.ranks_per_rack
    }

    /// Ranks of a stage, the expert-parallel group.
    #[must_use]
    pub const fn ep(&self) -> u32 {
        self.ranks() / self.pp
    }

    /// The serving run of this layout, `seats` sequences of a rank on a train at most, with `arrivals`.
    #[must_use]
    pub fn spec(&self, ask: &Ask, seats: u32, arrivals: ArrivalSpec) -> ServeSpec {
        let scenario = Scenario {
            racks: Some(self.racks),
            ranks_per_rack: vec![self.ranks_per_rack],
            ranks: None,
            pp: self.pp,
            tp: self.tp,
            micro_batches: Some(self.micro_batches),
            scheme: vec![self.scheme],
            ..ask.scenario.clone()
        };
        let prefill = if self.role == Role::Decode { Prefill::Elsewhere } else { Prefill::Here };
        ServeSpec {
            scenario,
            serve: Deployed {
                prefill,
                cost: CostChoice::Analytic,
                usd_per_rank_hour: ask.usd_per_rank_hour,
                ..Deployed::default()
            },
            parallel: Parallel { overlap: self.overlap, ..Parallel::default() },
            scheduler: TrainPolicy {
                max_num_seqs: seats.clamp(1, self.step_tokens),
                max_num_batched_tokens: self.step_tokens,
                ..TrainPolicy::default()
            },
            arrivals,
            cache: None,
            slo: Slo {
                ttft_ms: Some(ask.limits.ttft_ms),
                tpot_ms: Some(ask.limits.tpot_ms).filter(|_| self.role != Role::Prefill),
                e2el_ms: None,
            },
            prefill: None,
        }
    }
}

impl fmt::Display for Layout {
    /// `EP 32 over 2 racks, TP 2, 2 stages with 4 micro-batches, hierarchical, two batches overlapped`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EP {}", self.ep())?;
        if self.racks > 1 {
            write!(f, " over {} racks", self.racks)?;
        }
        if self.tp > 1 {
            write!(f, ", TP {}", self.tp)?;
        }
        if self.pp > 1 {
            write!(f, ", PP {} with {} micro-batches", self.pp, self.micro_batches)?;
        }
        write!(f, ", {}", self.scheme)?;
        if self.overlap == Overlap::TwoBatch {
            write!(f, ", two batches overlapped")?;
        }
        write!(f, ", {} tokens a step", self.step_tokens)
    }
}

/// The yard: racks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Yard {
    pub(super) racks: u32,
    pub(super) ranks_per_rack: u32,
}

impl Yard {
    /// The racks of `studied`.
    ///
    /// # Errors
    /// [`PlanError::Word`] for racks of several sizes.
    pub(super) fn of(studied: &Studied) -> Result<Self, PlanError> {
        let sizes = &studied.rack_sizes;
        match sizes.first() {
            Some(&first) if sizes.iter().all(|&size| size == first) => {
                Ok(Self { racks: sizes.len() as u32, ranks_per_rack: first })
            }
            None => Err(PlanError::word("racks", "0: give at least 1")),
            _ => Err(PlanError::word(
                "ranks_per_rack",
                format!("{sizes:?}: replicas are planned on racks of one size"),
            )),
        }
    }

    pub(super) const fn ranks(self) -> u32 {
        self.racks * self.ranks_per_rack
    }

    /// Replicas of so many racks and ranks in each that there is room for.
    pub(super) const fn room_for(self, racks: u32, ranks_per_rack: u32) -> u32 {
        (self.racks / racks) * (self.ranks_per_rack / ranks_per_rack)
    }

    /// Racks and ranks in each that a replica may have: parts of a rack that divide it, and whole racks.
    fn sizes(self) -> Vec<(u32, u32)> {
        let parts = (1..self.ranks_per_rack).filter(|part| self.ranks_per_rack.is_multiple_of(*part));
        let whole =
            (1..=self.racks).filter(|&racks| self.racks.is_multiple_of(racks) || racks.is_power_of_two());
        parts.map(|part| (1, part)).chain(whole.map(|racks| (racks, self.ranks_per_rack))).collect()
    }
}

/// Every layout of `role` that the yard of `studied` has room for. Whether each can be is told by its deployment.
///
/// # Errors
/// [`PlanError::Word`] for a yard whose racks differ.
pub fn layouts(ask: &Ask, studied: &Studied, role: Role) -> Result<Vec<Layout>, PlanError> {
    let (yard, routed) = (Yard::of(studied)?, studied.model.routed().is_some());
    let overlaps: &[Overlap] = if routed { &[Overlap::None, Overlap::TwoBatch] } else { &[Overlap::None] };
    let steps = STEP_TOKENS[role as usize];
    // Prompts alone rarely share a step.
    let enough = steps.iter().position(|&tokens| f64::from(tokens) >= ask.load.input_len);
    let steps = if role == Role::Prefill { &steps[..=enough.unwrap_or(steps.len() - 1)] } else { steps };
    let mut all = Vec::new();
    for (racks, ranks_per_rack) in yard.sizes() {
        for pp in PP.into_iter().filter(|&pp| could_be_stages(pp, racks, ranks_per_rack, studied)) {
            // Ranks that a stage has in one rack.
            let in_rack = if pp <= racks { ranks_per_rack } else { racks * ranks_per_rack / pp };
            let one_rack = pp >= racks;
            let schemes: &[DispatchScheme] = match (routed, one_rack) {
                (false, _) => &[DispatchScheme::Dedup],
                (true, true) => &[DispatchScheme::Dedup, DispatchScheme::Flat],
                (true, false) => &[DispatchScheme::Dedup, DispatchScheme::Hierarchical, DispatchScheme::Flat],
            };
            let trains: &[u32] = if pp == 1 { &[1] } else { &[1, 2] };
            for tp in TP.into_iter().filter(|&tp| in_rack.is_multiple_of(tp)) {
                for &scheme in schemes {
                    for &overlap in overlaps {
                        for micro_batches in trains.iter().map(|trains| trains * pp) {
                            for &step_tokens in steps {
                                let replica = Layout {
                                    role,
                                    racks,
                                    ranks_per_rack,
                                    pp,
                                    micro_batches,
                                    tp,
                                    scheme,
                                    overlap,
                                    step_tokens,
                                };
                                all.push(replica);
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(all)
}

fn could_be_stages(pp: u32, racks: u32, ranks_per_rack: u32, studied: &Studied) -> bool {
    let ranks = racks * ranks_per_rack;
    let even = racks.is_multiple_of(pp) || (pp.is_multiple_of(racks) && ranks.is_multiple_of(pp));
    even && pp <= ranks && pp <= studied.model.num_layers()
}

/// The words of `value` that differ from those of `default`, as a file has them.
pub(super) fn changed<T: Serialize>(value: &T, default: &T) -> Vec<(String, toml::Value)> {
    let table = |of: &T| match toml::Value::try_from(of) {
        Ok(toml::Value::Table(table)) => table,
        _ => toml::Table::new(),
    };
    let (value, default) = (table(value), table(default));
    value.into_iter().filter(|(key, word)| default.get(key) != Some(word)).collect()
}
