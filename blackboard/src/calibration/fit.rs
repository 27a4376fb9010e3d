//! The fit: lines of least relative squares, a floor where the data ask for one, one rate of the card for both phases.

use moe::RowBytes;
use topology::{Hardware, KernelProfile, LinkClass, Picos, Rate};

use super::{CalibrationError, Layer, Measurement, Phase};

/// A floor is kept if it decides at least so many measurements,
const FLOOR_ROWS_MIN: usize = 3;
/// and leaves at most this share of the line's squared error.
const FLOOR_ERROR_SHARE_MAX: f64 = 0.5;

/// Variants of the model; [`Default`] is the one that is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// Rows of the average rank's port instead of the mean port's.
    pub average_rank: bool,
    /// A floor of each phase.
    pub floors: bool,
    /// One rate of the card for both phases: the same card carries both.
    pub shared_card_rate: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { average_rank: true, floors: true, shared_card_rate: true }
    }
}

/// Start-ups and rates that explain measured times best.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The nominal hardware with fitted links.
    pub hardware: Hardware,
    /// Parameters that the data determined.
    pub parameters: u32,
    /// Links that stayed nominal: class and phase.
    pub nominal: Vec<(LinkClass, Phase)>,
}

/// One measurement as the fit sees it.
#[derive(Clone, Copy)]
struct Point {
    bytes: f64,
    us: f64,
}

/// Start-up in microseconds, microseconds a byte, floor in microseconds.
#[derive(Clone, Copy)]
struct Line {
    start: f64,
    slope: f64,
    floor: f64,
}

impl Line {
    fn squares(&self, points: &[Point]) -> f64 {
        let of = |point: &Point| self.floor.max(self.start + self.slope * point.bytes) / point.us - 1.0;
        points.iter().map(|point| of(point).powi(2)).sum()
    }
}

/// Fits start-ups and rates of `nominal`'s links to `measurements`, by least squares of relative errors: closed forms, and for
/// floors a search over the number of measurements that they decide. Links that nothing was measured on stay as they are.
///
/// # Errors
/// As [`Layer::rows`].
pub fn calibrate(
    measurements: &[Measurement],
    layer: &Layer,
    nominal: &Hardware,
    choices: Choices,
) -> Result<Calibration, CalibrationError> {
    let fabric = nominal.fabric();
    let mut links = [fabric, nominal.kernels.map_or(fabric, |kernels| kernels.combine)];
    let mut floors = [Picos::ZERO; 2];
    let (mut parameters, mut kept) = (0, Vec::new());
    for class in LinkClass::ALL {
        let one_node = class == LinkClass::ScaleUp;
        let mut points = [Vec::new(), Vec::new()];
        for measured in measurements.iter().filter(|measured| (measured.nodes == 1) == one_node) {
            let (mean, average) = layer.rows(measured.nodes, measured.tokens)?;
            let rows = if choices.average_rank { average } else { mean };
            let bytes = RowBytes::new(layer.hidden);
            let (at, row) = match measured.phase {
                Phase::Dispatch => (0, bytes.dispatch),
                Phase::Combine => (1, bytes.combine),
            };
            points[at].push(Point { bytes: rows * row as f64, us: measured.us });
        }
        for group in &mut points {
            group.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
        }
        let shared = if one_node || !choices.shared_card_rate {
            None
        } else {
            lines(&[points[0].as_slice(), points[1].as_slice()])
        };
        let mut rates = std::collections::BTreeSet::new();
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            let fitted = match &shared {
                Some(lines) => Some(lines[at]),
                None if choices.floors && one_node => with_floor(&points[at]),
                None => lines(&[points[at].as_slice()]).map(|lines| lines[0]),
            };
            let Some((line, link)) = fitted.and_then(|line| Some((line, spec(line)?))) else {
                kept.push((class, phase));
                continue;
            };
            match class {
                LinkClass::ScaleUp => links[at].scale_up = link,
                LinkClass::ScaleOut => links[at].scale_out = link,
            }
            parameters += 1 + u32::from(rates.insert(link.rate)) + u32::from(line.floor > 0.0);
            if line.floor > 0.0 {
                floors[at] = picos(line.floor).unwrap_or(Picos::ZERO);
            }
        }
    }
    let [dispatch, combine] = links;
    let hardware = Hardware {
        scale_up: dispatch.scale_up.rate,
        scale_out: dispatch.scale_out.rate,
        scale_up_latency: dispatch.scale_up.latency,
        scale_out_latency: dispatch.scale_out.latency,
        kernels: Some(KernelProfile { combine, dispatch_floor: floors[0], combine_floor: floors[1] }),
        ..nominal.clone()
    };
    Ok(Calibration { hardware, parameters, nominal: kept })
}

fn spec(line: Line) -> Option<topology::LinkSpec> {
    // To a megabyte per second: bytes per microsecond.
    let rate = Rate::new((1.0 / line.slope).round() as u64 * 1_000_000).ok()?;
    Some(topology::LinkSpec { rate, latency: picos(line.start)? })
}

fn picos(us: f64) -> Option<Picos> {
    // To a nanosecond: measured times have three digits.
    Picos::from_micros_f64((us * 1e3).round() / 1e3).ok()
}

/// Lines of one slope through all groups, each with its own start: `slope = Sxy / Sxx` about the groups' weighted means,
/// weights 1/us^2. `None` unless every group has two different loads, all starts are at least 0 and the slope is above it.
fn lines(groups: &[&[Point]]) -> Option<Vec<Line>> {
    let (mut sxx, mut sxy) = (0.0, 0.0);
    let mut means = Vec::with_capacity(groups.len());
    for group in groups {
        if !group.windows(2).any(|pair| pair[0].bytes < pair[1].bytes) {
            return None;
        }
        let weigh = |of: &dyn Fn(&Point) -> f64| group.iter().map(|p| of(p) / (p.us * p.us)).sum::<f64>();
        let weight = weigh(&|_| 1.0);
        let (x, y) = (weigh(&|p| p.bytes) / weight, weigh(&|p| p.us) / weight);
        sxx += weigh(&|p| (p.bytes - x).powi(2));
        sxy += weigh(&|p| (p.bytes - x) * (p.us - y));
        means.push((x, y));
    }
    let slope = sxy / sxx;
    let all: Vec<Line> =
        means.iter().map(|(x, y)| Line { start: y - slope * x, slope, floor: 0.0 }).collect();
    (slope > 0.0 && all.iter().all(|line| line.start >= 0.0)).then_some(all)
}

/// The line through `points` (ascending) and the floor under its first ones, if the data ask for one.
fn with_floor(points: &[Point]) -> Option<Line> {
    let plain = lines(&[points])?.first().copied();
    let mut best = plain?;
    let allowed = FLOOR_ERROR_SHARE_MAX * best.squares(points);
    let mut least = allowed;
    for under in FLOOR_ROWS_MIN..points.len().saturating_sub(1) {
        let (low, high) = points.split_at(under);
        let Some(line) = lines(&[high]).and_then(|lines| lines.first().copied()) else { continue };
        let weigh = |power: i32| low.iter().map(|point| point.us.powi(-power)).sum::<f64>();
        let candidate = Line { floor: weigh(1) / weigh(2), ..line };
        let squares = candidate.squares(points);
        if squares <= least {
            (best, least) = (candidate, squares);
        }
    }
    Some(best)
}
