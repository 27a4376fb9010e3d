//! Placement files of other systems, brought to a layer's map and the slots of each rank.
//!
//! vLLM's placement file (`expert_to_ep_rank`) names a rank for each expert. TensorRT-LLM's load balancer configuration is
//! YAML, as its `generate_eplb_config.py` writes it: block or flow lists of numbers under numbered keys, which are scanned for
//! without the rest of YAML. SGLang's `--init-expert-location` and EPLB's own result are lists of slots by layer.

use crate::placement::{PlacementError, even_split};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// One layer for all, or a list for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
    #[serde(deserialize_with = "numbered")]
    Named(BTreeMap<u32, Vec<u32>>),
}

/// Keys of JSON are words.
fn numbered<'de, D: Deserializer<'de>>(layers: D) -> Result<BTreeMap<u32, Vec<u32>>, D::Error> {
    let named = BTreeMap::<String, Vec<u32>>::deserialize(layers)?;
    let number = |(name, map): (String, Vec<u32>)| Ok((name.parse().map_err(D::Error::custom)?, map));
    named.into_iter().map(number).collect()
}

#[derive(Deserialize)]
struct Vllm {
    expert_to_ep_rank: Layers,
}

#[derive(Deserialize)]
struct ByLayer {
    physical_to_logical_map: Vec<Vec<u32>>,
}

/// The experts of all slots, and the slots of each rank.
type Map = (Vec<u32>, Vec<u32>);

/// The layers of a file. Experts by slot, slots evenly by rank, or where `by_expert` a rank for each expert.
pub(super) struct Maps {
    layers: Layers,
    by_expert: bool,
}

impl Maps {
    /// What layer `layer` of the model has, the `nth` of those that have experts, of `moe` among `all`. A list has all layers, or those
    /// with experts.
    pub(super) fn of_model(
        &self,
        origin: &str,
        (layer, nth): (u32, usize),
        (moe, all): (usize, u32),
        ranks: u32,
    ) -> Result<Map, PlacementError> {
        let at = match &self.layers {
            Layers::Many(rows) if rows.len() == moe => nth as u32,
            Layers::Many(rows) if rows.len() != all as usize => {
                let problem = format!(
                    "layer {layer}: the file has {} layers, the model {all}, of which {moe} have experts: give one of the two numbers",
                    rows.len()
                );
                return Err(PlacementError::refused(origin, problem));
            }
            _ => layer,
        };
        self.of(origin, at, ranks)
    }

    /// What the file has for `layer`.
    pub(super) fn of(&self, origin: &str, layer: u32, ranks: u32) -> Result<Map, PlacementError> {
        let missing = |given: String| {
            PlacementError::refused(origin, format!("no layer {layer}; the file has {given}"))
        };
        let map = match &self.layers {
            Layers::One(map) => map,
            Layers::Many(rows) => {
                let given = || format!("{} layers, from 0", rows.len());
                rows.get(layer as usize).ok_or_else(|| missing(given()))?
            }
            Layers::Named(named) => {
                let given = || named.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
                named.get(&layer).ok_or_else(|| missing(given()))?
            }
        };
        if self.by_expert {
            return by_rank(map, origin, ranks);
        }
        Ok((map.clone(), even_split(map.len() as u32, ranks)))
    }
}

/// The layers of a file, or `None` for one of none of these kinds.
pub(super) fn read(text: &str, origin: &str) -> Result<Option<Maps>, PlacementError> {
    if text.contains("initial_global_assignments") {
        let layers = Layers::Named(assignments(text, origin)?);
        return Ok(Some(Maps { layers, by_expert: false }));
    }
    if let Ok(Vllm { expert_to_ep_rank: layers }) = serde_json::from_str(text) {
        return Ok(Some(Maps { layers, by_expert: true }));
    }
    let by_layer = serde_json::from_str(text).ok();
    Ok(by_layer.map(|ByLayer { physical_to_logical_map }| Maps {
        layers: Layers::Many(physical_to_logical_map),
        by_expert: false,
    }))
}

/// Inverts a rank for each expert; experts ascend on a rank.
fn by_rank(rank_of: &[u32], origin: &str, ranks: u32) -> Result<Map, PlacementError> {
    let mut held = vec![Vec::new(); ranks as usize];
    for (expert, &rank) in (0..).zip(rank_of) {
        let Some(held) = held.get_mut(rank as usize) else {
            let problem = format!("expert_to_ep_rank[{expert}] is {rank}, of {ranks} ranks: correct it");
            return Err(PlacementError::refused(origin, problem));
        };
        held.push(expert);
    }
    let counts = held.iter().map(|held| held.len() as u32).collect();
    Ok((held.concat(), counts))
}

