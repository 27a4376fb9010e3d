//! Rebalancing as a subject of experiments: a layer whose placement follows its load while it runs, beside the same layer with its first
//! placement kept.

use crate::experiment::{Column, Failed, Fault, Note, Record, Resolved, Work};
use crate::layer::{BackendKind, CompareSpec, Configuration, Verification, estimate, outline, request};
use crate::rebalance::{Moved, Phase, RebalanceError, Rebalancing, Segment, check_phases, rebalance};
use coordinator::STEPS_MAX;
use coordinator::SimRunner;
use coordinator::sim::at_once;
use moe::placement::{Demand, POLICIES};
use moe::{Placement, PlacementError};
use serde::Serialize;
use topology::Cluster;

/// The numbers of a rebalancing's records.
pub const COLUMNS: [Column; 16] = [
    Column::shown("total_ms", "steps and moves", "ms"),
    Column::shown("steps_ms", "steps", "ms"),
    Column::shown("moves_ms", "weight moves", "ms"),
    Column::shown("over_kept", "over keeping", ""),
    Column::shown("balancedness", "balancedness", ""),
    Column::shown("pays_after_steps", "pays after", "steps"),
    Column::shown("lost_ms", "lost to deaths", "ms"),
    Column::shown("ranks_least", "fewest ranks", ""),
    Column::kept("deaths", "ranks that died in the middle of a step", ""),
    Column::kept("read_again_experts", "experts without a copy, read again", ""),
    Column::kept("gain_us", "gain of a step", "us"),
    Column::kept("mean_step_us", "mean step", "us"),
    Column::kept("rebalancings", "rebalancings with moves", ""),
    Column::kept("moved_experts", "experts moved", ""),
    Column::kept("moved_gb", "weights moved", "GB"),
    Column::kept("moved_between_racks_gb", "weights moved between racks", "GB"),
];

/// Words for the settings that a layer doesn't have.
pub const WORDS: [Column; 5] = [
    Column::kept("steps", "steps", ""),
    Column::kept("interval", "steps between rebalancings", ""),
    Column::kept("window", "steps whose load counts", ""),
    Column::kept("alive", "ranks alive, phase by phase", ""),
    Column::kept("detect_ms", "time until a death is noticed", "ms"),
];

/// When a layer is rebalanced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Steps in all.
    pub steps: u32,
    /// Steps from one rebalancing to the next; `None` to keep the first placement.
    pub interval: Option<u32>,
    /// Steps before a rebalancing whose loads count.
    pub window: u32,
    /// Who takes part when; without phases all do.
    pub alive: Vec<Phase>,
    /// Milliseconds from the death of a rank until the others know, in which nothing is done.
    pub detect_ms: u32,
}

/// A point of the one configuration that `spec` names, rebalanced by its placement policy as `schedule` says.
///
/// # Errors
/// [`Fault`] for a policy that doesn't look at loads, and for what can't be run at all.
pub fn resolved<'a>(spec: CompareSpec, schedule: Schedule, command: String) -> Result<Resolved<'a>, Fault> {
    let Schedule { steps, interval, window, .. } = schedule;
    if !spec.placement.is_for_demand() {
        let known: Vec<&str> =
            POLICIES.iter().filter(|policy| policy.is_for_demand()).map(|policy| policy.name()).collect();
        let problem = format!(
            "{} is the same for every load; give {} or exec:COMMAND",
            spec.placement.name(),
            known.join(", ")
        );
        return Err(Fault::of("placement", problem));
    }
    if spec.backends != [BackendKind::Sim] {
        return Err("rebalancing is simulated; leave backend out, or give sim".to_owned().into());
    }
    for (key, number) in [("steps", Some(steps)), ("interval", interval), ("window", Some(window))] {
        if let Some(number) = number.filter(|number| !(1..=STEPS_MAX).contains(number)) {
            return Err(Fault::of(key, format!("{number}: give 1 to {STEPS_MAX}")));
        }
    }
    let rows = outline(&spec, false).map_err(|error| error.to_string())?;
    check_alive(&spec, &rows[0].cluster, &schedule)?;
    let (ranks, tokens) =
        (rows[0].cluster.num_ranks(), u64::from(spec.tokens) * u64::from(rows[0].cluster.num_ranks()));
    // What is kept of every step, twice: digests; and routings of the window, once as they come and once as a demand.
    let kept = tokens * (16 * u64::from(steps) + 16 * u64::from(spec.shape.top_k) * u64::from(window));
    // Every rank sends an expert at a time and takes one in.
    let moving = if spec.payload { 2 * u64::from(ranks) * spec.shape.expert_weight_bytes() } else { 0 };
    let bare = CompareSpec { memory_limit_bytes: None, notes: Vec::new(), ..spec.clone() };
    let mut identity =
        serde_json::to_vec(&(&bare, steps, interval, window)).map_err(|error| error.to_string())?;
    if !schedule.alive.is_empty() {
        identity.extend(format!("{:?} {}", schedule.alive, schedule.detect_ms).bytes());
    }
    Ok(Resolved {
        backends: spec.backends.clone(),
        identity,
        memory_bytes: estimate(&spec, &rows, false).bytes + kept + moving,
        ranks,
        command,
        work: Box::new(Layer { spec, row: rows[0].clone(), schedule }),
    })
}

