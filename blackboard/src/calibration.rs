//! Calibration: parameters of kernels, whole layers and servers from measurements, how well the data determine them, and how far off they are on data left out.
//!
//! A kernel's mechanisms are those of [`topology::Kernel`]. Each column of times (an operation of a kernel, in one rack or over several) is
//! fitted by itself, by least squares of relative errors; a mechanism is taken in only where it explains much of what is left, so that
//! parameters stay few. Times are those of the mean port: what is measured is one rank's kernel or an average over ranks.

mod error;
mod fit;
mod held_out;
mod layer_fit;
mod measurements;
mod parameters;
mod profile;
mod repeats;
mod server_fit;
mod server_runs;
mod solve;

pub use self::error::CalibrationError;
pub use self::fit::{ColumnFit, Fit, fit};
pub use self::held_out::{HoldOut, held_out, refitted_on_halves};
pub use self::layer_fit::LayerFit;
pub use self::measurements::{MAX_MEASUREMENTS, Measurement, Op, parse_measurements};
pub use self::parameters::{Fitted, Parameter};
pub use self::profile::{data_hash, predict, profiled};
pub use self::repeats::{measured_once, served_once};
pub use self::server_fit::{
    ASSUMED as SERVERS_ASSUMED, ServerFit, check_served, errors_of_served, evaluate_served, fit_served,
    held_out_served, range_of_served,
};
pub use self::server_runs::{Served, is_server_runs, parse_served};

use crate::layer::MoeLayer;
use crate::scale_up::even_copies;
use crate::units::Tokens;
use moe::DispatchScheme;
use moe::gate::SelectionRule;
use std::collections::BTreeMap;
use topology::{Dtype, Hardware, KernelLoad};

/// How experts were picked where kernels were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Any k of E, at random.
    Uniform,
    /// So that each token's experts are on as many ranks as there can be, and all ranks get alike.
    Balanced,
}

/// What was measured, as far as a file's columns don't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Elements of a row.
    pub hidden: u32,
    /// Experts a token goes to.
    pub top_k: u32,
    /// Routed experts of the layer.
    pub experts: u32,
    /// Inner width of an expert, which whole layers are about.
    pub expert_inter: u32,
    /// Ranks of a node, which is a scale-up domain.
    pub ranks_per_node: u32,
    /// How copies travelled; `None`: by the columns.
    pub scheme: Option<DispatchScheme>,
    /// How experts were picked; `None`: by the columns.
    pub routing: Option<Routing>,
}

impl std::str::FromStr for Routing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        topology::named(text, &[("uniform", Self::Uniform), ("balanced", Self::Balanced)])
    }
}

impl Layer {
    /// What a port of the mean rank carries in `measured`.
    ///
    /// # Errors
    /// [`CalibrationError::Ranks`] for ranks that a group can't be of.
    pub fn load(&self, measured: &Measurement) -> Result<KernelLoad, CalibrationError> {
        let Measurement { racks, ranks, .. } = *measured;
        if ranks < 2 || racks == 0 || !ranks.is_multiple_of(racks) {
            return Err(CalibrationError::Ranks { at: measured.at.clone(), ranks, racks });
        }
        let in_rack = ranks / racks;
        let copies = match measured.routing {
            Routing::Uniform => {
                let rule = SelectionRule::plain(measured.experts, self.top_k);
                let copies = even_copies(measured.scheme, racks, in_rack, &rule)?;
                [copies.intra, copies.inter]
            }
            Routing::Balanced => {
                balanced(measured.scheme, f64::from(racks), f64::from(in_rack), f64::from(self.top_k))
            }
        };
        Ok(KernelLoad {
            ranks: f64::from(ranks),
            copies,
            tokens: f64::from(measured.tokens),
            row_bytes: measured.rows.bytes(self.hidden),
        })
    }

    /// What a whole layer is, as in `measured`.
    #[must_use]
    pub fn whole(&self, measured: &Measurement) -> MoeLayer {
        MoeLayer {
            hidden: self.hidden,
            expert_inter: self.expert_inter,
            experts: measured.experts,
            top_k: self.top_k,
            dtype: Dtype::Fp8,
            racks: measured.racks,
            ranks_per_rack: measured.ranks / measured.racks.max(1),
            scheme: measured.scheme,
        }
    }

