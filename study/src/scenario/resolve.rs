//! From the words of a scenario to what they lead to: files read, defaults decided, the same for every command.

use super::model::recorded_model;
use super::{Place, Scenario, ScenarioError, any_model, fitting_model, named_model};
use crate::placing::{PlacementChoice, Programs};
use moe::gate::SelectionRule;
use moe::load::{read_loads, read_trace};
use moe::placement::{Demand, Linear, PlacementPolicy, PlacementWord};
use moe::routing::{RecordedLoads, RoutingChoice};
use moe::work::CommonWeights;
use moe::{Model, Placement, RoutingSpec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use topology::{Cluster, Dtype, Hardware};

/// Racks, and ranks of each, where nothing says otherwise.
const DEFAULT_RACKS: u32 = 2;
const DEFAULT_RANKS_PER_RACK: u32 = 8;

/// What a scenario leads to. What may have several values is in [`Self::words`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Studied {
    /// The model, with the top-k in use.
    pub model: Model,
    /// Accelerator and links, throttle applied, latencies not yet.
    pub place: Place,
    /// Ranks of each rack.
    pub rack_sizes: Vec<u32>,
    /// Arithmetic, and weights where the model says nothing of them.
    pub dtype: Dtype,
    /// Entries of caches.
    pub kv_dtype: Dtype,
    /// Where the weights lie that every token uses.
    pub common: CommonWeights,
    /// Routing of the ranks of a stage.
    pub routing: RoutingSpec,
    /// Where experts are.
    pub placement: PlacementChoice,
    /// Expert slots of a stage; `None` is one an expert, or as many as the placement has of itself.
    pub slots: Option<u32>,
    /// What was decided for the user, to be told.
    pub notes: Vec<String>,
    /// The words, without those that say what is so anyway.
    pub words: Scenario,
}

impl Scenario {
    /// What the words lead to; programs that place experts are of `programs`.
    ///
    /// # Errors
    /// [`ScenarioError`] for the first word that leads nowhere, or contradicts another.
    pub fn resolve(&self, programs: &Arc<Programs>) -> Result<Studied, ScenarioError> {
        let name = self.model.as_deref();
        let wrong = |error: String| ScenarioError::new("routing", error);
        let path = match &self.routing {
            RoutingChoice::Trace(path) => path,
            RoutingChoice::Loads(path) => {
                let (origin, loads) =
                    (path.display(), read_loads(path).map_err(|error| wrong(error.to_string()))?);
                let model = recorded_model(name, loads.num_experts(), &origin.to_string())?;
                let layers = loads.layer_ids().iter().copied().zip(loads.layers());
                let loads =
                    RecordedLoads::new(layers).ok_or_else(|| wrong(format!("{origin}: no tokens")))?;
                return self.resolve_as(model, Some(RoutingSpec::Loads(loads)), programs);
            }
            _ => return self.resolve_as(named_model(name)?, None, programs),
        };
        let trace = read_trace(path).map_err(|error| ScenarioError::new("routing", error))?;
        let (model, note) = fitting_model(name, self.top_k, &trace, path)?;
        let mut studied = self.resolve_as(model, Some(RoutingSpec::Rows(trace.rows)), programs)?;
        studied.notes.splice(0..0, note);
        Ok(studied)
    }

