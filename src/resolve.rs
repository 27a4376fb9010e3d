//! What the flags of a comparison mean: presets, files and traces read, defaults decided and told.

use crate::files;
use crate::options::{BackendArg, SpecArgs};
use crate::programs::programs;
use anyhow::bail;
use moe::routing::{RoutingChoice, Workload};
use moe::trace::{Trace, read_trace};
use moe::{DispatchScheme, GateKind, GateSpec, Model, ModelError, RoutingSpec};
use std::path::Path;
use study::layer::{BackendKind, CompareSpec};
use study::placing::PlacementChoice;
use topology::{ClusterSpec, Dtype, Hardware, MAX_RANKS, Rate, parse_cluster_file};

const DEFAULT_MODEL: &str = "deepseek-v3";
const DEFAULT_HARDWARE: &str = "gb200";
/// Scale-up over scale-out of the default hardware: the lecture's, not the 18 of one 400 Gb/s card.
const DEFAULT_THROTTLE: f64 = 8.0;
const DEFAULT_RACKS: u32 = 2;
const DEFAULT_RANKS_PER_RACK: u32 = 8;

/// The comparison that `args` ask for; `nodes` are split over two racks where no racks are given.
pub(crate) fn spec(args: &SpecArgs, nodes: Option<u32>) -> anyhow::Result<CompareSpec> {
    let mut notes = Vec::new();
    let trace = match &args.routing {
        RoutingChoice::Trace(path) => Some((path, read_trace(path)?)),
        _ => None,
    };
    let model = match (&args.model, &trace) {
        (Some(name), trace) => {
            let model = named_model(name)?;
            if let Some((path, trace)) = trace {
                check_fit(&model, args.top_k, trace, path)?;
            }
            model
        }
        (None, Some((_, trace))) => model_of(trace, &mut notes)?,
        (None, None) => Model::preset(DEFAULT_MODEL)?,
    };
    let place = hardware(args.hardware.as_deref())?;
    let mut spec = CompareSpec::new(model, place.hardware);
    spec.fabric = place.fabric;
    spec.rack_sizes = rack_sizes(args, place.rack_sizes, nodes)?;
    let throttle = args.throttle.or_else(|| args.hardware.is_none().then_some(DEFAULT_THROTTLE));
    if let Some(throttle) = throttle {
        spec.fabric.scale_out.rate = throttled(spec.fabric.scale_up.rate, throttle)?;
        throttle_combine(&mut spec.hardware, throttle)?;
    }
    if !args.latency.is_empty() {
        spec.latencies = distinct(&args.latency);
    }
    shape(args, &mut spec, &mut notes);
    spec.base = args.base;
    spec.tokens = args.tokens;
    spec.gates = (!args.gate.is_empty()).then(|| distinct(&args.gate));
    // Impossible numbers of ranks are refused where rows are made of them.
    let ranks = spec.rack_sizes.iter().fold(0, |sum: u32, &ranks| sum.saturating_add(ranks));
    spec.routing = match trace {
        Some((_, trace)) => RoutingSpec::Rows(trace.rows),
        None => args.routing.spec(ranks).unwrap_or(RoutingSpec::Uniform),
    };
    spec.routing_name = args.routing.to_string();
    if args.routing == RoutingChoice::Workload(Workload::W4) {
        notes.push(format!("workload W4: {} tokens a rank are the mean, some ranks have none", args.tokens));
    }
    if !args.scheme.is_empty() {
        spec.schemes =
            DispatchScheme::ALL.into_iter().filter(|scheme| args.scheme.contains(scheme)).collect();
    }
    spec.placement = PlacementChoice::read(&args.placement, programs()?)?;
    spec.slots = args.slots;
    spec.experts = args.experts;
    spec.backends = backends(args, &mut notes);
    spec.seeds.clone_from(&args.seeds.0);
    spec.rounds = args.rounds;
    spec.warmup = args.warmup;
    spec.dilation = args.dilation;
    spec.payload = !args.no_payload;
    spec.memory_limit_bytes = args.memory_limit;
    let domain = spec.hardware.domain_ranks;
    if spec.rack_sizes.iter().any(|&ranks| ranks > domain) {
        notes.push(format!(
            "racks larger than {}'s scale-up domain of {domain}: a what-if",
            spec.hardware.name
        ));
    }
    spec.notes = notes;
    Ok(spec)
}

