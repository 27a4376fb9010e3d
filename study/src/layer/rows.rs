//! The configurations of a comparison: the base rows, then the same ranks over several racks in every arrangement.

use super::place::place;
use super::{CompareError, CompareSpec, GateChoice};
use crate::placing::PlacementChoice;
use moe::placement::{Linear, OneRack, PlacementPolicy, Replicated};
use moe::{DispatchScheme, GateLimit, Placement, Router, RoutingError, RoutingSpec};
use topology::Cluster;

/// One line of the table, without latency and backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// What it is, for people: `2 racks: hierarchical`.
    pub title: String,
    /// Racks and ranks.
    pub cluster: Cluster,
    /// Which slot holds which expert.
    pub placement: Placement,
    /// The placement's name in records.
    pub placement_name: String,
    /// How copies travel.
    pub scheme: DispatchScheme,
    /// Racks a token may use. The groups of a base row are the racks of the rows that it is the base of, so that every
    /// token goes to the same experts in both.
    pub limit: Option<GateLimit>,
    /// Index of the row that this one's slowdown is against; its own for a base row.
    pub base: usize,
}

impl Configuration {
    /// Racks a token may use, if they are limited.
    #[must_use]
    pub fn gate_rack_limit(&self) -> Option<u32> {
        self.limit.as_ref().map(|limit| limit.limit)
    }

    /// Expert weights on the fullest rank, bytes.
    #[must_use]
    pub fn weight_bytes_per_rank(&self, spec: &CompareSpec) -> u64 {
        u64::from(self.placement.max_slots_per_rank()) * spec.shape.expert_weight_bytes()
    }
}

/// The base that a row is compared with: same gate; flat against flat, all else against dedup.
#[derive(Clone, Copy, PartialEq)]
struct BaseKey {
    scheme: DispatchScheme,
    gate: GateChoice,
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
                spec.schemes.iter().map(move |&scheme| (BaseKey { scheme, gate: *gate }, limit.clone()))
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
    let mut keys: Vec<BaseKey> = Vec::new();
    for (key, _) in &wanted {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
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
    spec.validate()?;
    let ([scheme], Some([_]), [_]) =
        (spec.schemes.as_slice(), spec.gates.as_deref(), spec.latencies.as_slice())
    else {
        let problem = "one configuration has one scheme, one gate and one latency";
        return Err(CompareError::Spec(problem.to_owned()));
    };
    let wide = spec.cluster()?;
    let placement = place(spec, &spec.placement, &wide)?;
    let Some((gate, limit)) = gates(spec, &wide, &placement, &mut Vec::new())?.pop() else {
        return Err(CompareError::Spec("no gate to run; give unlimited or limit:M".to_owned()));
    };
    if wide.num_racks() == 1 {
        let base = Base::alone(spec, wide, placement);
        return Ok(vec![base.row(BaseKey { scheme: *scheme, gate }, limit, 0)]);
    }
    let mut rows = Vec::with_capacity(2);
    if with_base {
        let key = BaseKey { scheme: base_scheme(*scheme), gate };
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
        scheme: *scheme,
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

/// The rows over several racks that `gate` and the chosen schemes ask for.
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
            vec![wish(&format!("hierarchical, gate <= {racks} rack{}", plural(racks)), Hierarchical, None)]
        }
    };
    // A placement that is the comparison's own needs no row beside the others.
    let wanted =
        |wish: &Wish| spec.schemes.contains(&wish.scheme) && wish.place.as_ref() != Some(&spec.placement);
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
    let asked = spec.gates.clone().unwrap_or_else(|| vec![GateChoice::Unlimited, GateChoice::Limit(1)]);
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
            Err(error) => notes.push(format!("no rows with the limited gate: {error}")),
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
