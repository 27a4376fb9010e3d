//! What the flags of a comparison or of a roofline step mean: presets, files and traces read, defaults decided and told.

use crate::cli::RooflineArgs;
use crate::options::{BackendArg, SpecArgs};
use crate::programs::programs;
use anyhow::bail;
use blackboard::deployment::Deployment;
use blackboard::units::{DollarsPerS, Tokens};
use moe::load::read_trace;
use moe::routing::{RoutingChoice, Workload};
use moe::{DispatchScheme, RoutingSpec};
use study::layer::{BackendKind, CompareSpec};
use study::placing::PlacementChoice;
use study::scenario::{Place, Racks, any_model, fitting_model, named_model};
use topology::{Dtype, Hardware};

const DEFAULT_RACKS: u32 = 2;
const DEFAULT_RANKS_PER_RACK: u32 = 8;

/// The comparison that `args` ask for; `nodes` are split over two racks where no racks are given.
pub(crate) fn spec(args: &SpecArgs, nodes: Option<u32>) -> anyhow::Result<CompareSpec> {
    let mut notes = Vec::new();
    let trace = match &args.routing {
        RoutingChoice::Trace(path) => Some((path, read_trace(path)?)),
        _ => None,
    };
    let name = args.model.as_deref();
    let model = match &trace {
        Some((path, trace)) => {
            let (model, note) = fitting_model(name, args.top_k, trace, path)?;
            notes.extend(note);
            model
        }
        None => named_model(name)?,
    };
    let place = Place::named(args.hardware.as_deref())?.throttled(args.throttle)?;
    let racks = Racks { racks: args.racks, ranks_per_rack: args.ranks_per_rack.clone(), ranks: None };
    let racks = match nodes {
        Some(_) if racks.is_empty() && place.rack_sizes.is_none() => Racks { ranks: nodes, ..racks },
        _ => racks,
    };
    let rack_sizes = place.racks(&racks, DEFAULT_RACKS, DEFAULT_RANKS_PER_RACK)?;
    let mut spec = CompareSpec::new(model, place.hardware);
    (spec.fabric, spec.rack_sizes) = (place.fabric, rack_sizes);
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

/// The deployment whose step `args` ask for.
pub(crate) fn deployment(args: &RooflineArgs) -> anyhow::Result<Deployment> {
    let mut model = any_model(Some(&args.model))?;
    if let Some(top_k) = args.top_k {
        if top_k == 0 || top_k > model.num_experts {
            bail!(
                "--top-k {top_k}: {} has {} experts; give between 1 and that",
                model.name,
                model.num_experts
            );
        }
        model.top_k = top_k;
        // What was published counts the model's own choice.
        model.published_active = None;
    }
    let place = Place::named(args.hardware.as_deref())?.throttled(args.throttle)?;
    let chip = place.into_hardware();
    Ok(Deployment {
        dtype: args.dtype.unwrap_or_else(|| default_dtype(&chip)),
        kv_dtype: args.kv_dtype,
        ranks: args.ranks.unwrap_or_else(|| chip.domain_ranks.min(64)),
        racks: args.racks,
        stages: args.pp,
        micro_batches: args.micro_batches,
        batch: Tokens(args.batch),
        context: Tokens(args.context),
        scheme: args.scheme,
        tokens_per_rank: args.tokens_per_rank.map(Tokens),
        latency: args.latency,
        price: DollarsPerS::per_hour(args.price),
        mode: args.mode,
        model,
        hardware: chip,
    })
}

/// Eight bits where the chip has them.
fn default_dtype(chip: &Hardware) -> Dtype {
    if chip.fp8_flops.is_some() { Dtype::Fp8 } else { Dtype::Bf16 }
}
