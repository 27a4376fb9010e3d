//! Placements as the files that other systems read.
//!
//! - [`sglang`]: what `--init-expert-location FILE` takes (`expert_location.py`: `physical_to_logical_map`, `[layers, slots]`);
//! - [`tensorrt_llm`]: the YAML of `moe_config.load_balancer` (`MoeLoadBalancerConfig`; the keys that
//!   `examples/ep_load_balancer/generate_eplb_config.py` writes), layers by number, no updates while serving;
//! - [`vllm`]: the placement file `{"expert_to_ep_rank": [...]}`, a rank for each expert, so without replicas;
//! - [`railyard`]: one layer for `railyard compare --placement`.
//!
//! The first two split slots evenly over ranks without saying so: other counts are refused.

use super::{Placement, PlacementError};
use crate::ids::{ExpertId, SlotId};
use serde_json::json;

/// A layer's number and its placement.
pub type NumberedLayer<'a> = (u32, &'a Placement);

fn experts(placement: &Placement) -> Vec<u32> {
    (0..placement.num_slots()).map(|slot| placement.expert_of(SlotId(slot)).0).collect()
}

fn even(system: &str, layers: &[NumberedLayer<'_>]) -> Result<(), PlacementError> {
    let uneven = |placement: &Placement| {
        placement.first_slot.windows(2).any(|w| w[1] - w[0] != placement.first_slot[1])
    };
    match layers.iter().find(|(_, placement)| uneven(placement)) {
        None => Ok(()),
        Some((layer, placement)) => Err(PlacementError::Export(format!(
            "{system} has as many slots on every rank, layer {layer} has {} slots on {} ranks unevenly: give --slots that the \
             ranks divide",
            placement.num_slots(),
            placement.num_ranks()
        ))),
    }
}

/// SGLang's `--init-expert-location`, all layers in order.
///
/// # Errors
/// [`PlacementError::Export`] if the ranks don't have as many slots each.
pub fn sglang(layers: &[NumberedLayer<'_>]) -> Result<String, PlacementError> {
    even("SGLang", layers)?;
    let maps: Vec<Vec<u32>> = layers.iter().map(|(_, placement)| experts(placement)).collect();
    Ok(format!("{}\n", json!({ "physical_to_logical_map": maps })))
}

/// TensorRT-LLM's load balancer configuration.
///
/// # Errors
/// [`PlacementError::Export`] if the ranks don't have as many slots each.
pub fn tensorrt_llm(layers: &[NumberedLayer<'_>]) -> Result<String, PlacementError> {
    even("TensorRT-LLM", layers)?;
    let slots = layers.first().map_or(0, |(_, placement)| placement.num_slots());
    let mut text = format!("num_slots: {slots}\ninitial_global_assignments:\n");
    for (layer, placement) in layers {
        text.push_str(&format!("  {layer}: {:?}\n", experts(placement)));
    }
    text.push_str("layer_updates_per_iter: 0\n");
    Ok(text)
}

/// vLLM's placement file; a list of lists where there are several layers.
///
/// # Errors
/// [`PlacementError::Export`] if an expert has replicas.
pub fn vllm(layers: &[NumberedLayer<'_>]) -> Result<String, PlacementError> {
    let ranks = |(layer, placement): &NumberedLayer<'_>| {
        if placement.num_slots() > placement.num_experts() {
            return Err(PlacementError::Export(format!(
                "vLLM's expert_to_ep_rank has one rank for each expert, layer {layer} has replicas: give --slots {}, or \
                 --export sglang",
                placement.num_experts()
            )));
        }
        let rank = |expert| placement.rank_of(placement.replicas_of(ExpertId(expert))[0]).0;
        Ok((0..placement.num_experts()).map(rank).collect::<Vec<u32>>())
    };
    let maps = layers.iter().map(ranks).collect::<Result<Vec<_>, _>>()?;
    Ok(match maps.as_slice() {
        [map] => format!("{}\n", json!({ "expert_to_ep_rank": map })),
        maps => format!("{}\n", json!({ "expert_to_ep_rank": maps })),
    })
}

/// One layer in our own form, with the demand for which replicas are chosen, `[racks][experts]`.
#[must_use]
pub fn railyard(placement: &Placement, by_rack: &[Vec<f64>]) -> String {
    let counts: Vec<u32> = placement.first_slot.windows(2).map(|w| w[1] - w[0]).collect();
    let object = json!({
        "physical_to_logical_map": experts(placement), "slots_per_rank": counts, "load_by_rack": by_rack,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::Cluster;

    #[test]
    fn what_is_written_is_read_again() {
        let cluster = Cluster::new(&[2, 2]).unwrap();
        let json = r#"{"physical_to_logical_map": [3, 2, 1, 0, 0, 1, 2, 3]}"#;
        let doubled = Placement::from_json(json, "here", &cluster, 4).unwrap();
        let single = Placement::round_robin(&cluster, 4).unwrap();
        let layers = [(3, &single), (4, &doubled)];
        let read = |text: &str, layer| Placement::from_file(text, "file", layer, &cluster, 4).unwrap();
        assert_eq!(read(&sglang(&[(3, &single), (4, &single)]).unwrap(), 1), single);
        let yaml = tensorrt_llm(&[layers[1]]).unwrap();
        assert_eq!(
            yaml,
            "num_slots: 8\ninitial_global_assignments:\n  4: [3, 2, 1, 0, 0, 1, 2, 3]\nlayer_updates_per_iter: 0\n"
        );
        assert_eq!(read(&yaml, 4), doubled);
        assert_eq!(read(&vllm(&layers[..1]).unwrap(), 0), single);
        assert!(vllm(&layers).unwrap_err().to_string().contains("layer 4 has replicas: give --slots 4"));
        let demand = vec![vec![1.0, 2.0, 3.0, 4.0], vec![4.0, 0.0, 0.0, 0.0]];
        let skewed = doubled.for_demand(&cluster, &demand, 0.0).unwrap();
        assert_eq!(read(&railyard(&skewed, &demand), 0), skewed);
        let odd = Placement::linear(&cluster, 5).unwrap();
        assert!(sglang(&[(0, &odd)]).unwrap_err().to_string().contains("5 slots on 4 ranks unevenly"));
    }
}
