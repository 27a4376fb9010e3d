//! `railyard place`: from measured expert loads to a placement of every layer, and what it makes of them.

mod change;
mod compare;
mod report;

use crate::cli::{ExportArg, PlaceArgs};
use crate::failure::Failure;
use crate::output;
use crate::programs::programs;
use anyhow::bail;
use change::Changed;
use moe::DispatchScheme;
use moe::evaluation::{Evaluation, Judges};
use moe::gate::SelectionRule;
use moe::load::{ExpertLoad, read_loads};
use moe::placement::{Aim, Demand, PlacementPolicy, RackAware, export};
use moe::{LayerShape, Placement, PlacementError, RoutingSpec};
use study::scenario::{ScenarioError, Studied, command, said};
use topology::Cluster;

/// What the flags mean.
struct Job {
    origin: String,
    cluster: Cluster,
    num_experts: u32,
    /// What picks experts where the record has no picks, and whose it is.
    gate: (String, SelectionRule),
    /// Groups of experts that a policy may keep together.
    groups: u32,
    /// The layers that are placed.
    layers: Vec<Asked>,
    /// Whose weights are counted.
    model: Option<(String, LayerShape)>,
    /// Slots of the placement that is chosen.
    slots: Option<u32>,
    /// The command that repeats it.
    command: String,
}

/// A layer that is placed.
struct Asked {
    /// Its number in the record.
    layer: u32,
    demand: Demand,
    judges: Judges,
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
    if !matches!(studied.routing, RoutingSpec::Uniform | RoutingSpec::Model) {
        bail!(
            "--routing {}: the loads are recorded; give model, or uniform for picks that no gate limits",
            studied.words.routing
        );
    }
    let job = Job::new(args, &load, &studied)?;
    let aimed = args.balance.map(|balance| RackAware { aim: Aim::Balance(balance) });
    let own = studied.placement.policy()?;
    let policy: &dyn PlacementPolicy = match &aimed {
        Some(aimed) if own.name() == aimed.name() || args.scenario.placement.is_none() => aimed,
        Some(aimed) => bail!("--balance is for {}, not for {}", aimed.name(), own.name()),
        None => own,
    };
    if args.from.is_none() && args.scenario.scheme.iter().any(|scheme| *scheme != DispatchScheme::Dedup) {
        bail!("--scheme is how rows travel in the steps that --from is about: give it too");
    }
    match args.export {
        _ if args.is_side_by_side() => Ok(compare::run(args, &job, policy)),
        Some(system) => exported(&job, policy, system),
        None => placed(args, &job, policy, &studied),
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
            words.scheme.retain(|scheme| *scheme != DispatchScheme::Dedup);
            words.slots = self.scenario.slots.filter(|&slots| slots != studied.model.layer().num_experts);
        }
        let words = said(&Self { scenario: self.scenario.with(words), ..self.clone() });
        command(&[vec!["place".to_owned()], words].concat())
    }
}

impl Job {
    fn new(args: &PlaceArgs, load: &ExpertLoad, studied: &Studied) -> anyhow::Result<Self> {
        let origin = args.loads.display().to_string();
        let cluster = studied.cluster()?;
        let (num_experts, top_k) = (load.num_experts(), studied.model.layer().top_k);
        let numbered = load.layer_ids().iter().copied().enumerate();
        let asked: Vec<(usize, u32)> =
            numbered.filter(|&(_, number)| args.layer.is_none_or(|layer| layer == number)).collect();
        let racks = cluster.num_racks();
        let rule = studied.selection();
        let one_a_rack = args.is_side_by_side() && num_experts.is_multiple_of(racks);
        let own = if rule.is_plain() && one_a_rack { racks } else { rule.groups };
        let groups = args.groups.unwrap_or(own);
        let demand = |&(at, layer): &(usize, u32)| -> anyhow::Result<_> {
            let demand = Demand::measured(&cluster, load, at, top_k)?.of_layer(layer);
            let demand = demand.under(&rule)?.in_groups(groups).one_of(asked.len());
            Ok(Asked { layer, judges: Judges::new(&cluster, &demand)?, demand })
        };
        let layers = side_by_side(&asked, demand)?;
        if let (Some(layer), true) = (args.layer, layers.is_empty()) {
            let ids = load.layer_ids();
            let (first, last) = (ids.iter().min().unwrap_or(&0), ids.iter().max().unwrap_or(&0));
            bail!("--layer {layer}: {origin} has layers {first} to {last}, {} in all", ids.len());
        }
        let named = args.scenario.model.is_some();
        let name = &studied.model.name;
        let model = named.then(|| (name.clone(), studied.model.layer()));
        let (slots, command) = (studied.slots, args.said(studied));
        let gate = (name.clone(), rule);
        Ok(Self { origin, cluster, num_experts, gate, groups, layers, model, slots, command })
    }

