//! Placements of several layers, each distinct one held once.

use super::{Placement, PlacementError};
use crate::model::Model;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Which slot holds which expert, layer by layer: `physical_to_logical_map` of `[layers][slots]`.
///
/// Layers that are placed alike share one [`Placement`], so that as many layers as there are cost no more than one where nothing tells
/// them apart. A layer without experts has a placement too, which nobody looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct LayerPlacements {
    first: u32,
    /// `[layers]`, an index into `distinct`.
    of_layer: Vec<u32>,
    distinct: Vec<Arc<Placement>>,
}

/// As it is stored; reading it checks indexes again.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    first: u32,
    of_layer: Vec<u32>,
    distinct: Vec<Placement>,
}

impl LayerPlacements {
    /// One for each layer from `first` on.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new(first: u32, placements: impl IntoIterator<Item = Arc<Placement>>) -> Self {
        let mut layers = Self { first, of_layer: Vec::new(), distinct: Vec::new() };
        for placement in placements {
            let known = layers.distinct.iter().position(|other| {
                // Most often it is the very same one.
                Arc::ptr_eq(other, &placement) || **other == *placement
            });
            let index = known.unwrap_or_else(|| {
                layers.distinct.push(placement);
                layers.distinct.len() - 1
            });
            layers.of_layer.push(u32::try_from(index).expect("no more than there are layers"));
        }
        assert!(!layers.distinct.is_empty(), "placements of no layer");
        layers
    }

    /// The same one for all of `layers`.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn alike(layers: Range<u32>, placement: Placement) -> Self {
        let placement = Arc::new(placement);
        Self::new(layers.start, layers.map(|_| Arc::clone(&placement)))
    }

    /// One for each layer of `model` that has experts, as `place` has it; those without have that of the next one that has any.
    ///
    /// # Errors
    /// As `place`.
    pub fn of_model<E>(
        model: &Model,
        mut place: impl FnMut(u32) -> Result<Arc<Placement>, E>,
    ) -> Result<Self, E> {
        let mut placed = Vec::new();
        let mut last = None;
        for layer in 0..model.num_layers() {
            if model.is_moe_layer(layer) {
                let placement = place(layer)?;
                placed.resize_with(layer as usize + 1, || Arc::clone(&placement));
                last = Some(placement);
            }
        }
        if let Some(last) = last {
            placed.resize_with(model.num_layers() as usize, || Arc::clone(&last));
            return Ok(Self::new(0, placed));
        }
        let nowhere = place(0)?;
        Ok(Self::new(0, (0..model.num_layers()).map(|_| Arc::clone(&nowhere))))
    }

    /// The layers that are placed, by index in the model.
    #[must_use]
    pub fn layers(&self) -> Range<u32> {
        let layers = u32::try_from(self.of_layer.len()).expect("layers are bounded");
        self.first..self.first + layers
    }

    /// The placement of `layer`.
    ///
    /// # Panics
    /// If it is not among [`Self::layers`].
    #[must_use]
    pub fn of(&self, layer: u32) -> &Arc<Placement> {
        &self.distinct[self.index_of(layer)]
    }

    /// Its place in [`Self::distinct`]: the same for layers that are placed alike.
    ///
    /// # Panics
    /// As [`Self::of`].
    #[must_use]
    pub fn index_of(&self, layer: u32) -> usize {
        let at = layer.checked_sub(self.first).and_then(|at| self.of_layer.get(at as usize));
        *at.unwrap_or_else(|| panic!("layer {layer} of {:?}", self.layers())) as usize
    }

    /// The placements that differ, in the order in which layers first have them; at least one.
    #[must_use]
    pub fn distinct(&self) -> &[Arc<Placement>] {
        &self.distinct
    }

    /// Those of some of the layers.
    ///
    /// # Panics
    /// If `layers` are none, or not among [`Self::layers`].
    #[must_use]
    pub fn part(&self, layers: Range<u32>) -> Self {
        Self::new(layers.start, layers.map(|layer| Arc::clone(self.of(layer))))
    }
}

impl From<LayerPlacements> for Stored {
    fn from(LayerPlacements { first, of_layer, distinct }: LayerPlacements) -> Self {
        Self { first, of_layer, distinct: distinct.into_iter().map(Arc::unwrap_or_clone).collect() }
    }
}

impl TryFrom<Stored> for LayerPlacements {
    type Error = PlacementError;

    fn try_from(Stored { first, of_layer, distinct }: Stored) -> Result<Self, PlacementError> {
        let last = u32::try_from(of_layer.len()).ok().and_then(|layers| first.checked_add(layers));
        let known = of_layer.iter().all(|&index| (index as usize) < distinct.len());
        if last.is_none() || !known || distinct.is_empty() || of_layer.is_empty() {
            let problem = "layers name placements that there are not: use the same version everywhere";
            return Err(PlacementError::refused("stored placements", problem));
        }
        Ok(Self { first, of_layer, distinct: distinct.into_iter().map(Arc::new).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::Cluster;

    #[test]
    fn layers_that_are_placed_alike_share_a_placement() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        let linear = Arc::new(Placement::linear(&cluster, 8).unwrap());
        let again = Arc::new(Placement::linear(&cluster, 8).unwrap());
        let other = Arc::new(Placement::round_robin(&cluster, 8).unwrap());
        let placements = LayerPlacements::new(3, [&linear, &other, &again].map(Arc::clone));
        assert_eq!((placements.layers(), placements.distinct().len()), (3..6, 2));
        assert_eq!([3, 4, 5].map(|layer| placements.index_of(layer)), [0, 1, 0]);
        assert_eq!(placements.of(4), &other);
        let part = placements.part(4..6);
        assert_eq!((part.layers(), part.of(5)), (4..6, &linear));
        assert_eq!(placements.part(5..6), LayerPlacements::alike(5..6, (*linear).clone()));
    }

    #[test]
    fn what_is_stored_is_checked_when_it_is_read() {
        let cluster = Cluster::new(&[2]).unwrap();
        let placements = LayerPlacements::alike(0..3, Placement::replicated_per_rack(&cluster, 4).unwrap());
        let mut json = serde_json::to_value(&placements).unwrap();
        assert_eq!(serde_json::from_value::<LayerPlacements>(json.clone()).unwrap(), placements);
        json["of_layer"] = serde_json::json!([0, 1, 0]);
        let error = serde_json::from_value::<LayerPlacements>(json).unwrap_err().to_string();
        assert!(error.contains("layers name placements that there are not"), "{error}");
    }
}
