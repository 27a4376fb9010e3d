//! What a placement is made for: how many tokens want which expert, where they come from, which experts go together.

mod sample;

use super::PlacementError;
use crate::gate::{Fit, SelectionRule, rarities};
pub(crate) use sample::Sample;
use topology::Cluster;

/// Why nothing is placed for what a gate with such experts asks.
const ZERO_EXPERTS: &str = "how many experts with weights a token has varies where some pass it on as it is, and placements are \
                                made for one number; give linear, round-robin or another placement that asks no demand";

/// Demand for the experts of one layer.
///
/// Without origins, tokens come from all ranks alike. Without picks, experts are picked independently of each other, or as a gate
/// on drawn scores takes them ([`Demand::under`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Tokens of each expert, `[experts]`.
    load: Vec<u64>,
    /// Tokens from each rack for each expert, `[racks][experts]`.
    by_rack: Option<Vec<Vec<u64>>>,
    picks: Option<Picks>,
    top_k: u32,
    groups: u32,
    /// What picks experts, and the rarities with which they get their loads; `None` for picks that are independent or recorded.
    gate: Option<(SelectionRule, Vec<f64>)>,
    layer: u32,
    /// Layers whose demands share the tokens that are drawn to count copies on.
    layers: usize,
    known: bool,
}

/// Recorded top-k sets, a sample of the demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Picks {
    /// Experts a token.
    pub top_k: u32,
    /// The experts of each token, `[tokens, top_k]` by rows, distinct within a token.
    pub experts: Vec<u32>,
    /// The rack that each token comes from, `[tokens]`, if known.
    pub racks: Option<Vec<u32>>,
}

impl Demand {
    /// `top_k` of the experts a token, `load` tokens for each expert.
    #[must_use]
    pub fn new(load: Vec<u64>, top_k: u32) -> Self {
        Self {
            load,
            by_rack: None,
            picks: None,
            top_k,
            groups: 1,
            gate: None,
            layer: 0,
            layers: 1,
            known: true,
        }
    }

    /// One token of each rank for each of `num_experts` experts: nothing is known of what is asked for.
    #[must_use]
    pub fn even(cluster: &Cluster, num_experts: u32) -> Self {
        let row = |&size: &u32| vec![u64::from(size); num_experts as usize];
        let load = vec![u64::from(cluster.num_ranks()); num_experts as usize];
        let by_rack = Some(cluster.rack_sizes().iter().map(row).collect());
        Self { by_rack, known: false, ..Self::new(load, 1) }
    }

    /// Of a gate that limits a token's experts to some of `groups` runs of equal length; at least 1.
    #[must_use]
    pub fn in_groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// Asked for by a gate of `rule` on drawn scores, whose popularities give each expert its load; its groups are the demand's.
    /// Recorded picks stay. A gate without limits picks experts independently.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] where the gate can't have such loads.
    ///
    /// # Panics
    /// If the rule is for another number of experts.
    pub fn under(mut self, rule: &SelectionRule) -> Result<Self, PlacementError> {
        self.groups = rule.groups;
        if rule.zero > 0 {
            return Err(PlacementError::refused("demand", ZERO_EXPERTS.to_owned()));
        }
        if self.picks.is_some() {
            return Ok(self);
        }
        (self.top_k, self.gate) = (rule.top_k, None);
        if !rule.is_plain() {
            let loads: Vec<f64> = self.load.iter().map(|&tokens| tokens as f64).collect();
            let rarity = rarities(rule, &loads, Fit::Rough);
            let rarity = rarity.map_err(|problem| {
                let layer = self.layer;
                PlacementError::refused(
                    "demand",
                    format!(
                        "layer {layer} asks what its gate can't: {problem}; give loads of this model, or uniform routing"
                    ),
                )
            })?;
            self.gate = Some((*rule, rarity));
        }
        Ok(self)
    }

    /// Of the experts of `layer`.
    #[must_use]
    pub fn of_layer(mut self, layer: u32) -> Self {
        self.layer = layer;
        self
    }