    /// Places every layer by `policy`, in as many slots as `slots` says or as it has of itself.
    fn place(&self, policy: &dyn PlacementPolicy, slots: Option<u32>) -> Result<Vec<Placed>, PlacementError> {
        let place = |Asked { layer, demand, judges }: &Asked| {
            let placement = Placement::by(policy, &self.cluster, slots, demand)?;
            let evaluation = Evaluation::by(judges, &self.cluster, &placement, demand);
            Ok(Placed { layer: *layer, placement, evaluation })
        };
        side_by_side(&self.layers, place)
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

    /// Weights of each rank over the layers with experts, bytes, where the model is known.
    fn weight_bytes(&self, layers: &[Placed]) -> Option<Vec<u64>> {
        let (_, shape) = self.model.as_ref()?;
        let bytes = |rank| {
            let slots = with_experts(layers).map(|layer| layer.placement.slots_of(rank).len() as u64);
            slots.sum::<u64>() * shape.expert_weight_bytes()
        };
        Some(self.cluster.ranks().map(bytes).collect())
    }

    /// Where picks come from: `recorded`, `gate` or `independent`.
    fn picks(&self) -> &'static str {
        match self.layers.first() {
            Some(Asked { demand, .. }) if demand.has_picks() => "recorded",
            Some(Asked { demand, .. }) if demand.is_gated() => "gate",
            _ => "independent",
        }
    }

    /// What is said of the copies between racks of `layers`, and of the layers that have none.
    fn of_crossing(&self, layers: &[Placed]) -> Vec<String> {
        let (name, SelectionRule { groups, kept, .. }) = &self.gate;
        let mut lines = vec![report::CROSSING.to_owned()];
        if self.picks() == "gate" {
            let error = report::error_of_mean(layers);
            lines.push(format!(
                "tokens are drawn by the gate of {name}, {kept} of {groups} groups each, with the recorded loads; standard error of a mean crossing at most {error:.3}"
            ));
        }
        let without = layers.len() - with_experts(layers).count();
        if without > 0 {
            lines.push(format!(
                "{without} of the layers have no tokens and are in no mean: dense layers, it seems"
            ));
        }
        lines
    }
}

/// The layers that have tokens: a record of all layers has dense ones as well.
fn with_experts(layers: &[Placed]) -> impl Iterator<Item = &Placed> {
    layers.iter().filter(|layer| layer.evaluation.rank_load.iter().any(|&load| load > 0.0))
}

/// What `of` makes of each of `items`, in their order, on all processors.
fn side_by_side<T: Sync, U: Send, E: Send>(
    items: &[T],
    of: impl Fn(&T) -> Result<U, E> + Sync,
) -> Result<Vec<U>, E> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let part = items.len().div_ceil(processors).max(1);
    let of_part = |part: &[T]| part.iter().map(&of).collect::<Result<Vec<U>, E>>();
    std::thread::scope(|scope| {
        let parts: Vec<_> = items.chunks(part).map(|part| scope.spawn(|| of_part(part))).collect();
        let parts = parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok(parts.collect::<Result<Vec<_>, E>>()?.into_iter().flatten().collect())
    })
}

/// The word that a policy, a file or a program fails for.
fn refused(error: PlacementError) -> ScenarioError {
    ScenarioError::new("placement", error)
}

/// What makes a noun mean `count`.
fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn placed(
    args: &PlaceArgs,
    job: &Job,
    policy: &dyn PlacementPolicy,
    studied: &Studied,
) -> anyhow::Result<String> {
    let layers = job.place(policy, job.slots).map_err(refused)?;
    let change =
        args.from.as_deref().map(|file| Changed::new(file, args.tokens.unwrap_or(32), job, &layers, studied));
    let change = change.transpose()?;
    Ok(if args.json {
        let mut object = report::object(job, policy.name(), &layers);
        if let Some(change) = change {
            object["change"] = change.object();
        }
        format!("{object:#}\n")
    } else {
        let width = output::width(args.wide);
        let told = change.map_or_else(Vec::new, |change| change.sentences());
        report::table(job, policy.name(), &layers, &told, width)
    })
}

fn exported(job: &Job, policy: &dyn PlacementPolicy, system: ExportArg) -> anyhow::Result<String> {
    let place = |Asked { layer, demand, .. }: &Asked| -> anyhow::Result<_> {
        Ok((*layer, Placement::by(policy, &job.cluster, job.slots, demand).map_err(refused)?))
    };
    let placements = side_by_side(&job.layers, place)?;
    let layers: Vec<_> = placements.iter().map(|(layer, placement)| (*layer, placement)).collect();
    Ok(match system {
        ExportArg::Vllm => export::vllm(&layers)?,
        ExportArg::Trtllm => export::tensorrt_llm(&layers)?,
        ExportArg::Sglang => export::sglang(&layers)?,
        ExportArg::Railyard => match (placements.as_slice(), job.layers.as_slice()) {
            ([(_, placement)], [Asked { demand, .. }]) => {
                export::railyard(placement, &demand.by_rack(&job.cluster))
            }
            _ => bail!("--export railyard is one layer: give --layer"),
        },
    })
}