/// The numbered lists under `initial_global_assignments`, in YAML's block or flow style or JSON: a number before a colon is a
/// layer, any other a slot's expert; the next key that is a word ends them.
fn assignments(text: &str, origin: &str) -> Result<BTreeMap<u32, Vec<u32>>, PlacementError> {
    let refuse = |problem: &str| {
        let problem =
            format!("initial_global_assignments: {problem}; expected {{layer: [expert of each slot]}}");
        PlacementError::refused(origin, problem)
    };
    let (_, rest) = text.split_once("initial_global_assignments").ok_or_else(|| refuse("not there"))?;
    let rest = rest.trim_start_matches(['"', '\'']).trim_start();
    let rest = rest.strip_prefix(':').ok_or_else(|| refuse("no mapping"))?;
    let mut layers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut current: Option<u32> = None;
    let without_comments: String =
        rest.lines().map(|line| line.split('#').next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut rest = without_comments.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        let token = &rest[at..];
        let end = token.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(token.len());
        let (word, after) = token.split_at(end);
        rest = after;
        let Ok(number) = word.parse::<u32>() else {
            if word.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(refuse(&format!("`{word}` is no number")));
            }
            break;
        };
        if after.trim_start_matches(['"', '\'']).trim_start().starts_with(':') {
            if layers.insert(number, Vec::new()).is_some() {
                return Err(refuse(&format!("layer {number} twice")));
            }
            current = Some(number);
        } else {
            let layer = current.and_then(|layer| layers.get_mut(&layer));
            layer.ok_or_else(|| refuse("a number before any layer"))?.push(number);
        }
    }
    if layers.is_empty() { Err(refuse("no layers")) } else { Ok(layers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str, layer: u32) -> Result<Option<Map>, String> {
        let maps = read(text, "file").map_err(|error| error.to_string())?;
        maps.map(|maps| maps.of("file", layer, 2)).transpose().map_err(|error| error.to_string())
    }

    #[test]
    fn tensorrt_llm_in_every_style() {
        let expected = Ok(Some((vec![0, 1, 2, 1], vec![2, 2])));
        for text in [
            "ep_size: 2\ninitial_global_assignments:\n  3: [0, 1,\n    2, 1]\n  4: [2, 1, 0, 0]\nlayer_updates_per_iter: 0\nnum_slots: 4\n",
            "num_slots: 4  # slots\ninitial_global_assignments:\n  3:\n  - 0\n  - 1\n  - 2 # two\n  - 1\n  4:\n  - 2\n  - 1\n  - 0\n  - 0\n",
            r#"{"num_slots": 4, "initial_global_assignments": {"3": [0, 1, 2, 1], "4": [2, 1, 0, 0]}, "layer_updates_per_iter": 0}"#,
        ] {
            assert_eq!(map(text, 3), expected, "{text}");
            assert_eq!(map(text, 5).unwrap_err(), "file: no layer 5; the file has 3, 4");
        }
        assert!(map("initial_global_assignments: null\n", 0).unwrap_err().contains("no layers"));
        assert!(map("initial_global_assignments: [1]\n", 0).unwrap_err().contains("before any layer"));
        assert!(
            map("initial_global_assignments:\n  3: [1x]\n", 3).unwrap_err().contains("`1x` is no number")
        );
    }

    #[test]
    fn vllm_and_lists_by_layer() {
        let expected = Ok(Some((vec![1, 2, 0], vec![2, 1])));
        assert_eq!(map(r#"{"expert_to_ep_rank": [1, 0, 0]}"#, 7), expected);
        assert_eq!(map(r#"{"expert_to_ep_rank": [[0, 0, 0], [1, 0, 0]]}"#, 1), expected);
        assert_eq!(map(r#"{"expert_to_ep_rank": {"9": [1, 0, 0]}}"#, 9), expected);
        assert!(map(r#"{"expert_to_ep_rank": [2]}"#, 0).unwrap_err().contains("expert_to_ep_rank[0] is 2"));
        let slots = r#"{"physical_to_logical_map": [[0, 1, 2], [1, 2, 0]]}"#;
        assert_eq!(map(slots, 1), expected);
        assert!(map(slots, 2).unwrap_err().contains("no layer 2; the file has 2 layers, from 0"));
        assert_eq!(map(r#"{"physical_to_logical_map": [0, 1]}"#, 0), Ok(None));
        assert_eq!(map("", 0), Ok(None));
    }
}
