//! How slowly nodes on one machine must run a model so that it can follow.

use super::{SimSteps, StepsRequest};
use crate::compare::measure::{
    BYTES_PER_S, COMPUTE_HEADROOM, FRAMES_PER_S, GEMM_FLOPS, MODELLED_S_PER_ELEMENT, NETWORK_WALL_S_MIN,
    RATED_CORES,
};
use crate::run::RunError;
use moe::experts::ExpertKind;
use moe::stack::StepBatch;
use node::control::{Pacing, PhaseReport};
use node::wire::Phase;

/// A pace at which `cores` cores follow steps like `batch`, and how long their longest phase then takes, wall ns.
///
/// It is found by a simulated step without values; a gate is replaced by uniform routing for that.
///
/// # Errors
/// As a simulated step.
pub fn pace(request: &StepsRequest, batch: &StepBatch, cores: u32) -> Result<(Pacing, u64), RunError> {
    let mut light = request.clone();
    light.setup.payload = false;
    if light.setup.routing == moe::routing::RoutingSpec::Gate {
        light.setup.routing = moe::routing::RoutingSpec::Uniform;
    }
    let record = SimSteps::open(&light)?.step_blocking(batch)?;
    let (model, cores) = (&request.setup.stack.model, f64::from(cores.max(1)));
    let tokens = batch.tokens() as f64;
    let flops = 6.0 * f64::from(model.hidden) * f64::from(model.expert_inter.max(model.dense_inter));
    let rows = tokens * f64::from(model.top_k.max(1));
    let compute_s = match request.setup.experts {
        ExpertKind::Modelled => rows * f64::from(model.hidden) * MODELLED_S_PER_ELEMENT,
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
