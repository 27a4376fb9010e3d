//! What whole layers and whole servers were measured to reach: efficiency of grouped products, what overlaps, a step's share of nominal rates.

use super::{Dtype, Hardware, HardwareError};
use crate::{Picos, Provenance};
use serde::{Deserialize, Serialize};

/// What of a layer goes on at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerOverlap {
    /// Dispatch, experts and combine are kernels one after the other.
    None,
    /// One kernel works on tiles of all three.
    Fused,
}

/// A measured layer: what grouped products make of nominal rates, and what its phases hide of each other.
///
/// An expert with r rows of g FLOP each and b bytes of weights takes `max((r + empty) g / (F gemm), b / (BW memory))`, a layer's experts `start` more.
/// With C that and N dispatch and combine, the layer takes `C + N`, fused `max(C, N) + loss min(C, N)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerProfile {
    /// Share of the memory's rate at which experts' weights are read.
    pub memory_efficiency: f64,
    /// Share of the arithmetic's rate that full tiles of rows reach.
    pub gemm_efficiency: f64,
    /// Rows that an expert is charged beside its own: what stays empty of its last tile.
    #[serde(default)]
    pub empty_rows: f64,
    /// Launches and gaps of a layer's kernels, microseconds.
    pub start_us: f64,
    /// What goes on at the same time.
    pub overlap: LayerOverlap,
    /// Share of the shorter of communication and experts that a fused kernel doesn't hide.
    #[serde(default)]
    pub overlap_loss: f64,
    /// What it was fitted to.
    pub provenance: Provenance,
}

/// A measured server: the rates of its hardware are `step_efficiency` of the nominal ones, and no part of a step hides another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServingProfile {
    /// Share of nominal rates, of arithmetic, memory and ports alike.
    pub step_efficiency: f64,
    /// What it was fitted to.
    pub provenance: Provenance,
}

impl LayerProfile {
    /// Every number with its key and what it must be: at least, at most.
    #[must_use]
    pub const fn numbers(&self) -> [(&'static str, f64, [f64; 2]); 5] {
        [
            ("memory_efficiency", self.memory_efficiency, [1e-3, 1.0]),
            ("gemm_efficiency", self.gemm_efficiency, [1e-3, 1.0]),
            ("empty_rows", self.empty_rows, [0.0, 1e6]),
            ("start_us", self.start_us, [0.0, 1e6]),
            ("overlap_loss", self.overlap_loss, [0.0, 1.0]),
        ]
    }
}

impl Hardware {
    /// What grouped products of `flops` that read `bytes` of weights amount to at nominal rates, FLOP and bytes: themselves, or what measured ones
    /// make of them. A row of each expert that gets any is `flops_of_row` in all.
    #[must_use]
    pub fn expert_work(&self, flops: f64, flops_of_row: f64, bytes: f64) -> (f64, f64) {
        match &self.layer {
            None => (flops, bytes),
            Some(layer) => (
                (flops + layer.empty_rows * flops_of_row) / layer.gemm_efficiency,
                bytes / layer.memory_efficiency,
            ),
        }
    }

    /// The roofline of such products ([`Self::expert_work`]).
    ///
    /// # Errors
    /// As [`Self::time`].
    pub fn expert_time(
        &self,
        flops: f64,
        flops_of_row: f64,
        bytes: f64,
        dtype: Dtype,
    ) -> Result<Picos, HardwareError> {
        let (flops, bytes) = self.expert_work(flops, flops_of_row, bytes);
        self.time(flops, bytes, dtype)
    }

    /// What a layer's experts take beside their products, where any has rows: launches and gaps, if they were measured.
    #[must_use]
    pub fn experts_start(&self) -> Picos {
        self.layer.as_ref().map_or(Picos::ZERO, |layer| Picos((layer.start_us * 1e6).round().max(0.0) as u64))
    }

    /// Whether a layer was measured to be one kernel.
    #[must_use]
    pub fn fuses_layers(&self) -> bool {
        self.layer.as_ref().is_some_and(|layer| layer.overlap == LayerOverlap::Fused)
    }

    /// What a layer takes of whose phases communication takes so long, and the experts, in one unit: their sum, less where a fused kernel was
    /// measured.
    #[must_use]
    pub fn layer_time(&self, communication: f64, experts: f64) -> f64 {
        match &self.layer {
            Some(layer) if layer.overlap == LayerOverlap::Fused => {
                communication.max(experts) + layer.overlap_loss * communication.min(experts)
            }
            _ => communication + experts,
        }
    }
}
