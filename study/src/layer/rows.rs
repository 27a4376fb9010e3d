//! The configurations of a comparison: the base rows, then the same ranks over several racks in every arrangement.

use super::configuration::Configuration;
use super::place::place;
use super::{CompareError, CompareSpec, GateChoice};
use crate::placing::PlacementChoice;
use crate::scenario::distinct;
use moe::placement::{Demand, Linear, OneRack, PlacementPolicy, Replicated};
use moe::{DispatchScheme, GateLimit, Placement, PlacementError, Router, RoutingError, RoutingSpec};
use serde::{Deserialize, Serialize};
use topology::Cluster;

/// The gates that there are rows of where none are said.
pub(super) const EVERY_GATE: [GateChoice; 2] = [GateChoice::Unlimited, GateChoice::Limit(1)];

/// The base that a row is compared with: same gate; flat against flat, all else against dedup.
#[derive(Clone, Copy, PartialEq)]
struct BaseKey {
    scheme: DispatchScheme,
    gate: GateChoice,
}

/// Which configurations of a comparison there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// As [`configurations`] has them.
    All,
    /// As [`configuration`] has them: a point of an experiment.
    One {
        /// Whether its base comes before it.
        with_base: bool,
    },
}

impl Wanted {
    /// Those of `spec`. What was left out is added to `notes`.
    ///
    /// # Errors
    /// As [`configurations`] and [`configuration`].
    pub fn of(self, spec: &CompareSpec, notes: &mut Vec<String>) -> Result<Vec<Configuration>, CompareError> {
        match self {
            Self::All => configurations(spec, notes),
            Self::One { with_base } => configuration(spec, with_base),
        }
    }
}

/// The configurations of `spec`, bases first, each after its base. What was left out is added to `notes`.
///
/// # Errors
/// [`CompareError`] when racks, experts, placement and gates don't fit each other.
pub fn configurations(
    spec: &CompareSpec,
    notes: &mut Vec<String>,
) -> Result<Vec<Configuration>, CompareError> {
    spec.validate()?;
    let wide = spec.cluster()?;
    let placement = place(spec, &spec.placement, &wide)?;
    let gates = gates(spec, &wide, &placement, notes)?;
    if wide.num_racks() == 1 {
        let base = Base::alone(spec, wide, placement);
        let bases =
            gates.iter().filter(|(gate, _)| *gate == GateChoice::Unlimited).flat_map(|(gate, limit)| {
                spec.schemes().iter().map(move |&scheme| (BaseKey { scheme, gate: *gate }, limit.clone()))
            });
        return Ok(bases.enumerate().map(|(at, (key, limit))| base.row(key, limit, at)).collect());
    }
    let base = Base::new(spec)?;
    let mut wanted: Vec<(BaseKey, Configuration)> = Vec::new();
    for (gate, limit) in &gates {
        for wish in wishes(spec, *gate) {
            let (placement, choice) = match &wish.place {
                Some(choice) => (place(spec, choice, &wide)?, choice),
                None => (placement.clone(), &spec.placement),
            };
            let row = Configuration {
                title: format!("{} racks: {}", wide.num_racks(), wish.title),
                cluster: wide.clone(),
                placement,
                placement_name: choice.name().to_owned(),
                scheme: wish.scheme,
                limit: limit.clone(),
                base: 0,
            };
            wanted.push((BaseKey { scheme: base_scheme(wish.scheme), gate: *gate }, row));
        }
    }
    let keys = distinct(wanted.iter().map(|(key, _)| *key));
    let mut rows = Vec::with_capacity(keys.len() + wanted.len());
    for (at, &key) in keys.iter().enumerate() {
        let limit = gates.iter().find(|(gate, _)| *gate == key.gate).and_then(|(_, limit)| limit.clone());
        rows.push(base.row(key, limit, at));
    }
    for (key, mut row) in wanted {
        row.base = keys.iter().position(|known| *known == key).unwrap_or(0);
        rows.push(row);
    }
    Ok(rows)
}

