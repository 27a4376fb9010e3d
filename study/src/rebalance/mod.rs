//! Rebalancing while running: every so many steps a new placement from the loads just seen, its weights moved over the same
//! fabric, swapped in between two steps.
//!
//! A segment is the steps with one placement, a run of its own. Between two segments the weights travel in rounds, steps of a run
//! that moves nothing else ([`node::program::Program::Moves`]): their bytes and time are charged, and ranks never hold more than one expert beyond
//! their slots ([`moe::placement::weight_moves`]). Tokens wait meanwhile; nothing overlaps. Every step is checked against
//! its plan and, with payload, its reference, which know nothing of what the placement was before: outputs are those of a
//! run that starts with it.
//!
//! Ranks may come and go ([`Phase`]). Those who are left go on in the racks as they are then: they take over the tokens of the others, under
//! their names, and experts of which no copy is left are loaded again ([`moe::placement::loading`]).

mod alive;
mod verify;

pub use alive::{Phase, SURVIVORS_MIN, check_phases};

use alive::Stretch;
use coordinator::{RunError, RunRequest, Runner, run_steps};
use moe::placement::{Demand, Picks, PlacementPolicy, WeightMove, loading, move_traffic, weight_moves};
use moe::routing::{Router, RoutingError};
use moe::{ExpertId, LayerShape, Placement, PlacementError, Routing};
use node::control::PhaseReport;
use node::program::{LayerProgram, MoveProgram, Program};
use node::setup::Setup;
use node::wire::Phase as WirePhase;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;
use topology::{Cluster, LinkClass, RankId};
use verify::{check_moves, check_step};

/// What is run, and when it is rebalanced.
#[derive(Clone, Debug)]
pub struct Rebalancing {
    /// The configuration of a layer, with the placement to begin with; steps are counted from its `first_step`.
    pub request: RunRequest,
    /// Steps in all.
    pub steps: u32,
    /// Steps from one rebalancing to the next; `None` to keep the first placement.
    pub interval: Option<u32>,
    /// Steps before a rebalancing whose loads count.
    pub window: u32,
    /// Who takes part when; without phases all do.
    pub alive: Vec<Phase>,
}

/// The steps with one placement.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Number of the first of them.
    pub first_step: u32,
    /// The ranks of the whole cluster that take part, ascending.
    pub ranks: Vec<RankId>,
    /// The placement, on those ranks.
    pub placement: Arc<Placement>,
    /// Whether it begins with the death of a rank in the middle of a step, which is run again.
    pub after_death: bool,
    /// What was moved to get there; `None` before the first segment and where nothing had to.
    pub moved: Option<Moved>,
    /// Mean over largest load of the ranks, by step: rows that each computed.
    pub balancedness: Vec<f64>,
    /// Dispatch, experts and combine of each step, emulated microseconds, each the slowest rank's.
    pub layer_us: Vec<f64>,
    /// Digests of the outputs, `[steps][num_ranks][tokens]`.
    pub digests: Vec<Vec<Vec<u64>>>,
}

/// Weights on their way between two segments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    /// Experts that travelled, replicas included.
    pub experts: u64,
    /// Of them, experts of which no rank had a copy any more.
    pub read_again: u64,
    /// Rounds, one after the other.
    pub rounds: u32,
    /// Bytes of their weights.
    pub bytes: u64,
    /// Of them, bytes from one rack to another.
    pub inter_rack_bytes: u64,
    /// Emulated microseconds from the first byte to the last, tokens waiting.
    pub time_us: f64,
}

/// Why a rebalanced run ended early.
#[derive(Debug, Error)]
pub enum RebalanceError {
    /// Numbers that make no run.
    #[error("{0}")]
    Spec(&'static str),
    /// A run gave up.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The routing can't be made.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The policy can't place.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Ranks that come and go as they can't.
    #[error("{0}")]
    Alive(String),
    /// A step or a round of moves that is not what it must be.
    #[error("{0}")]
    Wrong(String),
}

impl Segment {
    /// The experts of a rank of the whole cluster; none if it takes no part.
    fn experts_of(&self, rank: RankId) -> BTreeSet<ExpertId> {
        let at = (0..).map(RankId).zip(&self.ranks).find(|(_, other)| **other == rank);
        at.map(|(at, _)| self.placement.experts_of(at)).unwrap_or_default()
    }

