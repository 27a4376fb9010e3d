//! Rebalancing while running: every so many steps a new placement from the loads just seen, its weights moved over the same
//! fabric, swapped in between two steps.
//!
//! A segment is the steps with one placement, a run of its own. Between two segments the weights travel in rounds, steps of a run
//! that moves nothing else ([`node::program::Program::Moves`]): their bytes and time are charged, and ranks never hold more than one expert beyond
//! their slots ([`moe::placement::weight_moves`]). Tokens wait meanwhile; nothing overlaps. Every step is checked against
//! its plan and, with payload, its reference, which know nothing of what the placement was before: outputs are those of a
//! run that starts with it.

mod verify;

use coordinator::{RunError, RunRequest, Runner, run_steps};
use moe::placement::{Demand, Picks, PlacementPolicy, move_traffic, weight_moves};
use moe::routing::{Router, RoutingError};
use moe::{LayerShape, Placement, PlacementError, Routing};
use node::control::PhaseReport;
use node::program::{LayerProgram, MoveProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
use std::sync::Arc;
use thiserror::Error;
use topology::LinkClass;
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
}

/// The steps with one placement.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Number of the first of them.
    pub first_step: u32,
    /// The placement.
    pub placement: Arc<Placement>,
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
    /// A step or a round of moves that is not what it must be.
    #[error("{0}")]
    Wrong(String),
}

impl Segment {
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
    let mut segments: Vec<Segment> = Vec::new();
    // Routing of the last steps, each `[num_ranks]`.
    let mut seen: Vec<Vec<Routing>> = Vec::new();
    let mut done = 0;
    while done < plan.steps {
        let (placement, moved) = match segments.last() {
            None => (Arc::clone(&layer.placement), None),
            Some(before) => {
                let demand = demand(setup, &layer.shape, &seen)?;
                let slots = before.placement.num_slots();
                let placement = Placement::by(policy, &setup.cluster, Some(slots), &demand)?;
                let moved = moves(runner, plan, layer, &before.placement, &placement).await?;
                (Arc::new(placement), moved)
            }
        };
        let first_step = setup.first_step + done;
        let steps = interval.min(plan.steps - done);
        let mut request = plan.request.clone();
        request.setup.first_step = first_step;
        let placed = LayerProgram { placement: Arc::clone(&placement), ..layer.clone() };
        request.setup.program = Program::Layer(placed.clone());
        let records = run_steps(runner, &request, steps).await?;
        let mut segment = Segment {
            first_step,
            placement,
            moved,
            balancedness: Vec::new(),
            layer_us: Vec::new(),
            digests: Vec::new(),
        };
        for record in records {
            let step = first_step + record.step;
            let tokens = setup.cluster.ranks().zip(&layer.tokens);
            let routings: Vec<Routing> =
                tokens.map(|(rank, &tokens)| router.route(step, rank, tokens)).collect();
            let rank_rows =
                check_step(&request.setup, &placed, &routings, &record).map_err(RebalanceError::Wrong)?;
            segment.balancedness.push(moe::load::balancedness(&rank_rows));
            segment.layer_us.push(record.phases.iter().map(|(_, reports)| slowest_us(reports)).sum());
            segment.digests.push(record.digests);
            seen.push(routings);
        }
        let old = seen.len().saturating_sub(plan.window as usize);
        seen.drain(..old);
        segments.push(segment);
        done += steps;
    }
    Ok(segments)
}

fn layer(setup: &Setup) -> Result<&LayerProgram, RebalanceError> {
    let layer = setup.layer();
    let layer = layer.ok_or(RebalanceError::Spec("give the setup of a layer: nothing else is rebalanced"))?;
    match layer.shape.zero_experts {
        0 => Ok(layer),
        _ => Err(RebalanceError::Spec("experts that pass a token on have no loads; give a model without")),
    }
}

/// Moves the weights from one placement to the next; `None` if nothing has to.
async fn moves<R: Runner>(
    runner: &mut R,
    plan: &Rebalancing,
    layer: &LayerProgram,
    before: &Placement,
    after: &Placement,
) -> Result<Option<Moved>, RebalanceError> {
    let cluster = &plan.request.setup.cluster;
    let slots_agree = cluster.ranks().all(|rank| before.slots_of(rank).len() == after.slots_of(rank).len());
    if !slots_agree {
        return Err(RebalanceError::Spec("the policy gives a rank another number of slots than it had"));
    }
    let rounds = weight_moves(cluster, before, after);
    let rounds: Vec<_> =
        rounds.into_iter().map(|round| round.moves).filter(|moves| !moves.is_empty()).collect();
    if rounds.is_empty() {
        return Ok(None);
    }
    let mut request = plan.request.clone();
    let LayerProgram { shape, layer, .. } = *layer;
    let moving = MoveProgram { shape, layer, rounds: rounds.clone() };
    (request.setup.chunk_rows, request.setup.program) = (1, Program::Moves(moving));
    let steps = u32::try_from(rounds.len()).expect("rounds are bounded by slots");
    let records = run_steps(runner, &request, steps).await?;
    let mut moved = Moved::default();
    let expert_bytes = shape.expert_weight_bytes();
    for (round, record) in rounds.iter().zip(&records) {
        check_moves(cluster, expert_bytes, round, record).map_err(RebalanceError::Wrong)?;
        let traffic = move_traffic(cluster, round, expert_bytes);
        moved.experts += round.len() as u64;
        moved.rounds += 1;
        moved.bytes += traffic.total();
        moved.inter_rack_bytes += traffic.class_bytes(cluster, LinkClass::ScaleOut);
        moved.time_us += slowest_us(record.reports(Phase::Dispatch));
    }
    Ok(Some(moved))
}

/// What the last steps asked for: loads, which experts went together, and from which rack.
fn demand(setup: &Setup, shape: &LayerShape, seen: &[Vec<Routing>]) -> Result<Demand, PlacementError> {
    let (experts, top_k) = (shape.num_experts as usize, shape.top_k);
    let mut by_rack = vec![vec![0; experts]; setup.cluster.num_racks() as usize];
    let (mut picks, mut racks) = (Vec::new(), Vec::new());
    for (rank, routing) in seen.iter().flat_map(|step| setup.cluster.ranks().zip(step)) {
        let rack = setup.cluster.rack_of(rank);
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

fn slowest_us(reports: &[PhaseReport]) -> f64 {
    PhaseReport::slowest(reports).as_micros_f64()
}

#[cfg(test)]
mod tests;
