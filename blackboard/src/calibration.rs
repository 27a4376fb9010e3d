//! Calibration: start-up times and link rates of a hardware profile from measured dispatch and combine times.
//!
//! A phase on one node is `max(f, a + x b / W)`: `a` the start-up (launch, packing, the path), `x` the rows of a port, `b`
//! their bytes, `W` the rate, and `f` the floor that waiting for every peer's counts takes beside the transfer. On several
//! nodes the same holds of the cards; scale-up and scale-out overlap, and with these kernels the cards decide.
//!
//! `x` is that of the *average rank's* port, as measured times are one rank's or averages over ranks: see [`Layer::rows`]. The closed
//! form ([`a2a_time_on`]: the mean port) then lies a little below the measurement and the last rank of a simulation above it.

mod error;
mod fit;
mod measurements;

pub use self::error::CalibrationError;
pub use self::fit::{Calibration, Choices, calibrate};
pub use self::measurements::{MAX_MEASUREMENTS, Measurement, Phase, parse_measurements};

use moe::{DispatchScheme, RowBytes};
use topology::A2aLinks;

use crate::scale_up::{a2a_time_on, uniform_copies};
use crate::units::Tokens;
use crate::{BlackboardError, CopiesPerToken};

/// What was measured: flat dispatch, one copy per (token, expert), experts drawn uniformly and spread evenly over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Elements of a row.
    pub hidden: u32,
    /// Experts a token goes to.
    pub top_k: u32,
    /// Routed experts of the layer.
    pub experts: u32,
    /// Ranks of a node, which is a scale-up domain.
    pub ranks_per_node: u32,
}

impl Layer {
    /// Copies of a token that leave their rank.
    fn copies(&self, nodes: u32) -> Result<CopiesPerToken, CalibrationError> {
        let ranks = nodes.saturating_mul(self.ranks_per_node);
        if ranks < 2 || !self.experts.is_multiple_of(ranks) {
            return Err(CalibrationError::Spread { nodes, ranks, experts: self.experts });
        }
        let by_rank = vec![self.experts / ranks; self.ranks_per_node as usize];
        Ok(uniform_copies(DispatchScheme::Flat, nodes, &by_rank, self.top_k, None)?)
    }

    /// Rows on the port that decides, scale-up on one node and scale-out on several: (of the mean port, of the average rank's
    /// fuller direction).
    ///
    /// Of a token's k experts, drawn without replacement from E, a share p lies behind the port: what a rank sends has the mean
    /// `T k p` and the variance `T k p (1-p) (E-k)/(E-1)`; what it receives is as much on average, from S ranks that each hit its
    /// share q of the experts, with variance `S T k q (1-q) (E-k)/(E-1)`. A rank is done when both are, and the larger of two
    /// independent normal variables of one mean lies `sqrt((v1 + v2) / 2 pi)` above it.
    ///
    /// # Errors
    /// [`CalibrationError::Spread`] if the experts don't spread evenly, or the layer's own numbers don't fit.
    pub fn rows(&self, nodes: u32, tokens: u32) -> Result<(f64, f64), CalibrationError> {
        let copies = self.copies(nodes)?;
        let (ranks, own) = (f64::from(nodes * self.ranks_per_node), f64::from(self.ranks_per_node));
        let (through, sources) =
            if nodes == 1 { (copies.intra, ranks - 1.0) } else { (copies.inter, ranks - own) };
        let (k, e, t) = (f64::from(self.top_k), f64::from(self.experts), f64::from(tokens));
        let without_replacement = (e - k) / (e - 1.0).max(1.0);
        let variance = |share: f64| t * k * share * (1.0 - share) * without_replacement;
        let both = variance(through / k) + sources * variance(1.0 / ranks);
        let mean = t * through;
        Ok((mean, mean + (both / std::f64::consts::TAU).sqrt()))
    }

    /// The closed form's time of `measurement` on `links`, microseconds.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn predict_us(&self, links: &A2aLinks, measurement: &Measurement) -> Result<f64, CalibrationError> {
        let copies = self.copies(measurement.nodes)?;
        let (tokens, bytes) = (Tokens(f64::from(measurement.tokens)), RowBytes::new(self.hidden));
        let time = a2a_time_on(DispatchScheme::Flat, copies, tokens, bytes, links);
        Ok(match measurement.phase {
            Phase::Dispatch => time.dispatch.as_micros(),
            Phase::Combine => time.combine.as_micros(),
        })
    }
}

impl From<BlackboardError> for CalibrationError {
    fn from(error: BlackboardError) -> Self {
        Self::Layer(error)
    }
}

/// How far predictions are from what was measured in one column: a phase on so many nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnError {
    /// Dispatch or combine.
    pub phase: Phase,
    /// Nodes (racks) that ranks were spread over.
    pub nodes: u32,
    /// Measurements in the column.
    pub rows: u32,
    /// Mean of `|predicted / measured - 1|`.
    pub mean: f64,
    /// The largest of them.
    pub max: f64,
    /// Mean of `predicted / measured - 1`: negative where predictions are short.
    pub bias: f64,
}

/// Errors by column, by nodes and then phase; `predicted_us` has one time a measurement.
pub fn column_errors(measurements: &[Measurement], predicted_us: &[f64]) -> Vec<ColumnError> {
    let mut columns = std::collections::BTreeMap::<(u32, Phase), Vec<f64>>::new();
    for (measured, predicted) in measurements.iter().zip(predicted_us) {
        columns.entry((measured.nodes, measured.phase)).or_default().push(predicted / measured.us - 1.0);
    }
    let error = |((nodes, phase), errors): ((u32, Phase), Vec<f64>)| {
        let rows = errors.len() as f64;
        ColumnError {
            phase,
            nodes,
            rows: errors.len() as u32,
            mean: errors.iter().map(|error| error.abs()).sum::<f64>() / rows,
            max: errors.iter().map(|error| error.abs()).fold(0.0, f64::max),
            bias: errors.iter().sum::<f64>() / rows,
        }
    };
    columns.into_iter().map(error).collect()
}

#[cfg(test)]
mod tests;
