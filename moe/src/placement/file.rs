//! Placements from files: our own JSON for one layer, and what other systems read, of one layer or of all; and the stored form between
//! processes.

mod foreign;

use super::shares::Shares;
use super::{Demand, LayerPlacements, Placement, PlacementError, PlacementPolicy, even_split};
use crate::ids::{ExpertId, SlotId};
use crate::model::Model;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use topology::Cluster;

/// Room for `MAX_SLOTS` experts of five digits and as many counts, generously spaced.
const MAX_JSON_BYTES: usize = 32 << 20;
/// What is read, for people.
const FORMATS: &str = r#"{"physical_to_logical_map": [expert, ...], "slots_per_rank": [n, ...]} for one layer, the second key optional; or vLLM's expert_to_ep_rank, TensorRT-LLM's initial_global_assignments, SGLang's physical_to_logical_map of all layers"#;

/// One layer; other keys, such as `railyard place --json` has, are passed over.
#[derive(Deserialize)]
struct File {
    physical_to_logical_map: Vec<u32>,
    slots_per_rank: Option<Vec<u32>>,
    /// Tokens from each rack for each expert, for which replicas are chosen.
    load_by_rack: Option<Vec<Vec<f64>>>,
}

/// The policy that reads a file, of ours or of another system; of several layers it takes the demand's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementFile {
    /// Names the file in errors and tables.
    pub origin: String,
    /// Its text.
    pub text: String,
}

impl PlacementPolicy for PlacementFile {
    fn name(&self) -> &str {
        &self.origin
    }

    fn help(&self) -> &str {
        "read from a file"
    }

    fn is_for_demand(&self) -> bool {
        false
    }

    /// With the file's own choice of replicas where the demand is not known.
    ///
    /// # Errors
    /// As [`Placement::from_file`].
    fn place(&self, cluster: &Cluster, _: u32, demand: &Demand) -> Result<Placement, PlacementError> {
        let experts = demand.num_experts();
        let placement = Placement::from_file(&self.text, &self.origin, demand.layer(), cluster, experts)?;
        if demand.is_known() {
            placement.for_demand(cluster, &demand.by_rack(cluster), 0.0)
        } else {
            Ok(placement)
        }
    }
}

/// A placement without its indexes; reading one checks it again.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    num_experts: u32,
    physical_to_logical_map: Vec<ExpertId>,
    slots_per_rank: Vec<u32>,
    shares: Shares,
}

impl From<Placement> for Stored {
    fn from(placement: Placement) -> Self {
        Self {
            num_experts: placement.num_experts(),
            slots_per_rank: placement.first_slot.windows(2).map(|w| w[1] - w[0]).collect(),
            physical_to_logical_map: placement.physical_to_logical,
            shares: placement.shares,
        }
    }
}

impl TryFrom<Stored> for Placement {
    type Error = PlacementError;

    fn try_from(stored: Stored) -> Result<Self, PlacementError> {
        let Stored { num_experts, physical_to_logical_map, slots_per_rank, shares } = stored;
        let origin = "stored placement";
        let mut placement = Self::indexed(physical_to_logical_map, &slots_per_rank, num_experts, origin)?;
        let expert_of = |slot: SlotId| placement.physical_to_logical.get(slot.0 as usize).copied();
        if !shares.check(&placement.replicated, expert_of) {
            let problem = "the shares of replicas don't fit the slots: use the same version everywhere";
            return Err(PlacementError::refused(origin, problem));
        }
        placement.shares = shares;
        Ok(placement)
    }
}

impl Placement {
    /// Reads a placement of one `layer`: the JSON of [`Self::from_json`], which has but one, or
    ///
    /// - vLLM's `{"expert_to_ep_rank": [rank of expert 0, ...]}`, or a list of such lists by layer;
    /// - TensorRT-LLM's load balancer configuration (YAML or JSON), `initial_global_assignments: {layer: [expert of slot 0,
    ///   ...]}`, slots evenly by rank;
    /// - SGLang's and vLLM's `{"physical_to_logical_map": [[expert of slot 0, ...], ...]}` by layer, slots evenly by rank.
    ///
    /// # Errors
    /// As [`Self::from_json`], and if the file doesn't have the layer. Messages begin with `origin`.
    pub fn from_file(
        text: &str,
        origin: &str,
        layer: u32,
        cluster: &Cluster,
        num_experts: u32,
    ) -> Result<Self, PlacementError> {
        check_length(text, origin)?;
        match foreign::read(text, origin)? {
            Some(maps) => {
                Self::of_map(cluster, maps.of(origin, layer, cluster.num_ranks())?, num_experts, origin)
            }
            None => Self::from_json(text, origin, cluster, num_experts),
        }
    }

