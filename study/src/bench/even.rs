//! An all-to-all in which every pair of ranks has equal bytes, as a layer: the combine of tokens that go to one expert of every rank.
//!
//! n ranks host one expert each and every token goes to all of them. So in the combine, flat, every rank sends every other one as many BF16
//! rows as that has tokens, straight and with nothing added: exactly what an all-to-all of so many elements a pair sends. What a rank has
//! for itself stays, as it does in nccl-tests' busbw. Two ranks are a link.

use crate::layer::{BackendKind, CompareSpec, GateChoice, LatencyChoice};
use crate::scenario::Place;
use moe::gate::{GateKind, GateSpec, Softmax};
use moe::{DispatchScheme, LayerShape, Model};
use thiserror::Error;
use topology::Dtype;

/// Elements of a row where a pair has more: 8 KiB.
const ROW_ELEMENTS: u64 = 4_096;
/// Fewest elements of a pair: of fewer, an FP8 row that goes out can be further off than what is tolerated.
const PAIR_ELEMENTS_MIN: u64 = 64;
/// Bytes of an element.
const ELEMENT_BYTES: u64 = 2;
/// Most ranks: the most experts that a token can go to.
const RANKS_MAX: u32 = 256;
/// Bytes of all ranks up to which simulated rows have values, which are checked.
const SIMULATED_VALUES_MAX: u64 = 32 << 20;

/// Why there is no such all-to-all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvenError {
    /// Nobody to send to.
    #[error("{0} rank sends nobody anything: give 2 to 256 ranks")]
    Few(u32),
    /// Too many.
    #[error("{0} ranks: a token goes to one expert of every rank, and to at most 256; give fewer ranks")]
    Many(u32),
    /// The model that stands for it is missing.
    #[error("{0}")]
    Model(String),
}

/// What the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collective {
    /// Two ranks send each other the size.
    Link,
    /// Each rank has the size for all ranks, itself included.
    AllToAll,
}

impl Collective {
    /// The name in header and footer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "railyard_link",
            Self::AllToAll => "railyard_alltoall",
        }
    }

    /// Bus bandwidth over algorithm bandwidth.
    #[must_use]
    pub fn bus_share(self, ranks: u32) -> f64 {
        match self {
            Self::Link => 1.0,
            Self::AllToAll => f64::from(ranks.saturating_sub(1)) / f64::from(ranks.max(1)),
        }
    }
}

/// Tokens and their width, so that each pair has so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Even {
    ranks: u32,
    hidden: u32,
    tokens: u32,
    collective: Collective,
}

impl Even {
    /// The one nearest to `size`, not above it where that is possible: whole rows of 8 KiB, or one row of fewer elements, 64 at least.
    ///
    /// # Errors
    /// [`EvenError`] for too few or too many ranks.
    pub fn new(collective: Collective, size: u64, ranks: u32) -> Result<Self, EvenError> {
        match ranks {
            0 | 1 => return Err(EvenError::Few(ranks)),
            many if many > RANKS_MAX => return Err(EvenError::Many(many)),
            _ => {}
        }
        let parts = if collective == Collective::Link { 1 } else { u64::from(ranks) };
        let elements = (size / parts / ELEMENT_BYTES).max(PAIR_ELEMENTS_MIN);
        let hidden = elements.min(ROW_ELEMENTS);
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Self { ranks, hidden: narrow(hidden), tokens: narrow(elements / hidden), collective })
    }

    /// Elements of a pair.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::from(self.hidden) * u64::from(self.tokens)
    }

    /// Bytes of a rank: for all ranks, itself included; of a link, for the other one.
    #[must_use]
    pub fn size(&self) -> u64 {
        let parts = if self.collective == Collective::Link { 1 } else { u64::from(self.ranks) };
        self.count() * ELEMENT_BYTES * parts
    }

    /// Ranks that take part.
    #[must_use]
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// What it is about.
    #[must_use]
    pub fn collective(&self) -> Collective {
        self.collective
    }

    /// The comparison of one configuration whose combine it is.
    ///
    /// # Errors
    /// [`EvenError::Model`], which is none of the caller's.
    pub fn spec(
        &self,
        place: &Place,
        rack_sizes: Vec<u32>,
        latency: LatencyChoice,
        backend: BackendKind,
    ) -> Result<CompareSpec, EvenError> {
        let model = Model::preset("lab-moe").map_err(|error| EvenError::Model(error.to_string()))?;
        let shape = LayerShape {
            hidden: self.hidden,
            num_experts: self.ranks,
            top_k: self.ranks,
            expert_inter: 64,
            gate: GateSpec::ungrouped(GateKind::of(&Softmax).norm_topk(true)),
            dtype: Dtype::Bf16,
            zero_experts: 0,
            gated: true,
            weight_bits: None,
        };
        let values = self.size() * u64::from(self.ranks) <= SIMULATED_VALUES_MAX;
        Ok(CompareSpec {
            rack_sizes,
            fabric: place.fabric,
            background: place.background,
            latencies: vec![latency],
            shape,
            tokens: self.tokens,
            gates: Some(vec![GateChoice::Unlimited]),
            schemes: Some(vec![DispatchScheme::Flat]),
            backends: vec![backend],
            payload: backend != BackendKind::Sim || values,
            detail: true,
            ..CompareSpec::new(model, place.hardware.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{compare_offline, configuration};
    use proptest::prelude::*;

    fn place() -> Place {
        Place::named(Some("gb200")).expect("a preset")
    }

    #[test]
    fn sizes_are_met_in_whole_rows() {
        let even = Even::new(Collective::AllToAll, 4 << 20, 16).expect("16 ranks");
        assert_eq!((even.size(), even.count()), (4 << 20, 131_072));
        let odd = Even::new(Collective::AllToAll, 5_000_000, 16).expect("16 ranks");
        assert_eq!((odd.hidden, odd.tokens, odd.size()), (4_096, 38, 4_980_736));
        let least = Even::new(Collective::Link, 8, 2).expect("2 ranks");
        assert_eq!((least.count(), least.size()), (64, 128));
        assert_eq!(Even::new(Collective::Link, 8, 1), Err(EvenError::Few(1)));
        assert_eq!(Even::new(Collective::Link, 8, 257), Err(EvenError::Many(257)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Every pair has equal bytes, which are the size's.
        #[test]
        fn every_pair_has_as_much(racks in prop::collection::vec(1_u32..4, 1..4), size in 1_u64..400_000) {
            let ranks = racks.iter().sum();
            prop_assume!(ranks > 1);
            let even = Even::new(Collective::AllToAll, size, ranks).expect("few ranks");
            let spec = even.spec(&place(), racks, LatencyChoice::Preset, BackendKind::Sim).expect("a spec");
            let rows = configuration(&spec, false).expect("valid");
            let report = compare_offline(&spec, &rows).expect("simulated");
            let record = &report.rows[0];
            prop_assert!(record.verified, "{:?}", record.problem);
            let detail = record.detail.as_ref().expect("asked for");
            for (from, row) in detail.combine_bytes.iter().enumerate() {
                for (to, &bytes) in row.iter().enumerate() {
                    let expected = if from == to { 0 } else { even.size() / u64::from(ranks) };
                    prop_assert_eq!(bytes, expected);
                }
            }
            // The same bandwidth from the record, which counts what is sent.
            let bandwidth = record.bandwidth.expect("it ran").combine;
            let alg = even.size() as f64 / record.combine_us / 1e3;
            prop_assert!((bandwidth.alg_gb_per_s / alg - 1.0).abs() < 1e-9);
        }
    }
}
