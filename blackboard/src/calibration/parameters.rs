//! Parameters of a kernel: unit, bounds, where in a kernel each stands.

use topology::{Hardware, Kernel};

/// One number of a [`Kernel`] that can be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// `start_us`.
    Start,
    /// `copy_us`.
    Copy,
    /// `floor_us`.
    Floor,
    /// `fill_us`.
    Fill,
    /// `fill_rows`.
    FillRows,
    /// `token_ns`.
    Token,
    /// `overlap`.
    Overlap,
    /// `scale_up_bytes_per_s`.
    ScaleUp,
    /// `scale_out_bytes_per_s`.
    ScaleOut,
    /// `counts_us`.
    Counts,
    /// `counts_doubling_us`.
    CountsDoubling,
    /// `counts_token_ns`.
    CountsToken,
}

impl Parameter {
    /// Its key in a profile, which ends in its unit.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Start => "start_us",
            Self::Copy => "copy_us",
            Self::Floor => "floor_us",
            Self::Fill => "fill_us",
            Self::FillRows => "fill_rows",
            Self::Token => "token_ns",
            Self::Overlap => "overlap",
            Self::ScaleUp => "scale_up_bytes_per_s",
            Self::ScaleOut => "scale_out_bytes_per_s",
            Self::Counts => "counts_us",
            Self::CountsDoubling => "counts_doubling_us",
            Self::CountsToken => "counts_token_ns",
        }
    }

    /// Least and most that it can be; rates at most those of `nominal`.
    #[must_use]
    pub fn bounds(self, nominal: &Hardware) -> (f64, f64) {
        match self {
            Self::Start | Self::Floor | Self::Counts => (0.5, 1e3),
            Self::Copy | Self::CountsDoubling => (1e-3, 1e2),
            Self::Fill => (0.1, 1e4),
            Self::FillRows => (1.0, 1e7),
            Self::Token | Self::CountsToken => (1e-2, 1e4),
            Self::Overlap => (1.0, 16.0),
            Self::ScaleUp => port(nominal.scale_up.bytes_per_s()),
            Self::ScaleOut => port(nominal.scale_out.bytes_per_s()),
        }
    }

    /// Where to put it.
    pub(super) fn of(self, kernel: &mut Kernel) -> &mut f64 {
        match self {
            Self::Start => &mut kernel.start_us,
            Self::Copy => &mut kernel.copy_us,
            Self::Floor => &mut kernel.floor_us,
            Self::Fill => &mut kernel.fill_us,
            Self::FillRows => &mut kernel.fill_rows,
            Self::Token => &mut kernel.token_ns,
            Self::Overlap => &mut kernel.overlap,
            Self::ScaleUp => &mut kernel.scale_up_bytes_per_s,
            Self::ScaleOut => &mut kernel.scale_out_bytes_per_s,
            Self::Counts => &mut kernel.counts_us,
            Self::CountsDoubling => &mut kernel.counts_doubling_us,
            Self::CountsToken => &mut kernel.counts_token_ns,
        }
    }

    /// To three digits after the unit's point, rates to a megabyte: what a profile says, and more than data determine.
    pub(super) fn rounded(self, value: f64) -> f64 {
        match self {
            Self::ScaleUp | Self::ScaleOut => (value / 1e6).round() * 1e6,
            _ => (value * 1e3).round() / 1e3,
        }
    }
}

fn port(bytes_per_s: u64) -> (f64, f64) {
    (bytes_per_s as f64 / 1e3, bytes_per_s as f64)
}

/// A parameter as the data determine it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Its key in a profile, which ends in its unit.
    pub key: &'static str,
    /// Its value.
    pub value: f64,
    /// Standard error over the value, from the Jacobian of the errors; infinite where nothing depends on it.
    pub deviation: f64,
}

/// A standard error of more than this share of a parameter is one that the data don't determine.
const DETERMINED: f64 = 0.25;

impl Fitted {
    /// Whether the data say what it is.
    #[must_use]
    pub fn is_determined(&self) -> bool {
        self.deviation <= DETERMINED
    }
}