/// Hardware, links and, from a cluster file, racks.
pub(crate) struct Place {
    pub(crate) hardware: Hardware,
    pub(crate) fabric: topology::Fabric,
    rack_sizes: Option<Vec<u32>>,
}

/// A preset, or what a cluster file describes.
pub(crate) fn hardware(name: Option<&str>) -> anyhow::Result<Place> {
    let name = name.unwrap_or(DEFAULT_HARDWARE);
    if is_file(name, "toml") {
        let ClusterSpec { cluster, hardware, fabric, .. } = cluster_file(Path::new(name))?;
        return Ok(Place { hardware, fabric, rack_sizes: Some(cluster.rack_sizes().to_vec()) });
    }
    let hardware = Hardware::preset(name)?;
    Ok(Place { fabric: hardware.fabric(), hardware, rack_sizes: None })
}

/// Reads a cluster file.
pub(crate) fn cluster_file(path: &Path) -> anyhow::Result<ClusterSpec> {
    Ok(parse_cluster_file(&files::read(path)?, &path.display().to_string())?)
}

/// A path, as opposed to a preset's name.
fn is_file(name: &str, extension: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)) || path.is_file()
}

fn rack_sizes(args: &SpecArgs, of_file: Option<Vec<u32>>, nodes: Option<u32>) -> anyhow::Result<Vec<u32>> {
    let given = args.racks.is_some() || !args.ranks_per_rack.is_empty();
    match (of_file, nodes) {
        (Some(sizes), _) if !given => return Ok(sizes),
        (_, Some(1)) if !given => return Ok(vec![1]),
        (_, Some(nodes)) if !given => return Ok(vec![nodes.div_ceil(2), nodes / 2]),
        _ => {}
    }
    if let [_, _, ..] = args.ranks_per_rack.as_slice() {
        let sizes = args.ranks_per_rack.clone();
        if let Some(racks) = args.racks
            && racks as usize != sizes.len()
        {
            bail!(
                "--ranks-per-rack has {} numbers for --racks {racks}; give one, or as many as racks",
                sizes.len()
            );
        }
        return Ok(sizes);
    }
    let racks = args.racks.unwrap_or(DEFAULT_RACKS);
    let ranks = args.ranks_per_rack.first().copied().unwrap_or(DEFAULT_RANKS_PER_RACK);
    if racks > MAX_RANKS {
        bail!("--racks {racks}: at most {MAX_RANKS} ranks in all");
    }
    Ok(vec![ranks; racks as usize])
}

/// Throttles the combine where it has links of its own.
pub(crate) fn throttle_combine(hardware: &mut Hardware, throttle: f64) -> anyhow::Result<()> {
    if let Some(kernels) = &mut hardware.kernels {
        kernels.combine.scale_out.rate = throttled(kernels.combine.scale_up.rate, throttle)?;
    }
    Ok(())
}

pub(crate) fn throttled(scale_up: Rate, throttle: f64) -> anyhow::Result<Rate> {
    scale_up.throttled(throttle).map_err(|error| anyhow::anyhow!("--throttle {error}"))
}

/// The model of a preset's name or a config.json.
pub(crate) fn named_model(name: &str) -> anyhow::Result<Model> {
    if is_file(name, "json") {
        return Ok(Model::from_hf_config(&files::read(Path::new(name))?, name)?);
    }
    Ok(Model::preset(name)?)
}