    fn of_map(
        cluster: &Cluster,
        (map, counts): (Vec<u32>, Vec<u32>),
        num_experts: u32,
        origin: &str,
    ) -> Result<Self, PlacementError> {
        let experts = map.into_iter().map(ExpertId).collect();
        Self::from_parts(cluster, experts, &counts, num_experts, origin)
    }

    /// Reads `{"physical_to_logical_map": [expert, ...], "slots_per_rank": [n, ...]}`.
    ///
    /// Slot i holds expert `physical_to_logical_map[i]`; ranks take slots in order, `slots_per_rank[r]` of them each.
    /// Without the second key slots are split evenly, the first ranks taking one more. Replicas are chosen for the tokens from
    /// each rack for each expert in a third, `"load_by_rack": [[tokens, ...], ...]`; without it for an even demand.
    ///
    /// # Errors
    /// If the text is not such JSON, a slot names an unknown expert, an expert has no slot, counts disagree, or a size
    /// is past its limit. Messages begin with `origin`.
    pub fn from_json(
        text: &str,
        origin: &str,
        cluster: &Cluster,
        num_experts: u32,
    ) -> Result<Self, PlacementError> {
        check_length(text, origin)?;
        let File { physical_to_logical_map, slots_per_rank, load_by_rack } = serde_json::from_str(text)
            .map_err(|error| PlacementError::refused(origin, format!("{error}; expected {FORMATS}")))?;
        let map: Vec<ExpertId> = physical_to_logical_map.into_iter().map(ExpertId).collect();
        let ranks = cluster.num_ranks();
        let counts = match slots_per_rank {
            Some(counts) if counts.len() != ranks as usize => {
                let entries = counts.len();
                let problem = format!(
                    "slots_per_rank has {entries} entries for {ranks} ranks: give one number per rank"
                );
                return Err(PlacementError::refused(origin, problem));
            }
            Some(counts) => counts,
            None => even_split(map.len() as u32, ranks),
        };
        let placement = Self::from_parts(cluster, map, &counts, num_experts, origin)?;
        let Some(demand) = load_by_rack else { return Ok(placement) };
        let experts = num_experts as usize;
        let fits =
            demand.len() == cluster.num_racks() as usize && demand.iter().all(|row| row.len() == experts);
        if !fits || !demand.iter().flatten().all(|tokens| tokens.is_finite() && *tokens >= 0.0) {
            let problem = format!(
                "load_by_rack must be {} racks of {experts} numbers of at least 0: correct or leave it out",
                cluster.num_racks()
            );
            return Err(PlacementError::refused(origin, problem));
        }
        placement.for_demand(cluster, &demand, 0.0)
    }
}

impl LayerPlacements {
    /// Reads placements of all layers of `model`, in the formats of [`Placement::from_file`]: a file of one layer is for all of them, a
    /// list has one of every layer or of every layer with experts, and numbered layers are by index in the model.
    ///
    /// # Errors
    /// As [`Placement::from_file`], and if layers have not as many slots each. Messages name the layer.
    pub fn from_file(
        text: &str,
        origin: &str,
        cluster: &Cluster,
        model: &Model,
    ) -> Result<Self, PlacementError> {
        check_length(text, origin)?;
        let (all, ranks) = (model.num_layers(), cluster.num_ranks());
        let Some(maps) = foreign::read(text, origin)? else {
            let placement = Placement::from_json(text, origin, cluster, model.layer().num_experts)?;
            return Ok(Self::alike(0..all, placement));
        };
        let moe: Vec<u32> = (0..all).filter(|&layer| model.is_moe_layer(layer)).collect();
        let mut slots = None;
        Self::of_model(model, |layer| {
            let nth = moe.partition_point(|&other| other < layer);
            let map = maps.of_model(origin, (layer, nth), (moe.len(), all), ranks)?;
            let place = format!("{origin}: layer {layer}");
            let placement = Placement::of_map(cluster, map, model.layer().num_experts, &place)?;
            let got = placement.num_slots();
            let wanted = *slots.get_or_insert(got);
            if got != wanted {
                let problem = format!("{got} slots where others have {wanted}: give each layer as many");
                return Err(PlacementError::refused(place, problem));
            }
            Ok(Arc::new(placement))
        })
    }
}

fn check_length(text: &str, origin: &str) -> Result<(), PlacementError> {
    if text.len() > MAX_JSON_BYTES {
        let problem = format!("{} bytes, more than {MAX_JSON_BYTES}: not a placement file", text.len());
        return Err(PlacementError::refused(origin, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
