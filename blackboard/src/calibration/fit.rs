//! The fit of a column: start-up and rate, and each further mechanism that pays for its parameters.

use super::layer_fit::{self, LayerFit, fit_layer, layer_us};
use super::parameters::{Fitted, Parameter};
use super::solve::{Solution, solve};
use super::{CalibrationError, Layer, Measurement, Op};
use std::collections::{BTreeMap, BTreeSet};
use topology::{Hardware, Kernel, KernelLoad, RowFormat};

/// What of which kernel: variant, operation, whether over several racks.
pub(super) type Key = (String, Op, bool);

/// One operation of one kernel, in one rack or over several.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFit {
    /// The kernel; parameters that weren't fitted are 0, rates nominal.
    pub kernel: Kernel,
    /// What was fitted.
    pub parameters: Vec<Fitted>,
    /// What a row was.
    pub rows: RowFormat,
    /// Multiprocessors that the kernel's rates are with, if measurements say.
    pub sms: Option<u32>,
    /// Measurements.
    pub measurements: usize,
}

/// Kernels as measurements have them.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    pub(super) columns: BTreeMap<Key, ColumnFit>,
    pub(super) layers: BTreeMap<String, LayerFit>,
}

impl Fit {
    /// Every column: variant, operation, whether over several racks.
    pub fn columns(&self) -> impl Iterator<Item = (&(String, Op, bool), &ColumnFit)> {
        self.columns.iter()
    }

    /// Whole layers by variant.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &LayerFit)> {
        self.layers.iter().map(|(variant, layer)| (variant.as_str(), layer))
    }

    /// Variants, in order.
    #[must_use]
    pub fn variants(&self) -> BTreeSet<&str> {
        self.columns
            .keys()
            .map(|(variant, _, _)| variant.as_str())
            .chain(self.layers.keys().map(String::as_str))
            .collect()
    }

    /// The time of `measured`, microseconds; `None` where its column wasn't fitted.
    ///
    /// # Errors
    /// As [`Layer::load`].
    pub fn predict(&self, measured: &Measurement, layer: &Layer) -> Result<Option<f64>, CalibrationError> {
        if measured.op.is_layer() {
            let found = self.layers.get(&measured.variant);
            return found.map(|found| layer_us(measured, layer, &found.hardware)).transpose();
        }
        let load = layer.load(measured)?;
        Ok(self
            .columns
            .get(&key(measured))
            .map(|column| time(&column.kernel, measured.op, &load, sms_share(measured.sms, column.sms))))
    }
}

pub(super) fn key(measured: &Measurement) -> Key {
    (measured.variant.clone(), measured.op, measured.racks > 1)
}

/// Multiprocessors of a measurement over those that a kernel's rates are with.
pub(super) fn sms_share(measured: Option<u32>, kernel: Option<u32>) -> f64 {
    match (measured, kernel) {
        (Some(measured), Some(kernel)) => f64::from(measured) / f64::from(kernel),
        _ => 1.0,
    }
}

pub(super) fn time(kernel: &Kernel, op: Op, load: &KernelLoad, sms_share: f64) -> f64 {
    let time = kernel.with_sms(sms_share).time(load);
    if op.is_counts() { time.counts } else { time.kernel() }
}

/// One measurement as a fit sees it.
struct Point {
    load: KernelLoad,
    sms_share: f64,
    us: f64,
}

/// Fewest measurements of a column that are fitted: a start, a rate, and one that tells how far off they are; of counts without a rate.
const fn least(op: Op) -> usize {
    if op.is_layer() {
        layer_fit::LEAST
    } else if op.is_counts() {
        2
    } else {
        3
    }
}

/// Fits every column of `measurements`.
///
/// # Errors
/// As [`Layer::load`]; [`CalibrationError::TooFew`] for a column that can't be fitted.
pub fn fit(measurements: &[Measurement], layer: &Layer, nominal: &Hardware) -> Result<Fit, CalibrationError> {
    let mut columns = BTreeMap::<Key, usize>::new();
    measurements.iter().for_each(|measured| *columns.entry(key(measured)).or_default() += 1);
    if let Some(((variant, op, over_racks), rows)) =
        columns.iter().find(|((_, op, _), rows)| **rows < least(*op))
    {
        let place = if *over_racks { "over several racks" } else { "in one rack" };
        let column = format!("{variant} {op}, {place}").trim_start().to_owned();
        return Err(CalibrationError::TooFew { column, rows: *rows, least: least(*op) });
    }
    fit_some(measurements, layer, nominal)
}

