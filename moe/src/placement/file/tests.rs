//! Files of several layers, brought to the layers of a model.

use crate::model::Model;
use crate::placement::{LayerPlacements, export};
use crate::{ExpertId, Placement, SlotId};
use std::sync::Arc;
use topology::Cluster;

/// Four layers, of which the first has no experts.
fn model() -> Model {
    let model = Model::preset("lab-moe").unwrap();
    let layer = model.layer();
    model.with_experts(4, layer.top_k, layer.gate)
}

fn read(text: &str) -> Result<LayerPlacements, String> {
    let cluster = Cluster::new(&[2]).unwrap();
    LayerPlacements::from_file(text, "file", &cluster, &model()).map_err(|error| error.to_string())
}

/// The experts of a layer's slots.
fn experts(placements: &LayerPlacements, layer: u32) -> Vec<u32> {
    let placement = placements.of(layer);
    (0..placement.num_slots()).map(|slot| placement.expert_of(SlotId(slot)).0).collect()
}

#[test]
fn every_layer_has_its_own_map() {
    let maps = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]];
    let of_moe_layers = format!("{{\"physical_to_logical_map\": {maps:?}}}");
    let of_all_layers =
        format!("{{\"physical_to_logical_map\": {:?}}}", [[[2, 3, 0, 1]].as_slice(), &maps].concat());
    let numbered = format!(
        "num_slots: 4\ninitial_global_assignments:\n  1: {:?}\n  2: {:?}\n  3: {:?}\nlayer_updates_per_iter: 0\n",
        maps[0], maps[1], maps[2]
    );
    for text in [of_moe_layers, of_all_layers, numbered] {
        let placements = read(&text).unwrap();
        assert_eq!((placements.layers(), placements.distinct().len()), (0..4, 3), "{text}");
        for (layer, map) in (1..).zip(&maps) {
            assert_eq!(experts(&placements, layer), map, "{text}");
        }
    }
    let one = read(r#"{"physical_to_logical_map": [0, 1, 2, 3]}"#).unwrap();
    assert_eq!((one.layers(), one.distinct().len()), (0..4, 1));
    let ranks = read(r#"{"expert_to_ep_rank": [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]}"#).unwrap();
    assert_eq!(ranks.of(1).rank_of(ranks.of(1).replicas_of(ExpertId(0))[0]).0, 1);
}

#[test]
fn what_is_exported_is_read_again_layer_by_layer() {
    let cluster = Cluster::new(&[2]).unwrap();
    let linear = Placement::linear(&cluster, 4).unwrap();
    let other = Placement::round_robin(&cluster, 4).unwrap();
    let layers = [(1, &linear), (2, &other), (3, &linear)];
    for text in [export::sglang(&layers), export::tensorrt_llm(&layers), export::vllm(&layers)] {
        let placements = read(&text.unwrap()).unwrap();
        for (layer, placement) in layers {
            assert_eq!(**placements.of(layer), *placement);
        }
        assert!(Arc::ptr_eq(placements.of(1), placements.of(3)));
    }
}

#[test]
fn other_layers_than_the_model_has_are_refused_by_name() {
    for (text, said) in [
        (
            r#"{"physical_to_logical_map": [[0, 1, 2, 3], [0, 1, 2, 3]]}"#,
            "file: layer 1: the file has 2 layers, the model 4, of which 3 have experts: give one of the two numbers",
        ),
        (
            "initial_global_assignments:\n  1: [0, 1, 2, 3]\n  3: [0, 1, 2, 3]\n",
            "file: no layer 2; the file has 1, 3",
        ),
        (
            r#"{"physical_to_logical_map": [[0, 1, 2, 3], [0, 1, 2, 3, 3], [0, 1, 2, 3]]}"#,
            "file: layer 2: 5 slots where others have 4: give each layer as many",
        ),
        (
            r#"{"physical_to_logical_map": [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 9]]}"#,
            "file: layer 3: physical_to_logical_map[3] is 9",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(said), "{error}");
    }
}
