//! The tables of a cluster file as they are written, and what each of their values must be.

use serde::Deserialize;
use toml::Spanned;

use crate::hardware_table::{HardwareTable, Number};

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
    pub(super) oversubscription: Option<Spanned<f64>>,
    pub(super) background: Option<Spanned<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LatencyTable {
    pub(super) scale_up_us: Option<Number>,
    pub(super) scale_out_us: Option<Number>,
}