    /// All its time, the moves before it included, microseconds.
    #[must_use]
    pub fn time_us(&self) -> f64 {
        self.layer_us.iter().sum::<f64>() + self.moved.map_or(0.0, |moved| moved.time_us)
    }
}

/// Runs `plan` on `runner`, placing experts by `policy`.
///
/// # Errors
/// [`RebalanceError`]; the first thing that is wrong ends the run.
pub async fn rebalance<R: Runner>(
    runner: &mut R,
    plan: &Rebalancing,
    policy: &dyn PlacementPolicy,
) -> Result<Vec<Segment>, RebalanceError> {
    let interval = plan.interval.unwrap_or(plan.steps);
    if plan.steps == 0 || interval == 0 || plan.window == 0 {
        return Err(RebalanceError::Spec("give at least 1 step, 1 step an interval and 1 step of loads"));
    }
    let setup = &plan.request.setup;
    let layer = layer(setup)?;
    let index = layer.layer.into();
    let router = Router::new(&layer.shape, &setup.routing, setup.gate_limit.as_ref(), setup.seed, index)?;
    let stretches =
        alive::stretches(&setup.cluster, &plan.alive, plan.steps).map_err(RebalanceError::Alive)?;
    let mut run = Run { plan, policy, router, seen: Vec::new(), segments: Vec::new(), done: 0 };
    for stretch in &stretches {
        let end = run.done + stretch.steps;
        if setup.gate_limit.is_some() && stretch.cluster.num_racks() != setup.cluster.num_racks() {
            let problem = "a gate limited to some racks can't lose a whole rack; give gate = \"model\"";
            return Err(RebalanceError::Alive(problem.to_owned()));
        }
        while run.done < end {
            let steps = interval.min(end - run.done);
            run.segment(runner, stretch, steps).await?;
        }
    }
    Ok(run.segments)
}

/// A run under way.
struct Run<'a> {
    plan: &'a Rebalancing,
    policy: &'a dyn PlacementPolicy,
    router: Router,
    /// Routing of the last steps, each `[ranks]` of the cluster as it was then.
    seen: Vec<(Cluster, Vec<Routing>)>,
    segments: Vec<Segment>,
    done: u32,
}

