//! A deployment by stages: their memory, which of their layers are alike, and where each lies.

use super::ServeError;
use super::deploy::Deployment;
use super::placements::is_popular;
use super::spec::ServeSpec;
use moe::placement::LayerPlacements;
use serving::{Ledger, Station};
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::RankId;

impl Deployment {
    /// Who admits the requests of `spec` to trains, with the memory of every stage.
    ///
    /// # Errors
    /// [`ServeError`] for weights that fill a rank, and for rules that can't be.
    pub(super) fn station(&self, spec: &ServeSpec) -> Result<Station, ServeError> {
        let groups = self.stack.groups();
        let ledger = Ledger::new(self.memory.clone(), groups, spec.scheduler.block_tokens)?;
        let places = (groups, self.stack.reaches());
        let drafts = spec.scenario.drafts()?;
        let station = Station::new(spec.scheduler.clone(), ledger, places, spec.micro_batches());
        station
            .map(|station| station.with_drafts(drafts, self.seed).with_replicas(spec.serve.replicas))
            .map_err(|error| ServeError::Setting { what: "scheduler".to_owned(), problem: error.to_string() })
    }

    /// The layers with experts that are alike, `[kinds]`: those that are placed alike and have no popular experts of their own.
    pub(super) fn alike_layers(&self) -> Vec<Vec<u32>> {
        let mut kinds: BTreeMap<(usize, u32), Vec<u32>> = BTreeMap::new();
        let model = &self.stack.model;
        for layer in (0..model.num_layers()).filter(|&layer| model.is_moe_layer(layer)) {
            let popular = if is_popular(&self.routing) { layer } else { 0 };
            kinds.entry((self.placements.index_of(layer), popular)).or_default().push(layer);
        }
        kinds.into_values().collect()
    }

    /// The placement of each layer on the ranks of its stage.
    ///
    /// # Errors
    /// [`ServeError::Setting`] where there are too many racks for so many replicas.
    pub(super) fn on_stages(&self) -> Result<LayerPlacements, ServeError> {
        let mut layers = Vec::new();
        for stage in self.stack.stages() {
            let first = RankId(stage.ranks.start);
            let moved = self.placements.distinct().iter().map(|placement| {
                let moved = placement.moved_to(&self.cluster, first).map(Arc::new);
                moved.map_err(|error| ServeError::setting("serve.placement", error))
            });
            let moved = moved.collect::<Result<Vec<_>, _>>()?;
            let of_layer = |layer| Arc::clone(&moved[self.placements.index_of(layer)]);
            layers.extend(stage.layers.clone().map(of_layer));
        }
        Ok(LayerPlacements::new(0, layers))
    }
}
