//! The two link classes of a cluster and their speeds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Oversubscription, Picos, Rate};

/// Which of a rank's two ports a transfer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkClass {
    /// Inside a rack: NVLink, ICI, Infinity Fabric.
    ScaleUp,
    /// Between racks: InfiniBand or RoCE.
    ScaleOut,
}

impl LinkClass {
    /// Both classes, scale-up first.
    pub const ALL: [Self; 2] = [Self::ScaleUp, Self::ScaleOut];
}

impl fmt::Display for LinkClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScaleUp => "scale-up",
            Self::ScaleOut => "scale-out",
        })
    }
}

/// One class of links: the rate of a rank's port per direction, and the delay from egress to ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// Bytes per second that one port moves in each direction.
    pub rate: Rate,
    /// Time from the last byte leaving the sender's port to its arrival.
    pub latency: Picos,
}

/// Both classes: every rank has one full-duplex port on each, behind switches that never block; what leads from rack to rack may be less
/// than the ports of a rack ([`Oversubscription`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fabric {
    /// Links inside a rack.
    pub scale_up: LinkSpec,
    /// A rank's link to ranks of other racks.
    pub scale_out: LinkSpec,
    /// Of every rack's uplink.
    #[serde(default)]
    pub oversubscription: Oversubscription,
}

impl Fabric {
    /// These links, and uplinks that never block.
    pub const fn new(scale_up: LinkSpec, scale_out: LinkSpec) -> Self {
        Self { scale_up, scale_out, oversubscription: Oversubscription::NONE }
    }

    /// The links of `class`.
    pub const fn link(&self, class: LinkClass) -> LinkSpec {
        match class {
            LinkClass::ScaleUp => self.scale_up,
            LinkClass::ScaleOut => self.scale_out,
        }
    }

    /// The throttle: how many times slower scale-out is than scale-up.
    pub fn beta(&self) -> f64 {
        self.scale_up.rate.bytes_per_s() as f64 / self.scale_out.rate.bytes_per_s() as f64
    }

    /// The same fabric with both latencies zero, as the closed forms assume it.
    #[must_use]
    pub const fn without_latency(self) -> Self {
        Self {
            scale_up: LinkSpec { latency: Picos::ZERO, ..self.scale_up },
            scale_out: LinkSpec { latency: Picos::ZERO, ..self.scale_out },
            ..self
        }
    }

    /// A rank's scale-out link with an equal share of its rack's uplink: what it has where all ranks of the rack send alike.
    #[must_use]
    pub fn scale_out_share(&self) -> LinkSpec {
        LinkSpec { rate: self.oversubscription.uplink(1, self.scale_out.rate), ..self.scale_out }
    }

    /// The same with each rank's share as its port, and no uplink: for ranks that don't know of each other.
    #[must_use]
    pub fn in_equal_shares(self) -> Self {
        Self::new(self.scale_up, self.scale_out_share())
    }
}