impl Run<'_> {
    /// Places the experts for the next `steps` steps, and runs them.
    async fn segment<R: Runner>(
        &mut self,
        runner: &mut R,
        stretch: &Stretch,
        steps: u32,
    ) -> Result<(), RebalanceError> {
        let setup = &self.plan.request.setup;
        let mut placed = layer(setup)?.clone();
        (placed.tokens, placed.names) = stretch.tokens(&placed.tokens);
        let changed = self.segments.last().is_some_and(|before| before.ranks != stretch.ranks);
        let everyone = stretch.ranks.len() == setup.cluster.num_ranks() as usize;
        let (placement, moved) = match self.segments.last() {
            None if everyone => (Arc::clone(&placed.placement), None),
            None => {
                // Who takes part from the beginning has loaded what it needs before it.
                let nothing = vec![BTreeSet::new(); stretch.ranks.len()];
                let placement = self.surviving(stretch, &placed, &nothing)?;
                (Arc::new(placement), None)
            }
            Some(before) if changed => {
                let held: Vec<_> = stretch.ranks.iter().map(|&rank| before.experts_of(rank)).collect();
                let placement = self.surviving(stretch, &placed, &held)?;
                let loading = loading(&stretch.cluster, &held, &placement);
                let moved = self.carry(runner, stretch, &placed, loading.rounds, loading.read_again).await?;
                (Arc::new(placement), moved)
            }
            Some(before) if self.plan.interval.is_none() => (Arc::clone(&before.placement), None),
            Some(before) => {
                let demand = self.demand(stretch, &placed.shape)?;
                let slots = before.placement.num_slots();
                let placement = Placement::by(self.policy, &stretch.cluster, Some(slots), &demand)?;
                let rounds = rounds(&stretch.cluster, &before.placement, &placement);
                let moved = self.carry(runner, stretch, &placed, rounds, 0).await?;
                (Arc::new(placement), moved)
            }
        };
        placed.placement = Arc::clone(&placement);
        let mut segment = Segment {
            first_step: setup.first_step + self.done,
            ranks: stretch.ranks.clone(),
            placement,
            after_death: changed && stretch.after_death,
            moved,
            balancedness: Vec::new(),
            layer_us: Vec::new(),
            digests: Vec::new(),
        };
        self.steps(runner, stretch, placed, &mut segment, steps).await?;
        let old = self.seen.len().saturating_sub(self.plan.window as usize);
        self.seen.drain(..old);
        self.segments.push(segment);
        self.done += steps;
        Ok(())
    }

    async fn steps<R: Runner>(
        &mut self,
        runner: &mut R,
        stretch: &Stretch,
        placed: LayerProgram,
        segment: &mut Segment,
        steps: u32,
    ) -> Result<(), RebalanceError> {
        let mut request = self.request(stretch, Program::Layer(placed.clone()));
        request.setup.first_step = segment.first_step;
        for record in run_steps(runner, &request, steps).await? {
            let step = segment.first_step + record.step;
            let route = |rank| self.router.route_shares(step, &placed.shares_of(rank));
            let routings: Vec<Routing> = stretch.cluster.ranks().map(route).collect();
            let rank_rows =
                check_step(&request.setup, &placed, &routings, &record).map_err(RebalanceError::Wrong)?;
            segment.balancedness.push(moe::load::balancedness(&rank_rows));
            segment.layer_us.push(record.phases.iter().map(|(_, reports)| slowest_us(reports)).sum());
            segment.digests.push(record.digests);
            self.seen.push((stretch.cluster.clone(), routings));
        }
        Ok(())
    }

    /// The request with the ranks of a stretch, and another program.
    fn request(&self, stretch: &Stretch, program: Program) -> RunRequest {
        let mut request = self.plan.request.clone();
        request.setup.cluster = stretch.cluster.clone();
        request.setup.program = program;
        request
    }

    /// The placement on the ranks of a stretch that keeps what they have.
    fn surviving(
        &self,
        stretch: &Stretch,
        layer: &LayerProgram,
        held: &[BTreeSet<ExpertId>],
    ) -> Result<Placement, RebalanceError> {
        let slots = stretch.slots(&layer.placement, self.plan.interval.is_some());
        let mut load = vec![0; layer.placement.num_experts() as usize];
        let seen = self.seen.iter().flat_map(|(_, routings)| routings);
        for (expert, _) in
            seen.flat_map(|routing| (0..routing.tokens()).flat_map(|token| routing.picks(token)))
        {
            load[expert as usize] += 1;
        }
        Ok(Placement::surviving(&stretch.cluster, held, slots, &load)?)
    }

    /// Moves weights, round by round; `None` if nothing has to.
    async fn carry<R: Runner>(
        &self,
        runner: &mut R,
        stretch: &Stretch,
        layer: &LayerProgram,
        rounds: Vec<Vec<WeightMove>>,
        read_again: u64,
    ) -> Result<Option<Moved>, RebalanceError> {
        if rounds.is_empty() {
            return Ok(None);
        }
        let LayerProgram { shape, layer, .. } = *layer;
        let moving = MoveProgram { shape, layer, rounds: rounds.clone() };
        let mut request = self.request(stretch, Program::Moves(moving));
        request.setup.chunk_rows = 1;
        let steps = u32::try_from(rounds.len()).expect("rounds are bounded by slots");
        let records = run_steps(runner, &request, steps).await?;
        let mut moved = Moved { read_again, ..Moved::default() };
        let expert_bytes = shape.expert_weight_bytes();
        for (round, record) in rounds.iter().zip(&records) {
            check_moves(&stretch.cluster, expert_bytes, round, record).map_err(RebalanceError::Wrong)?;
            let traffic = move_traffic(&stretch.cluster, round, expert_bytes);
            moved.experts += round.len() as u64;
            moved.rounds += 1;
            moved.bytes += traffic.total();
            moved.inter_rack_bytes += traffic.class_bytes(&stretch.cluster, LinkClass::ScaleOut);
            moved.time_us += slowest_us(record.reports(WirePhase::Dispatch));
        }
        Ok(Some(moved))
    }

    /// What the last steps on these racks asked for: loads, which experts went together, and from which rack.
    fn demand(&self, stretch: &Stretch, shape: &LayerShape) -> Result<Demand, PlacementError> {
        let (experts, top_k, cluster) = (shape.num_experts as usize, shape.top_k, &stretch.cluster);
        let mut by_rack = vec![vec![0; experts]; cluster.num_racks() as usize];
        let (mut picks, mut racks) = (Vec::new(), Vec::new());
        let seen = self.seen.iter().filter(|(racks, _)| racks == cluster);
        for (rank, routing) in seen.flat_map(|(_, step)| cluster.ranks().zip(step)) {
            let rack = cluster.rack_of(rank);
            for token in 0..routing.tokens() {
                let (chosen, _) = routing.token(token);
                for &expert in chosen {
                    by_rack[rack.0 as usize][expert as usize] += 1;
                }
                picks.extend_from_slice(chosen);
                racks.push(rack.0);
            }
        }
        let demand = Demand::new(vec![0; experts], top_k).from_racks(by_rack)?;
        if racks.is_empty() {
            return Ok(demand);
        }
        demand.with_picks(Picks { top_k, experts: picks, racks: Some(racks) })
    }
}

fn layer(setup: &Setup) -> Result<&LayerProgram, RebalanceError> {
    let layer = setup.layer();
    let layer = layer.ok_or(RebalanceError::Spec("give the setup of a layer: nothing else is rebalanced"))?;
    match layer.shape.zero_experts {
        0 => Ok(layer),
        _ => Err(RebalanceError::Spec("experts that pass a token on have no loads; give a model without")),
    }
}

/// Moves from one placement to the next on the same ranks: without room for more than one expert beyond a rank's slots, where it has as many
/// as before.
fn rounds(cluster: &Cluster, before: &Placement, after: &Placement) -> Vec<Vec<WeightMove>> {
    if cluster.ranks().any(|rank| before.slots_of(rank).len() != after.slots_of(rank).len()) {
        let held: Vec<_> = cluster.ranks().map(|rank| before.experts_of(rank)).collect();
        return loading(cluster, &held, after).rounds;
    }
    let rounds = weight_moves(cluster, before, after).into_iter().map(|round| round.moves);
    rounds.filter(|moves| !moves.is_empty()).collect()
}

fn slowest_us(reports: &[PhaseReport]) -> f64 {
    PhaseReport::slowest(reports).as_micros_f64()
}

#[cfg(test)]
mod tests;
