//! Recorded loads as popularity: the gate of a layer on drawn scores, each expert with the share that was recorded.

use super::RoutingError;
use crate::gate::{Fit, SelectionRule, rarities};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Layers whose popularities are remembered.
const KNOWN_MAX: usize = 1024;

/// Rarities by the rule and the loads that they were fitted to.
type Known = BTreeMap<(SelectionRule, Vec<u64>), Vec<f64>>;

/// Loads of the experts of some layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedLoads {
    /// Numbers of the layers, and tokens of each expert, `[experts]`; none without tokens.
    layers: Vec<(u32, Vec<u64>)>,
}

impl RecordedLoads {
    /// Those of `layers`, numbers and tokens of each expert, that have tokens; `None` where none has.
    #[must_use]
    pub fn new<'a>(layers: impl Iterator<Item = (u32, &'a [u64])>) -> Option<Self> {
        let some = layers.filter(|(_, load)| load.iter().any(|&tokens| tokens > 0));
        let layers: Vec<_> = some.map(|(number, load)| (number, load.to_vec())).collect();
        (!layers.is_empty()).then_some(Self { layers })
    }

    /// Tokens of each expert of `layer`: those of that number, else of the recorded layers in turn.
    #[must_use]
    pub fn of(&self, layer: u32) -> &[u64] {
        let numbered = self.layers.iter().find(|(number, _)| *number == layer);
        &numbered.unwrap_or_else(|| &self.layers[layer as usize % self.layers.len()]).1
    }

    /// The rarity of each expert of `layer` under a gate of `rule`, fitted once for a process.
    ///
    /// # Errors
    /// [`RoutingError::Loads`] where the layer has other experts, or the gate can't have such loads.
    pub(super) fn rarities(&self, rule: &SelectionRule, layer: u32) -> Result<Vec<f64>, RoutingError> {
        static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
        let wrong = |problem: String| RoutingError::Loads { layer, problem };
        let load = self.layers.first().map_or(&[][..], |_| self.of(layer));
        if load.len() != rule.experts as usize {
            return Err(wrong(format!(
                "{} experts are recorded, the layer has {}",
                load.len(),
                rule.experts
            )));
        }
        let key = (*rule, load.to_vec());
        if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let loads: Vec<f64> = load.iter().map(|&tokens| tokens as f64).collect();
        let fitted = rarities(rule, &loads, Fit::Close).map_err(|problem| wrong(problem.to_string()))?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.pop_first();
        }
        known.insert(key, fitted.clone());
        Ok(fitted)
    }
}
