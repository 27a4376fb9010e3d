//! Measured expert load: how many tokens each logical expert of each layer got, and how evenly a placement spreads them.
//!
//! Read from SGLang's expert distribution record, `{"logical_count": [[count, ...], ...]}`, a list a layer, a number an expert;
//! other keys are passed over. Everything read is bounded.

use crate::ids::ExpertId;
use crate::placement::Placement;
use crate::shape::MAX_EXPERTS;
use serde::Deserialize;
use thiserror::Error;
use topology::Cluster;

/// Longest record that is read, bytes.
pub const MAX_LOAD_BYTES: usize = 256 << 20;
/// Most layers of a record.
pub const MAX_LOAD_LAYERS: usize = 4096;

/// Tokens by layer and logical expert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertLoad {
    /// `[layers][experts]`, as many experts in every layer.
    logical_count: Vec<Vec<u64>>,
}

/// Why a record can't be used; always with the place.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The text is not JSON of the expected shape.
    #[error("{origin}: {source}; expected {{\"logical_count\": [[tokens of each expert] for each layer]}}")]
    Json {
        /// The file.
        origin: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// Too long, or no layers, or too many.
    #[error("{origin}: {problem}; give one record of 1 to {MAX_LOAD_LAYERS} layers")]
    Size {
        /// The file.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// A layer with another number of experts than the first, none, or too many.
    #[error("{origin}: layer {layer} has {found} experts, {expected}")]
    Layer {
        /// The file.
        origin: String,
        /// The layer, from 0.
        layer: usize,
        /// Its experts.
        found: usize,
        /// What is possible.
        expected: String,
    },
}

#[derive(Deserialize)]
struct Record {
    logical_count: Vec<Vec<u64>>,
}

impl ExpertLoad {
    /// Reads an SGLang record; `origin` names it in errors.
    ///
    /// # Errors
    /// [`LoadError`] names the layer and the remedy.
    pub fn from_sglang(text: &str, origin: &str) -> Result<Self, LoadError> {
        let size = |problem: String| LoadError::Size { origin: origin.to_owned(), problem };
        if text.len() > MAX_LOAD_BYTES {
            return Err(size(format!("{} bytes, more than {MAX_LOAD_BYTES}", text.len())));
        }
        let Record { logical_count } = serde_json::from_str(text)
            .map_err(|source| LoadError::Json { origin: origin.to_owned(), source })?;
        if logical_count.is_empty() || logical_count.len() > MAX_LOAD_LAYERS {
            return Err(size(format!("{} layers", logical_count.len())));
        }
        let experts = logical_count[0].len();
        for (layer, counts) in logical_count.iter().enumerate() {
            let found = counts.len();
            let expected = if found != experts {
                format!("the first layer {experts}: give as many in each")
            } else if found == 0 || found > MAX_EXPERTS as usize {
                format!("possible are 1 to {MAX_EXPERTS}")
            } else {
                continue;
            };
            return Err(LoadError::Layer { origin: origin.to_owned(), layer, found, expected });
        }
        Ok(Self { logical_count })
    }

    /// Layers of the record, at least 1.
    #[must_use]
    pub fn num_layers(&self) -> usize {
        self.logical_count.len()
    }

    /// Logical experts of every layer, at least 1.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.logical_count[0].len() as u32
    }

    /// Tokens of each expert, by layer.
    pub fn layers(&self) -> impl Iterator<Item = &[u64]> {
        self.logical_count.iter().map(Vec::as_slice)
    }
}

/// The tokens that each rank computes where each expert's are shared evenly by its replicas, `[ranks]`.
///
/// # Panics
/// If `load` has not one entry an expert of `placement`.
#[must_use]
pub fn rank_load(cluster: &Cluster, placement: &Placement, load: &[u64]) -> Vec<f64> {
    assert_eq!(load.len(), placement.num_experts() as usize, "the load of another model");
    let share =
        |expert: ExpertId| load[expert.0 as usize] as f64 / placement.replicas_of(expert).len() as f64;
    let of_rank =
        |rank| placement.slots_of(rank).iter().map(|&slot| share(placement.expert_of(slot))).sum::<f64>();
    cluster.ranks().map(of_rank).collect()
}

/// Mean over largest load, 1 where all are alike, as vLLM and SGLang report it; 1 where there is no load at all.
#[must_use]
pub fn balancedness(loads: &[f64]) -> f64 {
    let largest = loads.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 { 1.0 } else { loads.iter().sum::<f64>() / loads.len() as f64 / largest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::EplbShape;

    #[test]
    fn a_record_is_read_and_a_wrong_one_named_by_its_layer() {
        let load = ExpertLoad::from_sglang(r#"{"logical_count": [[1, 2], [3, 4]], "rank": 0}"#, "x").unwrap();
        assert_eq!((load.num_layers(), load.num_experts()), (2, 2));
        assert_eq!(load.layers().collect::<Vec<_>>(), [[1, 2], [3, 4]]);
        let error = |text: &str| ExpertLoad::from_sglang(text, "loads.json").unwrap_err().to_string();
        assert!(
            error(r#"{"logical_count": [[1, 2], [3]]}"#).contains("layer 1 has 1 experts, the first layer 2")
        );
        assert!(error(r#"{"logical_count": [[]]}"#).contains("layer 0 has 0 experts"));
        assert!(error(r#"{"logical_count": []}"#).contains("0 layers; give one record"));
        assert!(error(r#"{"logical_count": [[-1]]}"#).starts_with("loads.json: "));
        assert!(error("{}").contains("missing field `logical_count`"));
    }

    /// The README example of EPLB: loads of its 8 GPUs in both layers, derived from its published maps.
    #[test]
    fn loads_of_the_published_placement() {
        let cluster = Cluster::new(&[4, 4]).unwrap();
        let shape = EplbShape { num_slots: 16, num_groups: 4 };
        let layers: [([u64; 12], [f64; 8], f64); 2] = [
            (
                [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
                [121.5, 86.5, 125.0, 113.0, 147.5, 131.5, 156.0, 152.0],
                1.2081,
            ),
            (
                [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
                [173.0, 179.5, 120.5, 172.0, 123.0, 152.0, 118.5, 117.5],
                1.2422,
            ),
        ];
        for (load, expected, max_over_mean) in layers {
            let weights = load.map(|count| count as f32);
            let placement = Placement::eplb(&cluster, &weights, shape).unwrap();
            let loads = rank_load(&cluster, &placement, &load);
            assert_eq!(loads, expected);
            assert!((1.0 / balancedness(&loads) - max_over_mean).abs() < 5e-5);
        }
        assert_eq!(balancedness(&[0.0, 0.0]), 1.0);
    }
}
