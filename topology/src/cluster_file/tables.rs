//! The tables of a cluster file as they are written, and what each of their values must be.

use serde::Deserialize;
use toml::Spanned;

use super::{ClusterFileProblem, MAX_LATENCY_US};
use crate::{Confidence, DomainTopology, Fabric, Hardware, KernelProfile, LinkSpec, Picos, Rate};

/// A problem and the byte of the text where it stands.
pub(super) type Located = (usize, ClusterFileProblem);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterFile {
    pub(super) cluster: Spanned<ClusterTable>,
    pub(super) hardware: Option<Spanned<HardwareTable>>,
    #[serde(default)]
    pub(super) latency: LatencyTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterTable {
    pub(super) name: Option<String>,
    pub(super) racks: Spanned<Vec<u32>>,
    pub(super) hardware: Option<Spanned<String>>,
    pub(super) throttle: Option<Spanned<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LatencyTable {
    pub(super) scale_up_us: Option<Spanned<f64>>,
    pub(super) scale_out_us: Option<Spanned<f64>>,
}

/// Hardware described in place; the keys are the fields of [`Hardware`] with their units.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardwareTable {
    name: Option<String>,
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
    source: Option<String>,
    confidence: Option<Confidence>,
    combine: Option<CombineTable>,
}

/// `[hardware.combine]`: a [`KernelProfile`], as `railyard calibrate` writes it.
#[derive(Deserialize)]
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
}

/// Turns a described piece of hardware into a checked one.
pub(super) fn described_hardware(described: Spanned<HardwareTable>) -> Result<Hardware, Located> {
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
    hardware.validate().map_err(|error| (at, ClusterFileProblem::Hardware(error)))?;
    Ok(hardware)
}

fn rate(key: &'static str, bytes_per_s: &Spanned<u64>) -> Result<Rate, Located> {
    let value = *bytes_per_s.get_ref();
    Rate::new(value)
        .map_err(|source| (bytes_per_s.span().start, ClusterFileProblem::Rate { key, value, source }))
}

/// A latency in microseconds, checked.
pub(super) fn picos(key: &'static str, micros: &Spanned<f64>) -> Result<Picos, Located> {
    let value = *micros.get_ref();
    let problem = || (micros.span().start, ClusterFileProblem::Latency { key, value });
    if !(0.0..=MAX_LATENCY_US).contains(&value) {
        return Err(problem());
    }
    Picos::from_micros_f64(value).map_err(|_| problem())
}