    /// As [`Self::resolve`], a model without experts included.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_any(&self, programs: &Arc<Programs>) -> Result<Studied, ScenarioError> {
        self.resolve_as(any_model(self.model.as_deref())?, None, programs)
    }

    /// As [`Self::resolve`], for a model of which `origin` recorded `experts` experts: the one that is named must have as many.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_recorded(
        &self,
        (experts, origin): (u32, &str),
        programs: &Arc<Programs>,
    ) -> Result<Studied, ScenarioError> {
        self.resolve_as(recorded_model(self.model.as_deref(), experts, origin)?, None, programs)
    }

    fn resolve_as(
        &self,
        mut model: Model,
        recorded: Option<RoutingSpec>,
        programs: &Arc<Programs>,
    ) -> Result<Studied, ScenarioError> {
        let (mut words, mut notes) = (self.clone(), Vec::new());
        if !matches!(recorded, Some(RoutingSpec::Rows(_))) {
            words.model = words.model.filter(|_| Ok(&model) != named_model(None).as_ref());
        }
        words.top_k = self.top_k.filter(|&top_k| top_k != model.layer().top_k);
        if let Some(top_k) = words.top_k {
            route_to(&mut model, top_k, &mut notes)?;
        }
        let place = Place::named(self.hardware.as_deref())?;
        words.hardware = words.hardware.filter(|name| name != Hardware::DEFAULT_PRESET);
        let own = place.clone();
        let place = place.throttled(self.throttle)?;
        words.throttle = words.throttle.filter(|_| place != own);
        let place = place.shared(self.oversubscription, self.background)?;
        let ratio = own.fabric.oversubscription;
        words.oversubscription = words.oversubscription.filter(|_| place.fabric.oversubscription != ratio);
        words.background = words.background.filter(|&given| given != own.background);
        let own = model.storage.arithmetic();
        let dtype = place.dtype(self.dtype, own, &mut notes)?;
        words.dtype = words.dtype.filter(|&given| Ok(given) != place.dtype(None, own, &mut Vec::new()));
        let kv_dtype = self.kv_dtype.unwrap_or_else(|| model.storage.cache());
        words.kv_dtype = words.kv_dtype.filter(|&given| given != model.storage.cache());
        let common = self.common_weights.unwrap_or_else(|| common_of(&model));
        words.common_weights = Some(common).filter(|common| *common != common_of(&model));
        words.micro_batches = words.micro_batches.filter(|&given| given != self.pp);
        let rack_sizes = place.racks(&self.said_of_racks(), DEFAULT_RACKS, DEFAULT_RANKS_PER_RACK)?;
        words.say_racks(&rack_sizes, place.rack_sizes.as_deref());
        notes.extend(place.told_of_sharing(&rack_sizes));
        let domain = place.hardware.domain_ranks;
        if rack_sizes.iter().any(|&ranks| ranks > domain) {
            let name = &place.hardware.name;
            notes.push(format!("racks larger than {name}'s scale-up domain of {domain}: a what-if"));
        }
        // Impossible numbers of ranks are refused where racks are made of them.
        let ranks = rack_sizes.iter().fold(0, |sum: u32, &ranks| sum.saturating_add(ranks));
        let routing = match recorded {
            Some(recorded) => recorded,
            None => match self.routing.spec(ranks / self.pp.max(1)) {
                // A gate without limits takes any experts.
                None | Some(RoutingSpec::Model) if model.layer().selection().is_plain() => {
                    RoutingSpec::Uniform
                }
                spec => spec.unwrap_or(RoutingSpec::Model),
            },
        };

        let linear = PlacementWord::Policy(Linear.name().to_owned());
        let placement = PlacementChoice::read(self.placement.as_ref().unwrap_or(&linear), programs)
            .map_err(|error| ScenarioError::new("placement", error))?;
        words.placement = words.placement.filter(|word| *word != linear);
        let mut studied = Studied {
            model,
            place,
            rack_sizes,
            dtype,
            kv_dtype,
            common,
            routing,
            placement,
            slots: self.slots,
            notes,
            words,
        };
        studied.slots = studied.slots.filter(|&slots| studied.own_slots() != Some(slots));
        studied.words.slots = studied.slots;
        Ok(studied)
    }

    /// Puts racks of `sizes` in place of what was said of them; nothing where they are as `file`, or nobody, says.
    fn say_racks(&mut self, sizes: &[u32], file: Option<&[u32]>) {
        (self.racks, self.ranks_per_rack, self.ranks) = (None, Vec::new(), None);
        if file == Some(sizes) {
            return;
        }
        let (racks, first) = (sizes.len() as u32, sizes.first().copied().unwrap_or(0));
        if sizes.iter().any(|&size| size != first) {
            self.ranks_per_rack = sizes.to_vec();
            return;
        }
        self.racks = Some(racks).filter(|&racks| racks != DEFAULT_RACKS || file.is_some());
        self.ranks_per_rack = Some(first)
            .filter(|&size| size != DEFAULT_RANKS_PER_RACK || file.is_some())
            .into_iter()
            .collect();
    }
}

/// Where the weights lie that every token uses, where nothing is said: on every rank, as expert parallelism has them; without experts
/// that would be all weights.
fn common_of(model: &Model) -> CommonWeights {
    if model.routed().is_some() { CommonWeights::Replicated } else { CommonWeights::Even }
}

/// Has each token go to `top_k` experts, from all groups where the model's own limit leaves too few.
fn route_to(model: &mut Model, top_k: u32, notes: &mut Vec<String>) -> Result<(), ScenarioError> {
    let shape = model.layer();
    let experts = shape.num_experts;
    if top_k == 0 || top_k > experts {
        let problem = format!("{top_k}: give between 1 and the {experts} experts of {}", model.name);
        return Err(ScenarioError::new("top_k", problem));
    }
    // What was published counts the model's own choice.
    model.published_active = None;
    let mut gate = shape.gate;
    let reachable = experts / gate.n_group.max(1) * gate.topk_group;
    let uneven = gate.equal_shares && !top_k.is_multiple_of(gate.n_group);
    if uneven {
        notes.push(format!(
            "top-{top_k} is no equal share of {} groups: the gate's groups are left out",
            gate.n_group
        ));
        gate = gate.unlimited();
    } else if top_k > reachable {
        notes.push(format!("the model's own gate groups hold {reachable} experts for top-{top_k}: left out"));
        gate = gate.unlimited();
    }
    *model = model.clone().with_experts(experts, top_k, gate);
    Ok(())
}

impl Studied {
    /// How tokens pick experts: by the model's gate, or any where the routing is uniform.
    #[must_use]
    pub fn selection(&self) -> SelectionRule {
        let rule = self.model.layer().selection();
        match self.routing {
            RoutingSpec::Uniform => {
                SelectionRule { zero: rule.zero, ..SelectionRule::plain(rule.experts, rule.top_k) }
            }
            _ => rule,
        }
    }

    /// All racks.
    ///
    /// # Errors
    /// [`ScenarioError`] for impossible sizes.
    pub fn cluster(&self) -> Result<Cluster, ScenarioError> {
        Cluster::new(&self.rack_sizes).map_err(|error| ScenarioError::new("racks", error))
    }

    /// Slots of the placement where none are asked for; `None` where the placement says what is wrong with it.
    fn own_slots(&self) -> Option<u32> {
        let policy = self.placement.policy().ok()?;
        let experts = self.model.layer().num_experts;
        if policy.is_for_demand() {
            return Some(experts);
        }
        let cluster = self.cluster().ok()?;
        let placed = Placement::by(policy, &cluster, None, &Demand::even(&cluster, experts));
        placed.ok().map(|placement| placement.num_slots())
    }
}