/// As [`fit`], without the columns that are too short.
///
/// # Errors
/// As [`Layer::load`].
pub(super) fn fit_some(
    measurements: &[Measurement],
    layer: &Layer,
    nominal: &Hardware,
) -> Result<Fit, CalibrationError> {
    let mut groups = BTreeMap::<Key, Vec<&Measurement>>::new();
    for measured in measurements {
        groups.entry(key(measured)).or_default().push(measured);
    }
    groups.retain(|(_, op, _), group| group.len() >= least(*op));
    let (mut columns, mut layers) = (BTreeMap::new(), BTreeMap::<String, LayerFit>::new());
    for (key, group) in groups.iter().filter(|((_, op, _), _)| op.is_layer()).rev() {
        // `unfused` comes before `fused` so.
        let unfused = layers.get(&key.0.replace("fused", "unfused"));
        let found = fit_layer(group, layer, nominal, unfused)?;
        layers.insert(key.0.clone(), found);
    }
    for (key, group) in groups.into_iter().filter(|((_, op, _), _)| !op.is_layer()) {
        let sms = group.iter().filter_map(|measured| measured.sms).min();
        let point = |measured: &&Measurement| {
            let load = layer.load(measured)?;
            Ok(Point { load, sms_share: sms_share(measured.sms, sms), us: measured.us })
        };
        let points = group.iter().map(point).collect::<Result<Vec<_>, CalibrationError>>()?;
        let (kernel, parameters) = fit_column(&points, key.1, sms.is_some(), nominal);
        let rows = group[0].rows;
        columns.insert(key, ColumnFit { kernel, parameters, rows, sms, measurements: points.len() });
    }
    Ok(Fit { columns, layers })
}

/// A kernel that costs nothing but the nominal ports.
pub(super) fn free_kernel(nominal: &Hardware) -> Kernel {
    Kernel {
        start_us: 0.0,
        copy_us: 0.0,
        floor_us: 0.0,
        fill_us: 0.0,
        fill_rows: 0.0,
        token_ns: 0.0,
        overlap: 0.0,
        counts_us: 0.0,
        counts_doubling_us: 0.0,
        counts_token_ns: 0.0,
        scale_up_bytes_per_s: nominal.scale_up.bytes_per_s() as f64,
        scale_out_bytes_per_s: nominal.scale_out.bytes_per_s() as f64,
    }
}

fn kernel_of(base: &Kernel, parameters: &[Parameter], at: &[f64]) -> Kernel {
    let mut kernel = *base;
    for (parameter, value) in parameters.iter().zip(at) {
        *parameter.of(&mut kernel) = value.exp();
    }
    kernel
}

/// Adds mechanisms one after the other, each time that which leaves the least, as long as the fit is worth its parameters: twice what the
/// Bayesian information criterion asks, `n ln(loss) + 2 p ln(n)`.
fn fit_column(points: &[Point], op: Op, by_sms: bool, nominal: &Hardware) -> (Kernel, Vec<Fitted>) {
    let base = free_kernel(nominal);
    let solved = |parameters: &[Parameter], start: &[f64]| {
        let bounds: Vec<(f64, f64)> = parameters
            .iter()
            .map(|parameter| {
                let (low, high) = parameter.bounds(nominal);
                (low.ln(), high.ln())
            })
            .collect();
        let errors = |at: &[f64]| {
            let kernel = kernel_of(&base, parameters, at);
            let error = |point: &Point| time(&kernel, op, &point.load, point.sms_share) / point.us - 1.0;
            points.iter().map(error).collect()
        };
        solve(start, &bounds, &errors)
    };
    let worth = |solution: &Solution| {
        let n = points.len() as f64;
        n * solution.loss.max(1e-12).ln() + 2.0 * solution.at.len() as f64 * n.ln()
    };
    let least = points.iter().map(|point| point.us).fold(f64::INFINITY, f64::min);
    let rate = deciding_rate(points, by_sms, nominal);
    let (mut parameters, start) = if op.is_counts() {
        (vec![Parameter::Counts], vec![least.ln()])
    } else {
        (vec![Parameter::Start, rate.0], vec![(0.9 * least).ln(), rate.1.ln()])
    };
    let mut best = solved(&parameters, &start);
    let mut candidates = candidates(points, op, rate.0);
    loop {
        let mut found: Option<(usize, Solution)> = None;
        for (at, added) in candidates.iter().enumerate() {
            for values in starts(added, points, least) {
                let all: Vec<Parameter> = parameters.iter().chain(added).copied().collect();
                if all.len() + 1 >= points.len() {
                    continue;
                }
                let start: Vec<f64> = best.at.iter().copied().chain(values.iter().map(|v| v.ln())).collect();
                let solution = solved(&all, &start);
                if found.as_ref().is_none_or(|(_, least)| worth(&solution) < worth(least)) {
                    found = Some((at, solution));
                }
            }
        }
        match found {
            Some((at, solution)) if worth(&solution) < worth(&best) => {
                parameters.extend(candidates.remove(at));
                best = solution;
            }
            _ => break,
        }
    }
    let fitted = |((parameter, value), deviation): ((&Parameter, &f64), &f64)| Fitted {
        key: parameter.key(),
        value: parameter.rounded(value.exp()),
        deviation: *deviation,
    };
    let fitted: Vec<Fitted> = parameters.iter().zip(&best.at).zip(&best.deviations).map(fitted).collect();
    let mut kernel = base;
    for (parameter, one) in parameters.iter().zip(&fitted) {
        *parameter.of(&mut kernel) = one.value;
    }
    (kernel, fitted)
}