/// The one configuration that `spec` names with one scheme and one gate, after its base if `with_base`: the same row as
/// [`configurations`] has among others.
///
/// # Errors
/// [`CompareError`] as [`configurations`], and when schemes, gates or latencies are not one each.
pub fn configuration(spec: &CompareSpec, with_base: bool) -> Result<Vec<Configuration>, CompareError> {
    let wide = one(spec)?;
    let placement = place(spec, &spec.placement, &wide)?;
    let gate = gates(spec, &wide, &placement, &mut Vec::new())?.pop();
    arranged(spec, with_base, (wide, placement), gate.unwrap_or((GateChoice::Unlimited, None)))
}

/// As [`configuration`], with the same ranks and slots, but no demand is looked at and no program asked: what it takes to know whether,
/// and in how much memory, it can be run.
///
/// # Errors
/// As [`configuration`], but for what only a program's answer tells, or where a policy puts replicas.
pub fn outline(spec: &CompareSpec, with_base: bool) -> Result<Vec<Configuration>, CompareError> {
    if !spec.placement.is_for_demand() {
        return configuration(spec, with_base);
    }
    let wide = one(spec)?;
    let experts = spec.shape.num_experts;
    let demand = Demand::even(&wide, experts).in_groups(spec.shape.gate.n_group.max(1));
    let placement = spec.placement.unasked();
    let policy = placement.policy().map_err(PlacementError::from)?;
    let placement = Placement::by(policy, &wide, spec.slots, &demand)?;
    let no_replicas = Placement::linear(&wide, experts)?;
    let gate = gates(spec, &wide, &no_replicas, &mut Vec::new())?.pop();
    arranged(spec, with_base, (wide, placement), gate.unwrap_or((GateChoice::Unlimited, None)))
}

/// The racks of what must be one configuration.
fn one(spec: &CompareSpec) -> Result<Cluster, CompareError> {
    spec.validate()?;
    let lengths = (spec.schemes().len(), spec.gates.as_ref().map(Vec::len), spec.latencies.len());
    if lengths != (1, Some(1), 1) {
        let problem = "one configuration has one scheme, one gate and one latency";
        return Err(CompareError::Spec(problem.to_owned()));
    }
    Ok(spec.cluster()?)
}

/// The configuration of `spec` on its racks, with its gate, after its base if there is one.
fn arranged(
    spec: &CompareSpec,
    with_base: bool,
    (wide, placement): (Cluster, Placement),
    (gate, limit): (GateChoice, Option<GateLimit>),
) -> Result<Vec<Configuration>, CompareError> {
    let scheme = spec.schemes()[0];
    if wide.num_racks() == 1 {
        let base = Base::alone(spec, wide, placement);
        return Ok(vec![base.row(BaseKey { scheme, gate }, limit, 0)]);
    }
    let mut rows = Vec::with_capacity(2);
    if with_base {
        let key = BaseKey { scheme: base_scheme(scheme), gate };
        rows.push(Base::new(spec)?.row(key, limit.clone(), 0));
    }
    let limited = limit
        .as_ref()
        .map_or_else(String::new, |limit| format!(", gate <= {} rack{}", limit.limit, plural(limit.limit)));
    rows.push(Configuration {
        title: format!("{} racks: {scheme}{limited}", wide.num_racks()),
        cluster: wide,
        placement,
        placement_name: spec.placement.name().to_owned(),
        scheme,
        limit,
        base: 0,
    });
    Ok(rows)
}

fn base_scheme(scheme: DispatchScheme) -> DispatchScheme {
    if scheme == DispatchScheme::Flat { DispatchScheme::Flat } else { DispatchScheme::Dedup }
}

struct Wish {
    title: String,
    scheme: DispatchScheme,
    /// `None`: the comparison's own.
    place: Option<PlacementChoice>,
}

