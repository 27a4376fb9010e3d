//! The links as an all-to-all's kernels meet them: another set for the combine, and a least time of each phase.

use serde::{Deserialize, Serialize};

use crate::{Fabric, LinkClass, Picos};

/// Where measured kernels differ from one set of links for both phases. The hardware's own links are then the dispatch's.
///
/// Latencies hold the kernel's start-up beside the wire's. A rank tells each peer its counts and waits for everyone's,
/// whether there are rows or not; that goes on beside the transfer and decides a phase until the transfer is longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelProfile {
    /// The combine's links: its kernel reads and adds up where the dispatch's copies.
    pub combine: Fabric,
    /// Least time of a dispatch.
    pub dispatch_floor: Picos,
    /// Least time of a combine.
    pub combine_floor: Picos,
}

/// What one phase meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseLinks {
    /// What a row meets on its way: bytes/s and first-byte latency of both link classes.
    pub fabric: Fabric,
    /// Least time of the phase.
    pub floor: Picos,
}

impl PhaseLinks {
    /// How long a flow on `class` is kept open, so that its end arrives no earlier than the floor.
    pub fn open_until(&self, class: LinkClass) -> Picos {
        Picos(self.floor.0.saturating_sub(self.fabric.link(class).latency.0))
    }
}

/// What both phases of an all-to-all meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct A2aLinks {
    /// Rows to the experts.
    pub dispatch: PhaseLinks,
    /// Links while rows are on their way back.
    pub combine: PhaseLinks,
}

impl A2aLinks {
    /// `fabric` for both phases, or for the dispatch alone where `kernels` has another for the combine.
    pub fn new(fabric: Fabric, kernels: Option<KernelProfile>) -> Self {
        let floors =
            kernels.map_or((Picos::ZERO, Picos::ZERO), |own| (own.dispatch_floor, own.combine_floor));
        Self {
            dispatch: PhaseLinks { fabric, floor: floors.0 },
            combine: PhaseLinks { fabric: kernels.map_or(fabric, |own| own.combine), floor: floors.1 },
        }
    }

    /// The same with all latencies and floors zero.
    #[must_use]
    pub const fn without_latency(self) -> Self {
        Self {
            dispatch: PhaseLinks { fabric: self.dispatch.fabric.without_latency(), floor: Picos::ZERO },
            combine: PhaseLinks { fabric: self.combine.fabric.without_latency(), floor: Picos::ZERO },
        }
    }
}