/// Whether ranks can come and go as asked. A policy that is a program is not asked before it must be.
fn check_alive(spec: &CompareSpec, cluster: &Cluster, schedule: &Schedule) -> Result<(), Fault> {
    let Schedule { steps, interval, alive, .. } = schedule;
    let wrong = |problem| Fault::of("alive", problem);
    let even = Demand::even(cluster, spec.shape.num_experts);
    let anew = interval.is_some() && !alive.is_empty() && !spec.placement.asks();
    let policy = spec.placement.policy().map_err(|error| Fault::of("placement", error.to_string()))?;
    let first = anew.then(|| Placement::by(policy, cluster, spec.slots, &even)).transpose();
    let first = first.map_err(|error| Fault::of("placement", error.to_string()))?;
    check_phases(cluster, alive, *steps, first.as_ref().map(|first| (policy, first))).map_err(wrong)
}

/// A layer that is rebalanced.
#[derive(Debug)]
struct Layer {
    spec: CompareSpec,
    /// Its experts are somewhere.
    row: Configuration,
    schedule: Schedule,
}

impl Work for Layer {
    fn run(&self, note: Note<'_>) -> Result<Vec<Record>, Failed> {
        let Schedule { interval, alive, detect_ms, .. } = &self.schedule;
        let kept = self.segments(None, &[])?;
        let segments = if interval.is_some() || !alive.is_empty() {
            note("the first placement kept by all ranks; now what is asked for");
            self.segments(*interval, alive)?
        } else {
            kept.clone()
        };
        let verification = if self.spec.payload { Verification::Outputs } else { Verification::Traffic };
        let numbers = Numbers::of(&segments, &kept, *detect_ms);
        let record = Record::sound(BackendKind::Sim, verification, &numbers)?;
        Ok(vec![record.with_trust(&self.spec.trust(false))?])
    }
}

impl Layer {
    /// The run with a new placement every `interval` steps, of the ranks that are `alive`. Nothing is known at first: every expert is expected to be as hot as any other.
    fn segments(&self, interval: Option<u32>, alive: &[Phase]) -> Result<Vec<Segment>, Failed> {
        let (spec, cluster) = (&self.spec, &self.row.cluster);
        let usage = |error: PlacementError| Failed { usage: true, problem: error.to_string() };
        let policy = spec.placement.policy().map_err(|error| usage(error.into()))?;
        let even = Demand::even(cluster, spec.shape.num_experts);
        let placement = Placement::by(policy, cluster, spec.slots, &even).map_err(usage)?;
        let row = Configuration { placement, ..self.row.clone() };
        let request = request(spec, &row, spec.seeds[0], spec.latencies[0]);
        let Schedule { steps, window, .. } = self.schedule;
        let plan = Rebalancing { request, steps, interval, window, alive: alive.to_vec() };
        at_once(rebalance(&mut SimRunner::default(), &plan, policy)).map_err(|error| Failed {
            usage: !matches!(error, RebalanceError::Run(_) | RebalanceError::Wrong(_)),
            problem: error.to_string(),
        })
    }
}

