//! The fit of whole layers: efficiency of memory and products, start, empty rows of tiles, and what a fused kernel doesn't hide.

use super::parameters::Fitted;
use super::solve::{Solution, solve};
use super::{CalibrationError, Layer, Measurement, Op};
use crate::units::Tokens;
use topology::{Hardware, Kernel, KernelProfile, LayerOverlap, LayerProfile, Provenance};

/// A layer's way of running as measurements have it.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerFit {
    /// The nominal hardware with this layer; its provenance is empty.
    pub hardware: Hardware,
    /// What was fitted.
    pub parameters: Vec<Fitted>,
    /// Measurements.
    pub measurements: usize,
}

/// Fewest measurements of a layer's way of running that are fitted.
pub(super) const LEAST: usize = 4;

/// One number of a [`LayerProfile`] that can be fitted: key, first guess, least and most.
type Parameter = (&'static str, f64, [f64; 2]);

const MEMORY: Parameter = ("memory_efficiency", 0.7, [0.05, 1.0]);
const GEMM: Parameter = ("gemm_efficiency", 0.5, [0.05, 1.0]);
const START: Parameter = ("start_us", 40.0, [0.5, 1e3]);
const EMPTY: Parameter = ("empty_rows", 32.0, [0.5, 1e3]);
const LOSS: Parameter = ("overlap_loss", 0.2, [1e-3, 1.0]);

/// A way to overlap for which no column of measurements is.
const TWO_BATCHES: &str = "layer: what two half batches lose that take turns on arithmetic and network (`parallel.overlap = \"two_batch\"`); \
                           no layer was measured so";

fn put(profile: &mut LayerProfile, key: &str, value: f64) {
    *match key {
        "memory_efficiency" => &mut profile.memory_efficiency,
        "gemm_efficiency" => &mut profile.gemm_efficiency,
        "start_us" => &mut profile.start_us,
        "empty_rows" => &mut profile.empty_rows,
        _ => &mut profile.overlap_loss,
    } = value;
}

/// `nominal` with a layer of which nothing is known. A fused kernel has no launches of its own for dispatch and combine.
fn unknown(nominal: &Hardware, fused: bool) -> Hardware {
    let none = Provenance {
        source: String::new(),
        date: String::new(),
        data_hash: String::new(),
        assumed: String::new(),
        undetermined: Vec::new(),
        fitted: [0.0; 3],
        held_out: [0.0; 3],
        held_out_by: String::new(),
        measured: None,
    };
    let profile = LayerProfile {
        memory_efficiency: 1.0,
        gemm_efficiency: 1.0,
        empty_rows: 0.0,
        start_us: 0.0,
        overlap: if fused { LayerOverlap::Fused } else { LayerOverlap::None },
        overlap_loss: 0.0,
        provenance: none,
    };
    let bare = |kernels: &KernelProfile| {
        if fused { kernels.clone().map(Kernel::without_start_up) } else { kernels.clone() }
    };
    Hardware { layer: Some(profile), kernels: nominal.kernels.as_ref().map(bare), ..nominal.clone() }
}

/// The time of a whole layer on `hardware`, microseconds.
///
/// # Errors
/// As [`MoeLayer::time`](crate::layer::MoeLayer::time).
pub(super) fn layer_us(
    measured: &Measurement,
    layer: &Layer,
    hardware: &Hardware,
) -> Result<f64, CalibrationError> {
    let time = layer.whole(measured).time(hardware, Tokens(f64::from(measured.tokens)))?;
    Ok(hardware.layer_time((time.dispatch + time.combine).as_micros(), time.experts.as_micros()))
}

/// Fits one way of running; of a fused kernel with the products of `unfused`, where it was measured too.
///
/// Efficiencies and the start come first, then what is worth twice what the Bayesian information criterion asks for a parameter. Of a fused
/// kernel arithmetic decides, behind which the rest hides: with products of its own, what it doesn't hide couldn't be told from their efficiency.
///
/// # Errors
/// As [`MoeLayer::time`](crate::layer::MoeLayer::time).
pub(super) fn fit_layer(
    group: &[&Measurement],
    layer: &Layer,
    nominal: &Hardware,
    unfused: Option<&LayerFit>,
) -> Result<LayerFit, CalibrationError> {
    let fused = group.iter().any(|measured| measured.op == Op::FusedLayer);
    let mut base = unknown(nominal, fused);
    let known = unfused.filter(|_| fused).and_then(|fit| fit.hardware.layer.as_ref());
    if let (Some(known), Some(own)) = (known, &mut base.layer) {
        (own.memory_efficiency, own.gemm_efficiency) = (known.memory_efficiency, known.gemm_efficiency);
    }
    let (mut parameters, mut candidates) = match (fused, known) {
        (false, _) => (vec![MEMORY, GEMM, START], vec![EMPTY]),
        (true, Some(_)) => (vec![START, LOSS], vec![EMPTY]),
        (true, None) => (vec![GEMM, START], vec![EMPTY, MEMORY]),
    };
    let with = |parameters: &[Parameter], at: &[f64]| {
        let mut hardware = base.clone();
        if let Some(profile) = &mut hardware.layer {
            parameters.iter().zip(at).for_each(|((key, ..), value)| put(profile, key, value.exp()));
        }
        hardware
    };
    // What can't be computed at all is refused before anything is fitted.
    for measured in group {
        layer_us(measured, layer, &base)?;
    }
    let solved = |parameters: &[Parameter], start: &[f64]| {
        let bounds: Vec<_> = parameters.iter().map(|(_, _, [low, high])| (low.ln(), high.ln())).collect();
        let errors = |at: &[f64]| {
            let hardware = with(parameters, at);
            let error = |measured: &&Measurement| {
                layer_us(measured, layer, &hardware).map_or(f64::MAX, |us| us / measured.us - 1.0)
            };
            group.iter().map(error).collect()
        };
        solve(start, &bounds, &errors)
    };
    let worth = |solution: &Solution| {
        let n = group.len() as f64;
        n * solution.loss.max(1e-12).ln() + 2.0 * solution.at.len() as f64 * n.ln()
    };
    let first: Vec<f64> = parameters.iter().map(|(_, guess, _)| guess.ln()).collect();
    let mut best = solved(&parameters, &first);
    while let Some(at) = (0..candidates.len()).next() {
        let added = candidates.remove(at);
        let all = [parameters.as_slice(), &[added]].concat();
        if all.len() + 1 >= group.len() {
            break;
        }
        let solution = solved(&all, &[best.at.as_slice(), &[added.1.ln()]].concat());
        if worth(&solution) < worth(&best) {
            (parameters, best) = (all, solution);
        }
    }
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    let fitted = parameters.iter().zip(best.at.iter().zip(&best.deviations));
    let fitted: Vec<Fitted> = fitted
        .map(|((key, ..), (at, deviation))| Fitted { key, value: rounded(at.exp()), deviation: *deviation })
        .collect();
    let mut hardware = base.clone();
    if let Some(profile) = &mut hardware.layer {
        fitted.iter().for_each(|one| put(profile, one.key, one.value));
    }
    Ok(LayerFit { hardware, parameters: fitted, measurements: group.len() })
}

impl LayerFit {
    /// What the data don't determine, and what it was left at.
    pub(super) fn undetermined(&self) -> Vec<String> {
        let Some(profile) = &self.hardware.layer else { return Vec::new() };
        let fitted = |key: &str| self.parameters.iter().any(|one| one.key == key);
        let fused = profile.overlap == LayerOverlap::Fused;
        let mut told: Vec<String> = self
            .parameters
            .iter()
            .filter(|one| !one.is_determined())
            .map(|one| match one.deviation.is_finite() {
                true => format!("layer: {}; within {:.0}% of it", one.key, one.deviation * 100.0),
                false => format!("layer: {}; nothing measured depends on it", one.key),
            })
            .collect();
        let all = ["memory_efficiency", "gemm_efficiency", "empty_rows", "overlap_loss"];
        let wanted = all.iter().filter(|key| fused || **key != "overlap_loss");
        for key in wanted.filter(|key| !fitted(key)) {
            told.push(match *key {
                "empty_rows" => "layer: empty_rows; 0, of a range from 0 to half a tile of 128".to_owned(),
                "overlap_loss" => "layer: overlap_loss; 0, arithmetic alone decides".to_owned(),
                _ => format!(
                    "layer: {key}; as the unfused products have it, nominal where they were not measured"
                ),
            });
        }
        told.push(TWO_BATCHES.to_owned());
        told.push(
            "kernels: not measured here; their fixed times can't be told from layer.start_us, whole layers have their sum"
                .to_owned(),
        );
        told
    }
}