    /// One of the demands of `layers` layers, over which what is drawn to judge placements is shared out; of one unless this says otherwise.
    #[must_use]
    pub fn one_of(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// From each rack as many tokens for each expert, `[racks][experts]`; replaces the loads by their sums.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if a row has not one number an expert.
    pub fn from_racks(mut self, by_rack: Vec<Vec<u64>>) -> Result<Self, PlacementError> {
        let experts = self.load.len();
        if let Some(row) = by_rack.iter().find(|row| row.len() != experts) {
            return Err(PlacementError::refused(
                "demand",
                format!("{} experts in a rack, {experts} in all", row.len()),
            ));
        }
        self.load = (0..experts).map(|expert| by_rack.iter().map(|row| row[expert]).sum()).collect();
        self.by_rack = Some(by_rack);
        Ok(self)
    }

    /// With recorded picks, whose `top_k` replaces the one given.
    ///
    /// # Errors
    /// [`PlacementError::Refused`] if they name an unknown expert or are not whole rows.
    pub fn with_picks(mut self, picks: Picks) -> Result<Self, PlacementError> {
        let refuse = |problem: String| Err(PlacementError::refused("demand", problem));
        let top_k = picks.top_k as usize;
        if top_k == 0 || picks.experts.is_empty() || !picks.experts.len().is_multiple_of(top_k) {
            return refuse(format!("{} picks are no rows of top_k = {top_k}", picks.experts.len()));
        }
        if let Some(expert) = picks.experts.iter().find(|&&expert| expert as usize >= self.load.len()) {
            return refuse(format!("expert {expert} picked, of {}", self.load.len()));
        }
        if let Some(racks) = picks.racks.as_ref().filter(|racks| racks.len() != picks.experts.len() / top_k) {
            return refuse(format!("racks of {} tokens for {}", racks.len(), picks.experts.len() / top_k));
        }
        (self.top_k, self.picks, self.gate) = (picks.top_k, Some(picks), None);
        Ok(self)
    }

    /// Tokens of each expert, `[experts]`.
    #[must_use]
    pub fn load(&self) -> &[u64] {
        &self.load
    }

    /// Logical experts.
    #[must_use]
    pub fn num_experts(&self) -> u32 {
        self.load.len() as u32
    }

    /// Groups of experts that the gate limits; 1 for none.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// False if it is assumed to be even.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The layer, by its number in the model or the record.
    #[must_use]
    pub fn layer(&self) -> u32 {
        self.layer
    }

    /// Experts a token, no more than there are.
    #[must_use]
    pub fn top_k(&self) -> u32 {
        self.top_k.clamp(1, self.load.len().max(1) as u32)
    }

    /// Whether it is known which experts are picked together.
    #[must_use]
    pub fn has_picks(&self) -> bool {
        self.picks.is_some()
    }

    /// Whether a gate is drawn for want of recorded picks.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Groups of the gate that is drawn; 1 where none is.
    pub(crate) fn gate_groups(&self) -> u32 {
        self.gate.as_ref().map_or(1, |(rule, _)| rule.groups)
    }

    /// Whether tokens use some of its groups of experts only, so that racks of whole groups are visited less.
    pub(crate) fn is_in_groups(&self) -> bool {
        let divides = self.groups > 1 && self.num_experts().is_multiple_of(self.groups);
        divides && (self.is_gated() || self.has_picks())
    }

    /// Recorded tokens.
    pub(crate) fn recorded(&self) -> usize {
        self.picks.as_ref().map_or(0, |picks| picks.experts.len() / picks.top_k as usize)
    }

    /// Checks that its racks are those of `cluster`.
    pub(crate) fn check(&self, cluster: &Cluster) -> Result<(), PlacementError> {
        let racks = cluster.num_racks();
        let given = self.by_rack.as_ref().map(Vec::len).filter(|&given| given != racks as usize);
        if let Some(given) = given {
            return Err(PlacementError::refused(
                "demand",
                format!("tokens from {given} racks, the cluster has {racks}"),
            ));
        }
        let from = self.picks.iter().flat_map(|picks| picks.racks.iter().flatten());
        match from.into_iter().find(|&&rack| rack >= racks) {
            Some(rack) => {
                Err(PlacementError::refused("demand", format!("tokens from rack {rack} of {racks}")))
            }
            None => Ok(()),
        }
    }

    /// Tokens from each rack for each expert, `[racks][experts]`.
    #[must_use]
    pub fn by_rack(&self, cluster: &Cluster) -> Vec<Vec<f64>> {
        if let Some(by_rack) = &self.by_rack {
            return by_rack.iter().map(|row| row.iter().map(|&tokens| tokens as f64).collect()).collect();
        }
        let part = |&size: &u32| f64::from(size) / f64::from(cluster.num_ranks());
        let row = |part: f64| self.load.iter().map(|&tokens| tokens as f64 * part).collect();
        cluster.rack_sizes().iter().map(|size| row(part(size))).collect()
    }
}