    /// Refuses times that `nominal` can't have: rows faster than its ports, or a hundred times slower than any kernel.
    ///
    /// # Errors
    /// [`CalibrationError::Impossible`] with file, line and column.
    pub fn check(&self, measurements: &[Measurement], nominal: &Hardware) -> Result<(), CalibrationError> {
        let rates = [nominal.scale_up, nominal.scale_out].map(|rate| rate.bytes_per_s() as f64);
        for measured in measurements {
            let load = self.load(measured)?;
            if measured.op.is_layer() {
                self.check_layer(measured, nominal)?;
                continue;
            }
            let ports = [0, 1].map(|at| load.copies[at] * load.tokens * load.row_bytes * 1e6 / rates[at]);
            let least = if measured.op.is_counts() { 0.0 } else { ports[0].max(ports[1]) };
            let refuse = |problem| Err(CalibrationError::Impossible { at: measured.at.clone(), problem });
            if measured.us < least {
                return refuse(format!(
                    "{} us: the ports of {} need {least:.1} us for what a rank sends ({:.2} and {:.2} copies a token of {:.0} B); \
                     are times in us, and is this the scheme?",
                    measured.us, nominal.name, load.copies[0], load.copies[1], load.row_bytes,
                ));
            }
            let most = 2_000.0 + 100.0 * ports[0].max(ports[1]);
            if measured.us > most {
                return refuse(format!(
                    "{} us is more than a hundred times what ports need; times are in us: are these ns?",
                    measured.us
                ));
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Refuses a whole layer that is faster than its memory, arithmetic and ports, or a hundred times slower.
    fn check_layer(&self, measured: &Measurement, nominal: &Hardware) -> Result<(), CalibrationError> {
        let links = Hardware { kernels: None, ..nominal.clone() };
        let time = self.whole(measured).time(&links, Tokens(f64::from(measured.tokens)))?;
        let least = time.overlapped().as_micros();
        let refuse = |problem| Err(CalibrationError::Impossible { at: measured.at.clone(), problem });
        if measured.us < least {
            return refuse(format!(
                "{} us: {} needs {least:.1} us for {} tokens a rank of a layer of hidden {}, top-{}, expert width {} on {} ranks; are times \
                 in us, and is this the layer?",
                measured.us,
                nominal.name,
                measured.tokens,
                self.hidden,
                self.top_k,
                self.expert_inter,
                measured.ranks,
            ));
        }
        if measured.us > 2_000.0 + 100.0 * least {
            return refuse(format!(
                "{} us is more than a hundred times what {} needs; times are in us: are these ns?",
                measured.us, nominal.name
            ));
        }
        Ok(())
    }
}

/// Copies a token of picks that are spread over all ranks: [in the rack, to others].
fn balanced(scheme: DispatchScheme, racks: f64, in_rack: f64, top_k: f64) -> [f64; 2] {
    let n = racks * in_rack;
    let (ranks_hit, racks_hit) = (top_k.min(n), top_k.min(racks));
    match scheme {
        DispatchScheme::Flat => [top_k * (in_rack - 1.0) / n, top_k * (n - in_rack) / n],
        DispatchScheme::Dedup => [ranks_hit * (in_rack - 1.0) / n, ranks_hit * (n - in_rack) / n],
        DispatchScheme::Hierarchical => {
            [ranks_hit * (1.0 - 1.0 / in_rack), racks_hit * (racks - 1.0) / racks]
        }
    }
}

/// How far predictions are from what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Measurements.
    pub rows: usize,
    /// Median of `|predicted / measured - 1|`.
    pub median: f64,
    /// Their mean.
    pub mean: f64,
    /// Their 90th percentile.
    pub p90: f64,
    /// Their largest.
    pub max: f64,
    /// Mean of `predicted / measured - 1`: negative where predictions are short.
    pub bias: f64,
}

impl Errors {
    /// Of relative errors with their signs; `None` of none.
    #[must_use]
    pub fn of(errors: &[f64]) -> Option<Self> {
        let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let (rows, max) = (sizes.len(), *sizes.last()?);
        let median = (sizes[(rows - 1) / 2] + sizes[rows / 2]) / 2.0;
        Some(Self {
            rows,
            median,
            mean: sizes.iter().sum::<f64>() / rows as f64,
            p90: sizes[((rows * 9).div_ceil(10)).max(1) - 1],
            max,
            bias: errors.iter().sum::<f64>() / rows as f64,
        })
    }

    /// Median, mean and 90th percentile, as a profile's provenance has them.
    #[must_use]
    pub const fn as_array(&self) -> [f64; 3] {
        [self.median, self.mean, self.p90]
    }
}

/// A column of measurements: one operation of one kernel, in one rack or over so many.
pub fn column_of(measured: &Measurement) -> String {
    let Measurement { variant, op, racks, ranks, .. } = measured;
    let place = if *racks > 1 { format!("{racks} nodes") } else { format!("{ranks} ranks") };
    format!("{variant}{}{op}, {place}", if variant.is_empty() { "" } else { ": " })
}

/// The part of a table that a measurement is in by its batch: where start-ups decide, where neither does, where ports do.
#[must_use]
pub const fn regime_of(measured: &Measurement) -> &'static str {
    match measured.tokens {
        0..=16 => "up to 16 tokens",
        17..=256 => "17 to 256 tokens",
        _ => "more than 256 tokens",
    }
}

/// Errors by what `of` calls each measurement's group, in the order of these words.
pub fn errors_by<K: Ord>(
    measurements: &[Measurement],
    errors: &[f64],
    of: impl Fn(&Measurement) -> K,
) -> Vec<(K, Errors)> {
    let mut groups = BTreeMap::<K, Vec<f64>>::new();
    for (measured, error) in measurements.iter().zip(errors) {
        groups.entry(of(measured)).or_default().push(*error);
    }
    groups.into_iter().filter_map(|(key, errors)| Some((key, Errors::of(&errors)?))).collect()
}

/// `predicted / measured - 1` of every measurement by the profile `hardware`.
///
/// # Errors
/// As [`predict`].
pub fn evaluate(
    measurements: &[Measurement],
    layer: &Layer,
    hardware: &Hardware,
) -> Result<Vec<f64>, CalibrationError> {
    measurements.iter().map(|measured| Ok(predict(measured, layer, hardware)? / measured.us - 1.0)).collect()
}

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
