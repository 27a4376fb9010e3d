//! `railyard place`: from measured expert loads to a placement of every layer, and how evenly it spreads them.

use crate::cli::{PlaceArgs, PolicyArg};
use crate::failure::Failure;
use crate::output;
use anyhow::bail;
use moe::load::{ExpertLoad, balancedness, rank_load, read_loads};
use moe::placement::EplbShape;
use moe::{ExpertId, Placement, SlotId};
use serde_json::{Value, json};
use topology::Cluster;

/// Raised when a key of the JSON changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// The placement of one layer with the load of each rank.
struct Layer {
    placement: Placement,
    rank_load: Vec<f64>,
}

pub(crate) fn run(args: &PlaceArgs) -> Result<(), Failure> {
    let (cluster, load, layers) = place(args).map_err(Failure::Usage)?;
    if args.json {
        return output::print(&format!("{:#}\n", object(args, &cluster, &load, &layers)));
    }
    let mut text = format!(
        "{}: {} layers of {} experts on {} ranks in {} rack(s), {} slots, policy {}\n\nlayer  max/mean  balancedness  most replicas\n",
        args.loads.display(),
        load.num_layers(),
        load.num_experts(),
        cluster.num_ranks(),
        cluster.num_racks(),
        layers[0].placement.num_slots(),
        args.policy.name(),
    );
    for (at, layer) in layers.iter().enumerate() {
        let even = balancedness(&layer.rank_load);
        text.push_str(&format!(
            "{at:>5}  {:>8.3}  {even:>12.4}  {:>13}\n",
            1.0 / even,
            most_replicas(&layer.placement)
        ));
    }
    text.push_str(&format!(
        "\nmean balancedness {:.4} (mean over largest rank load, 1 is even)\n",
        mean(&layers)
    ));
    output::print(&text)
}

fn place(args: &PlaceArgs) -> anyhow::Result<(Cluster, ExpertLoad, Vec<Layer>)> {
    let load = read_loads(&args.loads)?;
    if args.racks == 0 || !args.ranks.is_multiple_of(args.racks) {
        bail!("--racks {}: give a divisor of the {} ranks", args.racks, args.ranks);
    }
    let cluster = Cluster::uniform(args.racks, args.ranks / args.racks)?;
    let experts = load.num_experts();
    let slots = args.slots.unwrap_or(experts);
    if args.policy != PolicyArg::Eplb && slots != experts {
        bail!(
            "--slots {slots}: {} has one slot for each of the {experts} experts; give --policy eplb",
            args.policy.name()
        );
    }
    let layers = load.layers().map(|counts| {
        let placement = match args.policy {
            PolicyArg::Linear => Placement::linear(&cluster, experts)?,
            PolicyArg::RoundRobin => Placement::round_robin(&cluster, experts)?,
            PolicyArg::Eplb => {
                let weights: Vec<f32> = counts.iter().map(|&count| count as f32).collect();
                Placement::eplb(&cluster, &weights, EplbShape { num_slots: slots, num_groups: args.groups })?
            }
        };
        let rank_load = rank_load(&cluster, &placement, counts);
        Ok(Layer { placement, rank_load })
    });
    let layers = layers.collect::<anyhow::Result<Vec<_>>>()?;
    Ok((cluster, load, layers))
}

fn most_replicas(placement: &Placement) -> usize {
    replicas(placement).map(<[SlotId]>::len).max().unwrap_or(0)
}

/// The slots of each expert.
fn replicas(placement: &Placement) -> impl Iterator<Item = &[SlotId]> {
    (0..placement.num_experts()).map(|expert| placement.replicas_of(ExpertId(expert)))
}

fn mean(layers: &[Layer]) -> f64 {
    layers.iter().map(|layer| balancedness(&layer.rank_load)).sum::<f64>() / layers.len() as f64
}

fn object(args: &PlaceArgs, cluster: &Cluster, load: &ExpertLoad, layers: &[Layer]) -> Value {
    let layer = |layer: &Layer| {
        let placement = &layer.placement;
        let width = most_replicas(placement);
        // As vLLM and SGLang have it: -1 where an expert has fewer replicas than another.
        let padded = |slots: &[SlotId]| -> Vec<i64> {
            let none = std::iter::repeat_n(-1, width - slots.len());
            slots.iter().map(|slot| i64::from(slot.0)).chain(none).collect()
        };
        json!({
            "physical_to_logical_map": (0..placement.num_slots()).map(|slot| placement.expert_of(SlotId(slot)).0).collect::<Vec<_>>(),
            "logical_to_physical_map": replicas(placement).map(padded).collect::<Vec<_>>(),
            "logical_replica_count": replicas(placement).map(<[SlotId]>::len).collect::<Vec<_>>(),
            "slots_per_rank": cluster.ranks().map(|rank| placement.slots_of(rank).len()).collect::<Vec<_>>(),
            "rank_load": layer.rank_load,
            "balancedness": balancedness(&layer.rank_load),
        })
    };
    json!({
        "schema_version": SCHEMA_VERSION,
        "policy": args.policy.name(),
        "ranks": cluster.num_ranks(),
        "racks": cluster.num_racks(),
        "num_experts": load.num_experts(),
        "num_slots": layers[0].placement.num_slots(),
        "mean_balancedness": mean(layers),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}
