//! How slowly nodes on one machine must run a model so that it can follow, and what machines were measured to follow.

use crate::error::RunError;
use crate::run::RunRequest;
use crate::sim::SimRunner;
use moe::LayerShape;
use moe::experts::ExpertKind;
use moe::model::{Block, Layer};
use moe::stack::StepBatch;
use node::control::{Pacing, PhaseReport};
use node::setup::Setup;
use node::wire::Phase;

/// Payload bytes that 16 processes on 2 cores move in a second with room to spare (they reach twice that).
pub const BYTES_PER_S: f64 = 500e6;
/// Frames that they handle in a second, at 100 to 150 us of CPU each end to end.
pub const FRAMES_PER_S: f64 = 7_000.0;
/// Cores behind these rates.
pub const RATED_CORES: f64 = 2.0;
/// Shortest wall time of a communication phase: timers and schedulers then stay within a few percent of it.
pub const NETWORK_WALL_S_MIN: f64 = 0.040;
/// Charged compute over the CPU time it really takes.
pub const COMPUTE_HEADROOM: f64 = 3.0;
/// CPU time of a modelled expert for one element of one row, with its share of quantisation and sums.
pub const MODELLED_S_PER_ELEMENT: f64 = 3e-9;
/// FLOP/s of real experts on one core with AVX2 or better, small products included (a multiply and an add are two).
pub const GEMM_FLOPS: f64 = 32e9;

/// Where the ranks of a quic run live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Cores that they share.
    pub cores: u32,
    /// True if they are tasks of one process, each of which then reports the CPU time of all.
    pub one_process: bool,
    /// How many times slower rows are paced than on this machine's loopback.
    pub pace: u64,
    /// What it carries.
    pub figures: Figures,
}

/// What a host carries without throttle, all ranks at once: as it was measured, or as it is assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Payload bytes that all ranks together move in a second, in frames of 57 KB.
    pub bytes_per_s: u64,
    /// Frames that they handle in a second, if these are small.
    pub frames_per_s: u64,
    /// Payload bytes that leave and reach one rank of two in a second while all cores are theirs, each way.
    pub rank_bytes_per_s: u64,
    /// p99 of how late a timer wakes a rank while little moves, wall ns.
    pub wake_ns: u64,
    /// CPU time of a modelled expert for one element of one row, femtoseconds.
    pub element_fs: u64,
    /// When this was measured, seconds since 1970; `None` if it is assumed.
    pub measured_unix_s: Option<u64>,
}

/// What a host carries over what a row may ask of it: half of it is left to all else that it does, and CPU use stays below its limit.
pub const CARRIED_HEADROOM: f64 = 2.0;

impl Figures {
    /// A host of which nothing is known: with [`CARRIED_HEADROOM`] it is asked for [`BYTES_PER_S`] and [`FRAMES_PER_S`] at most.
    pub const ASSUMED: Self = Self {
        bytes_per_s: (BYTES_PER_S * CARRIED_HEADROOM) as u64,
        frames_per_s: (FRAMES_PER_S * CARRIED_HEADROOM) as u64,
        rank_bytes_per_s: u64::MAX,
        wake_ns: 600_000,
        element_fs: (MODELLED_S_PER_ELEMENT * 1e15) as u64,
        measured_unix_s: None,
    };

    /// Whether they were measured.
    #[must_use]
    pub const fn are_measured(&self) -> bool {
        self.measured_unix_s.is_some()
    }
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn this(one_process: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            one_process,
            pace: 1,
            figures: Figures::ASSUMED,
        }
    }

    /// Nodes of a cluster that may reach each other through a bridge: a container's datagram takes more CPU time
    /// than one on loopback, and comes later.
    #[must_use]
    pub fn bridged() -> Self {
        Self { pace: 2, ..Self::this(false) }
    }
}

/// A pace at which `cores` cores follow steps like `batch`, and how long their longest phase then takes, wall ns.
///
/// It is found by a simulated step without values; a gate is replaced by uniform routing for that.
///
/// # Errors
/// As a simulated step.
pub fn pace(setup: &Setup, batch: &StepBatch, cores: u32) -> Result<(Pacing, u64), RunError> {
    let mut light = setup.clone();
    light.payload = false;
    if light.routing == moe::routing::RoutingSpec::Gate {
        light.routing = moe::routing::RoutingSpec::Uniform;
    }
    let mut sim = SimRunner::default();
    sim.open_blocking(&RunRequest::new(light))?;
    let record = sim.step_blocking(batch)?;
    let cores = f64::from(cores.max(1));
    let tokens = batch.tokens() as f64;
    let shape = setup.program.shape();
    let dense_inter = setup.program.stack().map_or(0, |stack| {
        stack.model.kinds.iter().flat_map(Layer::dense).map(Block::common_inter).max().unwrap_or(0)
    });
    let flops = LayerShape { expert_inter: shape.expert_inter.max(dense_inter), ..shape }.expert_flops(1);
    let rows = tokens * f64::from(shape.top_k.max(1));
    let compute_s = match setup.experts {
        ExpertKind::Modelled => rows * f64::from(shape.hidden) * MODELLED_S_PER_ELEMENT,
        ExpertKind::Gemm => rows * flops / GEMM_FLOPS,
    } / cores;
    let (mut network, mut compute, mut longest) = (1.0_f64, 1.0_f64, 0.0_f64);
    for (stop, reports) in &record.phases {
        let emulated_ns = PhaseReport::slowest(reports).0 as f64 / 1e3;
        if emulated_ns <= 0.0 {
            continue;
        }
        let total = |count: fn(&PhaseReport) -> u64| reports.iter().map(count).sum::<u64>() as f64 / cores;
        let bytes = total(|report| report.sent_bytes.iter().map(|(_, bytes)| bytes).sum());
        let frames = total(|report| report.frames);
        match stop.phase {
            Phase::Local | Phase::Expert => {
                compute = compute.max(compute_s * COMPUTE_HEADROOM * 1e9 / emulated_ns);
            }
            Phase::Dispatch | Phase::Combine | Phase::Hop => {
                let wall_s = (bytes / BYTES_PER_S).max(frames / FRAMES_PER_S) * RATED_CORES;
                network = network.max(wall_s * 1e9 / emulated_ns);
            }
        }
        longest = longest.max(emulated_ns);
    }
    network = network.max(NETWORK_WALL_S_MIN * 1e9 / longest.max(1.0));
    let pacing = Pacing {
        network_dilation: network.ceil() as u64,
        compute_dilation: compute.ceil() as u64,
        ..Pacing::default()
    };
    Ok((pacing, (longest * network.max(compute).ceil()) as u64))
}
