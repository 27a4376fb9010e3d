//! An accelerator as TOML: the `[hardware]` of a cluster file, a preset, what `railyard hardware NAME` prints.
//!
//! The keys are the fields of [`Hardware`] with their units. What is left out is what a file of one's own may leave out.

use crate::{
    Confidence, DomainTopology, Fabric, Hardware, HardwareError, KernelProfile, LinkSpec, Picos, Rate,
    UnitError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::Spanned;

/// The longest latency that is taken for one: a second.
pub const MAX_LATENCY_US: f64 = 1_000_000.0;

/// What can be wrong with the values of a table.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum HardwareTableProblem {
    /// An unknown preset, or an impossible description.
    #[error("hardware: {0}")]
    Hardware(#[from] HardwareError),
    /// A rate of zero.
    #[error("{key} = {value}: {source}")]
    Rate {
        /// Key of the file, as written in it: `scale_up_bytes_per_s`.
        key: &'static str,
        /// Its value as read.
        value: u64,
        /// What the unit refuses.
        source: UnitError,
    },
    /// A latency that isn't one.
    #[error("{key} = {value}: a latency is a number of microseconds from 0 to {MAX_LATENCY_US}")]
    Latency {
        /// Key of the file, as written in it: `scale_up_latency_us`.
        key: &'static str,
        /// Its value as read.
        value: f64,
    },
}

/// A problem and the byte of the text where it stands.
type Located = (usize, HardwareTableProblem);

/// The table as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HardwareTable {
    name: Option<String>,
    /// Of a preset; a file's own hardware is called by the file.
    #[serde(default, skip_serializing)]
    pub(crate) aliases: Vec<String>,
    source: Option<String>,
    confidence: Option<Confidence>,
    bf16_flops: f64,
    fp8_flops: Option<f64>,
    fp4_flops: Option<f64>,
    hbm_bytes: u64,
    hbm_bytes_per_s: u64,
    scale_up_bytes_per_s: Spanned<u64>,
    scale_out_bytes_per_s: Spanned<u64>,
    scale_up_latency_us: Spanned<f64>,
    scale_out_latency_us: Spanned<f64>,
    latency_source: Option<String>,
    domain_ranks: u32,
    domain_topology: Option<DomainTopology>,
    combine: Option<CombineTable>,
}

/// `[hardware.combine]`: a [`KernelProfile`], as `railyard calibrate` writes it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CombineTable {
    scale_up_bytes_per_s: Spanned<u64>,
    scale_out_bytes_per_s: Spanned<u64>,
    scale_up_latency_us: Spanned<f64>,
    scale_out_latency_us: Spanned<f64>,
    dispatch_floor_us: Spanned<f64>,
    combine_floor_us: Spanned<f64>,
}

impl CombineTable {
    fn kernels(&self) -> Result<KernelProfile, Located> {
        Ok(KernelProfile {
            combine: Fabric {
                scale_up: LinkSpec {
                    rate: rate("scale_up_bytes_per_s", &self.scale_up_bytes_per_s)?,
                    latency: picos("scale_up_latency_us", &self.scale_up_latency_us)?,
                },
                scale_out: LinkSpec {
                    rate: rate("scale_out_bytes_per_s", &self.scale_out_bytes_per_s)?,
                    latency: picos("scale_out_latency_us", &self.scale_out_latency_us)?,
                },
            },
            dispatch_floor: picos("dispatch_floor_us", &self.dispatch_floor_us)?,
            combine_floor: picos("combine_floor_us", &self.combine_floor_us)?,
        })
    }

    fn of(kernels: &KernelProfile) -> Self {
        let Fabric { scale_up, scale_out } = kernels.combine;
        Self {
            scale_up_bytes_per_s: written(scale_up.rate.bytes_per_s()),
            scale_out_bytes_per_s: written(scale_out.rate.bytes_per_s()),
            scale_up_latency_us: written(scale_up.latency.as_micros_f64()),
            scale_out_latency_us: written(scale_out.latency.as_micros_f64()),
            dispatch_floor_us: written(kernels.dispatch_floor.as_micros_f64()),
            combine_floor_us: written(kernels.combine_floor.as_micros_f64()),
        }
    }
}

