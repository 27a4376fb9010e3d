//! `railyard place`: from measured expert loads to a placement of every layer, and what it makes of them.

mod compare;
mod report;

use crate::cli::{ExportArg, PlaceArgs};
use crate::failure::Failure;
use crate::output;
use crate::programs::programs;
use anyhow::bail;
use moe::evaluation::Evaluation;
use moe::load::{ExpertLoad, read_loads};
use moe::placement::{Demand, PlacementPolicy, export};
use moe::{LayerShape, Placement, PlacementError};
use study::scenario::{Studied, command, said};
use topology::Cluster;

/// What the flags mean.
struct Job {
    origin: String,
    cluster: Cluster,
    num_experts: u32,
    /// Groups of experts that the gate limits.
    groups: u32,
    /// The demand of each layer that is placed, with its number in the record.
    layers: Vec<(u32, Demand)>,
    /// Whose weights are counted.
    model: Option<(String, LayerShape)>,
    /// Slots of the placement that is chosen.
    slots: Option<u32>,
    /// The command that repeats it.
    command: String,
}

/// A policy's placement of one layer.
struct Placed {
    layer: u32,
    placement: Placement,
    evaluation: Evaluation,
}

pub(crate) fn run(args: &PlaceArgs) -> Result<(), Failure> {
    output::print(&text(args).map_err(Failure::Usage)?)
}

fn text(args: &PlaceArgs) -> anyhow::Result<String> {
    let origin = args.loads.display().to_string();
    let load = read_loads(&args.loads)?;
    for warning in load.warnings() {
        output::say(&format!("railyard: warning: {origin}: {warning}"));
    }
    let studied = args.scenario.resolve_recorded((load.num_experts(), &origin), programs()?)?;
    let job = Job::new(args, &load, &studied)?;
    let policy = studied.placement.policy()?;
    match args.export {
        _ if args.is_side_by_side() => Ok(compare::run(args, &job, policy)),
        Some(system) => exported(&job, policy, system),
        None => placed(args, &job, policy),
    }
}

impl PlaceArgs {
    fn is_side_by_side(&self) -> bool {
        self.compare || self.scenario.placement.is_none()
    }

    /// The command that repeats it.
    fn said(&self, studied: &Studied) -> String {
        let mut words = studied.words.clone();
        // That it is named has its weights counted, and that one placement is, has it alone.
        words.model.clone_from(&self.scenario.model);
        words.placement.clone_from(&self.scenario.placement);
        if self.is_side_by_side() {
            words.slots = self.scenario.slots.filter(|&slots| slots != studied.model.num_experts);
        }
        let words = said(&Self { scenario: self.scenario.with(words), ..self.clone() });
        command(&[vec!["place".to_owned()], words].concat())
    }
}

impl Job {
    fn new(args: &PlaceArgs, load: &ExpertLoad, studied: &Studied) -> anyhow::Result<Self> {
        let origin = args.loads.display().to_string();
        let cluster = studied.cluster()?;
        let (num_experts, top_k) = (load.num_experts(), studied.model.top_k);
        let numbered = load.layer_ids().iter().copied().enumerate();
        let asked = numbered.filter(|&(_, number)| args.layer.is_none_or(|layer| layer == number));
        let racks = cluster.num_racks();
        let one_a_rack = args.is_side_by_side() && num_experts.is_multiple_of(racks);
        let groups = args.groups.unwrap_or(if one_a_rack { racks } else { 1 });
        let demand = |(at, number)| {
            let demand = Demand::measured(&cluster, load, at, top_k)?;
            Ok((number, demand.in_groups(groups).of_layer(number)))
        };
        let layers = asked.map(demand).collect::<anyhow::Result<Vec<_>>>()?;
        if let (Some(layer), true) = (args.layer, layers.is_empty()) {
            let ids = load.layer_ids();
            let (first, last) = (ids.iter().min().unwrap_or(&0), ids.iter().max().unwrap_or(&0));
            bail!("--layer {layer}: {origin} has layers {first} to {last}, {} in all", ids.len());
        }
        let named = args.scenario.model.is_some();
        let model = named.then(|| (studied.model.name.clone(), studied.model.layer()));
        let (slots, command) = (studied.slots, args.said(studied));
        Ok(Self { origin, cluster, num_experts, groups, layers, model, slots, command })
    }

    /// Places every layer by `policy`, in as many slots as `slots` says or as it has of itself.
    fn place(&self, policy: &dyn PlacementPolicy, slots: Option<u32>) -> Result<Vec<Placed>, PlacementError> {
        let place = |(layer, demand): &(u32, Demand)| {
            let placement = Placement::by(policy, &self.cluster, slots, demand)?;
            let evaluation = Evaluation::new(&self.cluster, &placement, demand)?;
            Ok(Placed { layer: *layer, placement, evaluation })
        };
        self.layers.iter().map(place).collect()
    }

    /// What is placed where.
    fn heading(&self) -> String {
        let (layers, racks) = (self.layers.len() as u32, self.cluster.num_racks());
        format!(
            "{}: {layers} layer{} of {} experts on {} ranks in {racks} rack{}",
            self.origin,
            plural(layers),
            self.num_experts,
            self.cluster.num_ranks(),
            plural(racks),
        )
    }

    /// Weights of the fullest rank over the layers, bytes, where the model is known.
    fn weight_bytes(&self, layers: &[Placed]) -> Option<u64> {
        let (_, shape) = self.model.as_ref()?;
        let of_rank =
            |rank| layers.iter().map(|layer| layer.placement.slots_of(rank).len() as u64).sum::<u64>();
        Some(self.cluster.ranks().map(of_rank).max().unwrap_or(0) * shape.expert_weight_bytes())
    }
}

/// What makes a noun mean `count`.
fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn placed(args: &PlaceArgs, job: &Job, policy: &dyn PlacementPolicy) -> anyhow::Result<String> {
    let layers = job.place(policy, job.slots)?;
    Ok(if args.json {
        format!("{:#}\n", report::object(job, policy.name(), &layers))
    } else {
        report::table(job, policy.name(), &layers, output::width(args.wide))
    })
}

fn exported(job: &Job, policy: &dyn PlacementPolicy, system: ExportArg) -> anyhow::Result<String> {
    let place = |(layer, demand): &(u32, Demand)| {
        Ok((*layer, Placement::by(policy, &job.cluster, job.slots, demand)?))
    };
    let placements: Vec<(u32, Placement)> = job.layers.iter().map(place).collect::<anyhow::Result<_>>()?;
    let layers: Vec<_> = placements.iter().map(|(layer, placement)| (*layer, placement)).collect();
    Ok(match system {
        ExportArg::Vllm => export::vllm(&layers)?,
        ExportArg::Trtllm => export::tensorrt_llm(&layers)?,
        ExportArg::Sglang => export::sglang(&layers)?,
        ExportArg::Railyard => match (placements.as_slice(), job.layers.as_slice()) {
            ([(_, placement)], [(_, demand)]) => export::railyard(placement, &demand.by_rack(&job.cluster)),
            _ => bail!("--export railyard is one layer: give --layer"),
        },
    })
}