/// As [`named_model`], a model without experts included.
pub(crate) fn any_model(name: &str) -> anyhow::Result<Model> {
    match named_model(name) {
        Err(error) if matches!(error.downcast_ref(), Some(ModelError::NotMoe { .. })) => {
            Ok(Model::dense_from_hf_config(&files::read(Path::new(name))?, name)?)
        }
        other => other,
    }
}

/// The presets with so many experts, of which a token goes to so many.
fn presets_like(num_experts: u32, top_k: u32) -> impl Iterator<Item = Model> {
    Model::preset_names()
        .filter_map(|name| Model::preset(name).ok())
        .filter(move |model| model.num_experts == num_experts && model.top_k == top_k)
}

/// Refuses a trace of another model.
fn check_fit(model: &Model, top_k: Option<u32>, trace: &Trace, path: &Path) -> anyhow::Result<()> {
    let (experts, k) = (trace.info.num_experts, trace.info.top_k);
    if model.num_experts == experts && top_k.unwrap_or(model.top_k) == k {
        return Ok(());
    }
    let fitting = presets_like(experts, k).next();
    let fitting = fitting.map_or_else(String::new, |model| format!(" (such as {})", model.name));
    bail!(
        "{}: recorded with {experts} experts, top-{k}, but {} has {}, top-{}; leave --model out, or give the model that was recorded{fitting}",
        path.display(),
        model.name,
        model.num_experts,
        top_k.unwrap_or(model.top_k),
    )
}

/// A preset that fits the trace, else the default model's widths with the trace's experts.
fn model_of(trace: &Trace, notes: &mut Vec<String>) -> anyhow::Result<Model> {
    let (experts, k) = (trace.info.num_experts, trace.info.top_k);
    if let Some(model) = presets_like(experts, k).next() {
        notes.push(format!("no --model: the trace has {experts} experts, top-{k}, as {} has", model.name));
        return Ok(model);
    }
    let mut model = Model::preset(DEFAULT_MODEL)?;
    notes.push(format!("no --model: widths of {DEFAULT_MODEL} with the trace's {experts} experts, top-{k}"));
    model.name = format!("{DEFAULT_MODEL} with {experts} experts, top-{k}");
    (model.num_experts, model.top_k) = (experts, k);
    model.gate = GateSpec::ungrouped(GateKind::SoftmaxAfterTopk);
    Ok(model)
}

/// Applies `--top-k` and what the hardware can't do to the layer.
fn shape(args: &SpecArgs, spec: &mut CompareSpec, notes: &mut Vec<String>) {
    let shape = &mut spec.shape;
    if let Some(top_k) = args.top_k {
        shape.top_k = top_k;
    }
    let gate = &mut shape.gate;
    let reachable = shape.num_experts / gate.n_group.max(1) * gate.topk_group;
    if shape.top_k > reachable && shape.top_k <= shape.num_experts {
        notes.push(format!(
            "the model's own gate groups hold {reachable} experts for top-{}: left out",
            shape.top_k
        ));
        (gate.n_group, gate.topk_group) = (1, 1);
    }
    if spec.hardware.flops(shape.dtype).is_err() {
        notes.push(format!("{} has no {} arithmetic: weights in bf16", spec.hardware.name, shape.dtype));
        shape.dtype = Dtype::Bf16;
    }
}

fn backends(args: &SpecArgs, notes: &mut Vec<String>) -> Vec<BackendKind> {
    let asked = |kind: BackendKind| args.backend.contains(&BackendArg::One(kind));
    let all = args.backend.contains(&BackendArg::All);
    let mut kinds: Vec<_> = BackendKind::ALL.into_iter().filter(|&kind| all || asked(kind)).collect();
    if args.no_payload && all {
        kinds.retain(|&kind| kind != BackendKind::Quic);
        notes.push("no payload: quic left out".to_owned());
    }
    kinds
}

/// Keeps the first of equals.
fn distinct<T: PartialEq + Clone>(list: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in list {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    kept
}