impl HardwareTable {
    /// The checked hardware of a table.
    pub(crate) fn read(described: Spanned<Self>) -> Result<Hardware, Located> {
        let at = described.span().start;
        let table = described.into_inner();
        let hardware = Hardware {
            name: table.name.unwrap_or_else(|| "custom".to_owned()),
            bf16_flops: table.bf16_flops,
            fp8_flops: table.fp8_flops,
            fp4_flops: table.fp4_flops,
            hbm_bytes: table.hbm_bytes,
            hbm_bytes_per_s: table.hbm_bytes_per_s,
            scale_up: rate("scale_up_bytes_per_s", &table.scale_up_bytes_per_s)?,
            scale_out: rate("scale_out_bytes_per_s", &table.scale_out_bytes_per_s)?,
            scale_up_latency: picos("scale_up_latency_us", &table.scale_up_latency_us)?,
            scale_out_latency: picos("scale_out_latency_us", &table.scale_out_latency_us)?,
            kernels: table.combine.as_ref().map(CombineTable::kernels).transpose()?,
            latency_source: table.latency_source.unwrap_or_else(|| "assumption: the cluster file".to_owned()),
            domain_ranks: table.domain_ranks,
            domain_topology: table.domain_topology.unwrap_or(DomainTopology::Crossbar),
            source: table.source.unwrap_or_else(|| "the cluster file".to_owned()),
            confidence: table.confidence.unwrap_or(Confidence::Preliminary),
        };
        hardware.validate().map_err(|error| (at, error.into()))?;
        Ok(hardware)
    }
}

impl Hardware {
    /// This hardware as the `[hardware]` of a cluster file, which reads back as the same.
    ///
    /// # Errors
    /// A number that TOML has no form for: one of at least 2^63.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        #[derive(Serialize)]
        struct File {
            hardware: HardwareTable,
        }
        let hardware = HardwareTable {
            name: Some(self.name.clone()),
            aliases: Vec::new(),
            source: Some(self.source.clone()),
            confidence: Some(self.confidence),
            bf16_flops: self.bf16_flops,
            fp8_flops: self.fp8_flops,
            fp4_flops: self.fp4_flops,
            hbm_bytes: self.hbm_bytes,
            hbm_bytes_per_s: self.hbm_bytes_per_s,
            scale_up_bytes_per_s: written(self.scale_up.bytes_per_s()),
            scale_out_bytes_per_s: written(self.scale_out.bytes_per_s()),
            scale_up_latency_us: written(self.scale_up_latency.as_micros_f64()),
            scale_out_latency_us: written(self.scale_out_latency.as_micros_f64()),
            latency_source: Some(self.latency_source.clone()),
            domain_ranks: self.domain_ranks,
            domain_topology: Some(self.domain_topology),
            combine: self.kernels.as_ref().map(CombineTable::of),
        };
        toml::to_string(&File { hardware })
    }
}

/// A value on its way out, which stands nowhere yet.
fn written<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn rate(key: &'static str, bytes_per_s: &Spanned<u64>) -> Result<Rate, Located> {
    let value = *bytes_per_s.get_ref();
    Rate::new(value)
        .map_err(|source| (bytes_per_s.span().start, HardwareTableProblem::Rate { key, value, source }))
}

/// A latency in microseconds, checked.
pub(crate) fn picos(key: &'static str, micros: &Spanned<f64>) -> Result<Picos, Located> {
    let value = *micros.get_ref();
    let problem = || (micros.span().start, HardwareTableProblem::Latency { key, value });
    if !(0.0..=MAX_LATENCY_US).contains(&value) {
        return Err(problem());
    }
    Picos::from_micros_f64(value).map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_cluster_file;

    #[test]
    fn every_preset_is_read_back_as_it_was_written() {
        for hardware in Hardware::presets() {
            let text = format!("[cluster]\nracks = [2]\n\n{}", hardware.to_toml().expect("numbers that fit"));
            let spec = parse_cluster_file(&text, "copied.toml").expect("sound");
            assert_eq!(&spec.hardware, hardware, "{text}");
        }
    }
}
