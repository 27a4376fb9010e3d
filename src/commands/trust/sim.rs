//! Published measurements on the simulator: the same copies, on nominal ports or on those that the kernel's profile makes of them.

use super::SIM_ROWS_MAX;
use ::coordinator::{RunRequest, SimRunner};
use blackboard::calibration::{Measurement, Op, Routing};
use blackboard::published::Series;
use moe::placement::Placement;
use moe::routing::RecordedRows;
use moe::{DispatchScheme, Model, RoutingSpec, RowBytes};
use node::program::{LayerProgram, Program};
use node::setup::Setup;
use node::wire::Phase;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use study::layer::chunk_rows;
use topology::{A2aLinks, Cluster, Hardware};

/// Racks, ranks, experts, tokens, multiprocessors.
type Shape = (u32, u32, u32, u32, Option<u32>);

/// Times of one series' runs, each simulated once for all phases: by shape, of nominal ports and of the profile, dispatch, combine and experts.
#[derive(Default)]
pub(super) struct Simulated {
    times: BTreeMap<Shape, [Option<[f64; 3]>; 2]>,
}

impl Simulated {
    /// Mean over ranks of when each is done; none where there is no profile, or rows are too many.
    pub(super) fn of(&mut self, series: &Series, measured: &Measurement) -> anyhow::Result<[Option<f64>; 2]> {
        let Measurement { racks, ranks, experts, tokens, sms, .. } = *measured;
        if u64::from(ranks) * u64::from(tokens) * u64::from(series.layer().top_k) > SIM_ROWS_MAX
            || !experts.is_multiple_of(ranks)
        {
            return Ok([None, None]);
        }
        let shape = (racks, ranks, experts, tokens, sms);
        let profile = series.profile.map(Hardware::preset).transpose()?;
        let times = match self.times.entry(shape) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let nominal = Hardware::preset(series.chip)?;
                let profiled =
                    profile.as_ref().map(|profile| simulate(series, measured, profile)).transpose()?;
                *place.insert([Some(simulate(series, measured, &nominal)?), profiled])
            }
        };
        let of = |[dispatch, combine, experts]: [f64; 3], hardware: Option<&Hardware>| match measured.op {
            Op::Combine | Op::CombineCounts => combine,
            Op::Dispatch | Op::DispatchCounts => dispatch,
            Op::Layer | Op::FusedLayer => match hardware {
                Some(hardware) => hardware.layer_time(dispatch + combine, experts),
                None if measured.op == Op::Layer => dispatch + experts + combine,
                None => experts.max(dispatch + combine),
            },
        };
        let [nominal, profiled] = times;
        Ok([nominal.map(|times| of(times, None)), profiled.map(|times| of(times, profile.as_ref()))])
    }
}

/// Dispatch, combine and experts of a measurement's shape on `hardware`, microseconds.
fn simulate(series: &Series, measured: &Measurement, hardware: &Hardware) -> anyhow::Result<[f64; 3]> {
    let layer = series.layer();
    let mut shape = Model::preset("deepseek-v3")?.layer();
    (shape.hidden, shape.num_experts, shape.top_k) = (layer.hidden, measured.experts, layer.top_k);
    shape.expert_inter = layer.expert_inter;
    shape.gate = shape.gate.unlimited();
    let cluster = Cluster::uniform(measured.racks, measured.ranks / measured.racks)?;
    let placement = Placement::linear(&cluster, measured.experts)?;
    let tokens = vec![measured.tokens; cluster.num_ranks() as usize];
    let program = Program::Layer(LayerProgram::new(shape, placement, tokens));
    let routing = match measured.routing {
        Routing::Uniform => RoutingSpec::Uniform,
        Routing::Balanced => RoutingSpec::Rows(balanced(measured.ranks, measured.experts, layer.top_k)),
    };
    let load = layer.load(measured)?;
    let wire = RowBytes::new(layer.hidden);
    let fabric = hardware.fabric();
    let links = hardware.kernels.as_ref().map(|kernels| {
        let share = measured.sms.zip(kernels.sms).map_or(1.0, |(own, all)| f64::from(own) / f64::from(all));
        // What was measured is the kernels, not the exchange of counts before them.
        let kernels = kernels.clone().map(|kernel| kernel.with_sms(share).without_counts());
        let forwards = measured.scheme == DispatchScheme::Hierarchical;
        kernels.links(measured.racks, &load, layer.hidden, [wire.dispatch, wire.combine], &fabric, forwards)
    });
    let links = match links {
        Some(links) => links,
        None => nominal(series, measured, hardware, wire),
    };
    let setup = Setup {
        scheme: measured.scheme,
        routing,
        seed: 1,
        chunk_rows: chunk_rows(measured.tokens),
        payload: false,
        kernels: Some(links),
        ..Setup::new(cluster, hardware.clone(), program)
    };
    let step = SimRunner::run_blocking(&RunRequest::new(setup), 1)?.remove(0);
    Ok([Phase::Dispatch, Phase::Combine, Phase::Expert].map(|phase| {
        let reports = step.reports(phase);
        reports.iter().map(|report| report.measured.as_micros_f64()).sum::<f64>() / reports.len() as f64
    }))
}

/// Nominal ports on which a row of the wire takes as long as one of the measured format.
fn nominal(series: &Series, measured: &Measurement, hardware: &Hardware, wire: RowBytes) -> A2aLinks {
    let mut links = A2aLinks::nominal(hardware.fabric());
    let hidden = series.layer().hidden;
    let (phase, bytes) = match measured.op {
        Op::Dispatch | Op::DispatchCounts => (&mut links.dispatch, wire.dispatch),
        Op::Combine | Op::CombineCounts => (&mut links.combine, wire.combine),
        Op::Layer | Op::FusedLayer => return links,
    };
    let scale = bytes as f64 / measured.rows.bytes(hidden);
    for link in [&mut phase.fabric.scale_up, &mut phase.fabric.scale_out] {
        let rate = topology::Rate::new((link.rate.bytes_per_s() as f64 * scale) as u64);
        link.rate = rate.unwrap_or(link.rate);
    }
    links
}

/// Picks of a token on as many ranks as there can be, all ranks alike: row j begins where row j - 1 ended.
fn balanced(ranks: u32, experts: u32, top_k: u32) -> RecordedRows {
    let own = experts / ranks;
    let pick = |at: u32| {
        let (rank, round) = (at % ranks, at / ranks);
        rank * own + round % own
    };
    let idx: Vec<u32> = (0..experts).flat_map(|row| (0..top_k).map(move |i| pick(row * top_k + i))).collect();
    let weights = vec![1.0 / top_k as f32; idx.len()];
    RecordedRows { top_k, idx, weights }
}