/// The rows over several racks that `gate` and the chosen schemes ask for; with a limited gate hierarchical ones, unless both schemes
/// and gates are named.
fn wishes(spec: &CompareSpec, gate: GateChoice) -> Vec<Wish> {
    use DispatchScheme::{Dedup, Flat, Hierarchical};
    let placed = |policy: &dyn PlacementPolicy| Some(PlacementChoice::named(policy.name()));
    let wish = |title: &str, scheme, place| Wish { title: title.to_owned(), scheme, place };
    let all = match gate {
        GateChoice::Unlimited => vec![
            wish("flat", Flat, None),
            wish("dedup", Dedup, None),
            wish("hierarchical", Hierarchical, None),
            wish("replicated experts", Dedup, placed(&Replicated)),
            wish("experts in rack 0", Hierarchical, placed(&OneRack)),
        ],
        GateChoice::Limit(racks) => {
            let named = spec.schemes.is_some() && spec.gates.is_some();
            let schemes = if named { &DispatchScheme::ALL[..] } else { &[Hierarchical] };
            let title = |scheme| format!("{scheme}, gate <= {racks} rack{}", plural(racks));
            schemes.iter().map(|&scheme| wish(&title(scheme), scheme, None)).collect()
        }
    };
    // A placement that is the comparison's own needs no row beside the others.
    let wanted =
        |wish: &Wish| spec.schemes().contains(&wish.scheme) && wish.place.as_ref() != Some(&spec.placement);
    all.into_iter().filter(wanted).collect()
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The gates in use, each with its limit; an unset list leaves out what routing and experts don't allow.
fn gates(
    spec: &CompareSpec,
    cluster: &Cluster,
    placement: &Placement,
    notes: &mut Vec<String>,
) -> Result<Vec<(GateChoice, Option<GateLimit>)>, CompareError> {
    let asked = spec.gates.clone().unwrap_or_else(|| EVERY_GATE.to_vec());
    let mut gates = Vec::new();
    for gate in asked {
        let GateChoice::Limit(racks) = gate else {
            gates.push((gate, None));
            continue;
        };
        let limit = if racks >= cluster.num_racks() {
            Err(CompareError::Spec(format!(
                "a gate limited to {racks} of {} racks is no limit; give fewer racks a token, or more racks",
                cluster.num_racks()
            )))
        } else {
            usable_limit(spec, cluster, placement, racks)
        };
        match limit {
            Ok(limit) => gates.push((gate, Some(limit))),
            Err(error) if spec.gates.is_some() => return Err(error),
            Err(_) if cluster.num_racks() == 1 => {}
            Err(error) => notes.push(format!("nothing with the limited gate: {error}")),
        }
    }
    Ok(gates)
}

fn usable_limit(
    spec: &CompareSpec,
    cluster: &Cluster,
    placement: &Placement,
    racks: u32,
) -> Result<GateLimit, CompareError> {
    if spec.is_trace() {
        return Err(RoutingError::LimitOnTrace.into());
    }
    let limit = GateLimit::from_placement(cluster, placement, racks)?;
    // A router checks that so many racks hold enough experts; sampling is cheaper to make than a gate. A workload may leave
    // some experts out.
    let routing = match &spec.routing {
        workload @ RoutingSpec::Workload { .. } => workload,
        _ => &RoutingSpec::Uniform,
    };
    Router::new(&spec.shape, routing, Some(&limit), 0, 0)?;
    Ok(limit)
}

/// The one rack of the base rows.
struct Base<'a> {
    cluster: Cluster,
    placement: Placement,
    placement_name: &'a str,
}

impl<'a> Base<'a> {
    /// With its experts in order, whatever the placement over several racks: one base for all placements.
    fn new(spec: &'a CompareSpec) -> Result<Self, CompareError> {
        let cluster = spec.base_cluster()?;
        let placement = Placement::linear(&cluster, spec.shape.num_experts)?;
        Ok(Self { cluster, placement, placement_name: Linear.name() })
    }

    /// Where there is no other rack, with the placement that was asked for.
    fn alone(spec: &'a CompareSpec, cluster: Cluster, placement: Placement) -> Self {
        Self { cluster, placement, placement_name: spec.placement.name() }
    }

    fn row(&self, key: BaseKey, limit: Option<GateLimit>, at: usize) -> Configuration {
        let gate = match key.gate {
            GateChoice::Unlimited => String::new(),
            GateChoice::Limit(racks) => format!(", gate <= {racks} group{}", plural(racks)),
        };
        Configuration {
            title: format!("1 rack of {}: {}{gate}", self.cluster.num_ranks(), key.scheme),
            cluster: self.cluster.clone(),
            placement: self.placement.clone(),
            placement_name: self.placement_name.to_owned(),
            scheme: key.scheme,
            limit,
            base: at,
        }
    }
}
