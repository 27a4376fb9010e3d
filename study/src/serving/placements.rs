//! Experts on the ranks of a stage, layer by layer: each policy sees what is asked of its own layer.

use crate::placing::{PlaceError, PlacementChoice, PlacementRequest};
use crate::scenario::Studied;
use moe::placement::{LayerPlacements, PlacementFile};
use moe::{Model, PlacementError, RoutingSpec};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use topology::Cluster;

/// Placements that runs have in common, each made once.
///
/// A policy looks at thousands of tokens of every layer, which takes seconds for a whole model; the points of a sweep differ in other
/// things most of the time.
#[derive(Debug, Default)]
pub struct SharedPlacements {
    made: Mutex<BTreeMap<String, Arc<Made>>>,
}

/// Placements of whole models that are kept: a sweep over more makes some of them again.
const KEPT_MAX: usize = 32;

/// Set by whoever comes first; the others wait.
type Made = OnceLock<Result<LayerPlacements, String>>;

impl SharedPlacements {
    /// What `make` made for `studied` when it was first asked for.
    pub(super) fn of(
        &self,
        studied: &Studied,
        make: impl FnOnce() -> Result<LayerPlacements, String>,
    ) -> Result<LayerPlacements, String> {
        let Studied { rack_sizes, dtype, words, .. } = studied;
        // All that a placement follows from; names lead to the same things everywhere.
        let key = format!(
            "{:?}",
            (
                (&words.model, words.top_k, &words.routing, &words.seeds),
                (rack_sizes, words.pp),
                (&words.placement, words.slots, dtype),
            )
        );
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT_MAX && !all.contains_key(&key) {
            all.pop_first();
        }
        let made = Arc::clone(all.entry(key).or_default());
        drop(all);
        made.get_or_init(make).clone()
    }
}

/// Whether each layer has popular experts of its own. Of a trace all layers replay the same rows.
pub(super) const fn is_popular(routing: &RoutingSpec) -> bool {
    !matches!(routing, RoutingSpec::Uniform | RoutingSpec::Model | RoutingSpec::Rows(_))
}

/// Where `choice` puts the experts of each layer of `model` on `cluster`, the ranks of a stage.
///
/// # Errors
/// [`PlaceError`] when experts, slots, layers and racks don't fit each other.
pub(super) fn place_layers(
    asked: &PlacementRequest<'_>,
    model: &Model,
    choice: &PlacementChoice,
    cluster: &Cluster,
) -> Result<LayerPlacements, PlaceError> {
    if let PlacementChoice::File(PlacementFile { origin, text }) = choice {
        let placements = LayerPlacements::from_file(text, origin, cluster, model)?;
        let needed = placements.distinct()[0].num_slots();
        return match asked.slots.filter(|&slots| slots != needed) {
            Some(slots) => {
                let (policy, needed) = (origin.clone(), needed.into());
                Err(PlacementError::FixedSlots { policy, slots, needed }.into())
            }
            None => Ok(placements),
        };
    }
    let of_layer = |layer| asked.place(choice, cluster, layer);
    if choice.is_for_demand() && is_popular(asked.routing) {
        return LayerPlacements::of_model(model, |layer| Ok(Arc::new(of_layer(layer)?)));
    }
    Ok(LayerPlacements::alike(0..model.num_layers(), of_layer(0)?))
}