/// What a run yields. Times are emulated; tokens wait while weights move.
#[derive(Debug, Serialize)]
struct Numbers {
    /// Steps and moves.
    total_ms: f64,
    steps_ms: f64,
    moves_ms: f64,
    /// Until deaths were noticed, and the steps in which they came, which are run again: as long as the one before each. `None` without a death.
    lost_ms: Option<f64>,
    /// Ranks that died.
    deaths: usize,
    /// The fewest ranks that took part; `None` where all did throughout.
    ranks_least: Option<usize>,
    /// Experts of which no copy was left.
    read_again_experts: u64,
    /// All its time over that with the first placement kept, by all ranks.
    over_kept: f64,
    /// Mean over largest load of the ranks, the mean over steps.
    balancedness: f64,
    /// Steps with the second placement until what they gain is what the first move took; `None` where they gain nothing.
    pays_after_steps: Option<f64>,
    /// Microseconds that a step with the second placement gains over the same step with the first; `None` without a move.
    gain_us: Option<f64>,
    mean_step_us: f64,
    /// How often weights moved.
    rebalancings: usize,
    moved_experts: u64,
    moved_gb: f64,
    moved_between_racks_gb: f64,
}

impl Numbers {
    fn of(segments: &[Segment], kept: &[Segment], detect_ms: u32) -> Self {
        let sum = |segments: &[Segment], of: &dyn Fn(&Segment) -> f64| segments.iter().map(of).sum::<f64>();
        let steps_us = |segments| sum(segments, &|segment| segment.layer_us.iter().sum());
        let moved = |of: &dyn Fn(Moved) -> f64| sum(segments, &|segment| segment.moved.map_or(0.0, of));
        let deaths = || segments.windows(2).filter(|pair| pair[1].after_death);
        let again_us = |pair: &[Segment]| pair[0].layer_us.last().copied().unwrap_or_default();
        let lost_us: Vec<f64> = deaths().map(|pair| f64::from(detect_ms) * 1e3 + again_us(pair)).collect();
        let ranks = |segment: &Segment| segment.ranks.len();
        let all = kept.first().map_or(0, ranks);
        let least = segments.iter().map(ranks).min().unwrap_or(all);
        let disturbed = segments.iter().any(|segment| ranks(segment) < all);
        let total_us = sum(segments, &Segment::time_us) + lost_us.iter().sum::<f64>();
        let steps = sum(segments, &|segment| segment.layer_us.len() as f64);
        let undisturbed = segments.iter().filter(|_| !disturbed);
        let first = undisturbed.into_iter().find_map(|segment| Some((segment, segment.moved?)));
        let gain = first.map(|(segment, moved)| {
            let before = (segment.first_step - segments[0].first_step) as usize;
            let same_steps = kept.iter().flat_map(|segment| &segment.layer_us).skip(before);
            let gained: f64 = same_steps.zip(&segment.layer_us).map(|(kept, own)| kept - own).sum();
            (gained / segment.layer_us.len() as f64, moved.time_us)
        });
        Self {
            total_ms: total_us / 1e3,
            steps_ms: steps_us(segments) / 1e3,
            moves_ms: moved(&|moved| moved.time_us) / 1e3,
            lost_ms: (!lost_us.is_empty()).then(|| lost_us.iter().sum::<f64>() / 1e3),
            deaths: deaths().map(|pair| ranks(&pair[0]) - ranks(&pair[1])).sum(),
            ranks_least: disturbed.then_some(least),
            read_again_experts: segments
                .iter()
                .filter_map(|segment| segment.moved)
                .map(|moved| moved.read_again)
                .sum(),
            over_kept: total_us / sum(kept, &Segment::time_us),
            balancedness: sum(segments, &|segment| segment.balancedness.iter().sum()) / steps,
            pays_after_steps: gain.filter(|(gain, _)| *gain > 0.0).map(|(gain, cost)| cost / gain),
            gain_us: gain.map(|(gain, _)| gain),
            mean_step_us: steps_us(segments) / steps,
            rebalancings: segments.iter().filter(|segment| segment.moved.is_some()).count(),
            moved_experts: segments
                .iter()
                .filter_map(|segment| segment.moved)
                .map(|moved| moved.experts)
                .sum(),
            moved_gb: moved(&|moved| moved.bytes as f64) / 1e9,
            moved_between_racks_gb: moved(&|moved| moved.inter_rack_bytes as f64) / 1e9,
        }
    }
}