/// The rate that the largest load tells about, and a first guess. Where multiprocessors are told they move what goes over scale-up ports; else
/// it is that of the port that is slower by nominal rates.
fn deciding_rate(points: &[Point], by_sms: bool, nominal: &Hardware) -> (Parameter, f64) {
    let rates = [nominal.scale_up, nominal.scale_out].map(|rate| rate.bytes_per_s() as f64);
    let Some(largest) = points.iter().max_by(|a, b| a.us.total_cmp(&b.us)) else {
        return (Parameter::ScaleUp, rates[0]);
    };
    let ports = [0, 1].map(|at| largest.load.copies[at] / rates[at]);
    let at = usize::from(ports[1] > ports[0] && !by_sms);
    let bytes = largest.load.copies[at] * largest.load.tokens * largest.load.row_bytes;
    ([Parameter::ScaleUp, Parameter::ScaleOut][at], bytes * 1e6 / largest.us)
}

/// Mechanisms that the measurements could tell about.
fn candidates(points: &[Point], op: Op, rate: Parameter) -> Vec<Vec<Parameter>> {
    let distinct = |of: &dyn Fn(&Point) -> f64| {
        points.iter().map(|point| of(point).to_bits()).collect::<BTreeSet<_>>().len()
    };
    let copies = |point: &Point| {
        let [up, out] = point.load.copies;
        if out > 0.0 { out } else { up }
    };
    let ratio = |point: &Point| point.load.copies[0] / point.load.copies[1].max(1e-9);
    let (tokens, layouts) = (distinct(&|point| point.load.tokens), distinct(&copies));
    let mut found = Vec::new();
    if op.is_counts() {
        if distinct(&|point| point.load.ranks) > 1 {
            found.push(vec![Parameter::CountsDoubling]);
        }
        if tokens > 2 {
            found.push(vec![Parameter::CountsToken]);
        }
        return found;
    }
    if layouts > 1 {
        found.push(vec![Parameter::Copy]);
    }
    if tokens > 3 {
        found.push(vec![Parameter::Floor]);
        found.push(vec![Parameter::Fill, Parameter::FillRows]);
    }
    if layouts > 2 {
        found.push(vec![Parameter::Token, Parameter::Overlap]);
    }
    if points.iter().all(|point| point.load.copies[1] > 0.0) && distinct(&ratio) > 1 {
        let other = if rate == Parameter::ScaleUp { Parameter::ScaleOut } else { Parameter::ScaleUp };
        found.push(vec![other]);
    }
    found
}

/// Where to begin, for each parameter that is added.
fn starts(added: &[Parameter], points: &[Point], least: f64) -> Vec<Vec<f64>> {
    let slowest = points.iter().map(|point| point.us * 1e3 / point.load.tokens).fold(f64::INFINITY, f64::min);
    match added {
        [Parameter::Fill, _] => [30.0, 1e3, 2e4].map(|rows| vec![0.3 * least, rows]).to_vec(),
        [Parameter::Token, _] => [(0.3, 2.0), (1.0, 2.0), (1.0, 8.0)]
            .map(|(share, overlap)| vec![share * slowest, overlap])
            .to_vec(),
        [Parameter::Floor] => vec![vec![least], vec![1.2 * least]],
        [Parameter::CountsToken] => vec![vec![1.0]],
        [Parameter::ScaleUp | Parameter::ScaleOut] => vec![vec![1e11], vec![3e10]],
        _ => vec![vec![0.1]],
    }
}
