//! Published measurements of all-to-alls and whole layers, each beside what nominal ports and the profile of its kernel say.
//!
//! A new table is a file in `data/measured`, its sources in its first lines, and a line in [`SERIES`].

pub mod serving;
mod trust;

pub use self::trust::{Asked, Trust, trust};

use crate::BlackboardError;
use crate::CopiesPerToken;
use crate::calibration::{CalibrationError, Layer, Measurement, Op, parse_measurements, predict};
use crate::scale_up::a2a_time_on;
use crate::units::Tokens;
use moe::{DispatchScheme, RowBytes};
use topology::{A2aLinks, Hardware};

/// Measurements of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// What it is called.
    pub name: &'static str,
    /// Its file in `blackboard/data/measured`.
    pub file: &'static str,
    /// The file's text.
    pub text: &'static str,
    /// Kernel and format as the file has them; empty where it has one.
    pub variant: &'static str,
    /// The preset of its hardware, nominal.
    pub chip: &'static str,
    /// Hidden, top-k and expert width of the measured layer, which has 256 experts on nodes of 8.
    pub shape: [u32; 3],
    /// How copies travelled; `None`: by the file's columns.
    pub scheme: Option<DispatchScheme>,
    /// The preset of its kernel's profile, if it has one.
    pub profile: Option<&'static str>,
}

macro_rules! series {
    ($name:literal, $file:literal, $variant:literal, $chip:literal, $scheme:expr, $profile:expr) => {
        Series {
            name: $name,
            file: $file,
            text: include_str!(concat!("../data/measured/", $file)),
            variant: $variant,
            chip: $chip,
            shape: V3,
            scheme: $scheme,
            profile: $profile,
        }
    };
}

/// DeepSeek-V3's layer.
const V3: [u32; 3] = [7168, 8, 2048];
const FLAT: Option<DispatchScheme> = Some(DispatchScheme::Flat);
const HIERARCHICAL: Option<DispatchScheme> = Some(DispatchScheme::Hierarchical);

/// Everything that was measured elsewhere and is in the tree.
pub const SERIES: [Series; 13] = [
    series!("DeepEP low-latency, H100", "deepep_ll_h100.csv", "", "h100", None, Some("h100-deepep-ll")),
    series!("DeepEP normal, H100", "deepep_normal_h100.csv", "", "h100", None, Some("h100-deepep-normal")),
    series!(
        "TensorRT-LLM one-sided NVFP4, GB200",
        "trtllm_alltoall_gb200.csv",
        "NVLinkOneSided nvfp4",
        "gb200",
        None,
        Some("gb200-trtllm-one-sided")
    ),
    series!(
        "TensorRT-LLM two-sided NVFP4, GB200",
        "trtllm_alltoall_gb200.csv",
        "NVLinkTwoSided nvfp4",
        "gb200",
        None,
        Some("gb200-trtllm-two-sided-nvfp4")
    ),
    series!(
        "TensorRT-LLM two-sided FP8, GB200",
        "trtllm_alltoall_gb200.csv",
        "NVLinkTwoSided fp8",
        "gb200",
        None,
        Some("gb200-trtllm-two-sided-fp8")
    ),
    series!(
        "TensorRT-LLM two-sided BF16, GB200",
        "trtllm_alltoall_gb200.csv",
        "NVLinkTwoSided bfloat16",
        "gb200",
        None,
        Some("gb200-trtllm-two-sided-bf16")
    ),
    series!(
        "UCCL-EP low-latency, H200 with EFA",
        "ep_kernels_published.csv",
        "uccl low-latency H200 EFA",
        "h200",
        FLAT,
        None
    ),
    series!(
        "UCCL-EP low-latency, MI300X",
        "ep_kernels_published.csv",
        "uccl low-latency MI300X CX7",
        "mi300x",
        FLAT,
        None
    ),
    series!(
        "UCCL-EP normal, H200 with EFA",
        "ep_kernels_published.csv",
        "uccl normal H200 EFA",
        "h200",
        HIERARCHICAL,
        None
    ),
    series!(
        "pplx-garden decode, H100",
        "ep_kernels_published.csv",
        "pplx decode H100 CX7",
        "h100",
        FLAT,
        None
    ),
    series!(
        "TensorRT-LLM two-sided NVFP4, combine in NVFP4, GB200",
        "trtllm_alltoall_gb200.csv",
        "NVLinkTwoSided nvfp4 low-precision combine",
        "gb200",
        None,
        None
    ),
    Series {
        shape: [4096, 6, 2048],
        ..series!(
            "DeepGEMM's pull request 383, whole layer, unfused, H200",
            "moe_layer_h200.csv",
            "unfused",
            "h200",
            None,
            Some("h200-layer-unfused")
        )
    },
    Series {
        shape: [4096, 6, 2048],
        ..series!(
            "DeepGEMM's pull request 383, whole layer, fused, H200",
            "moe_layer_h200.csv",
            "fused",
            "h200",
            None,
            Some("h200-layer-fused")
        )
    },
];

/// How many times as long as nominal ports say measured kernels took: least and most of the series' medians.
pub const LONGER: [f64; 2] = [1.4, 10.8];

/// The same of whole layers.
pub const LAYERS_LONGER: [f64; 2] = [1.7, 2.3];

/// One measurement with what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What was measured.
    pub measured: Measurement,
    /// Closed form on nominal ports, microseconds.
    pub nominal_us: f64,
    /// Closed form of the kernel's profile, microseconds.
    pub profiled_us: Option<f64>,
}

impl Series {
    /// The layer that was measured.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        let [hidden, top_k, expert_inter] = self.shape;
        let scheme = self.scheme;
        Layer { hidden, top_k, experts: 256, expert_inter, ranks_per_node: 8, scheme, routing: None }
    }

    /// Its kernels' measurements (exchanges of counts, which nominal ports know nothing about, are left out) with what closed forms say.
    ///
    /// # Errors
    /// [`CalibrationError`] where the file or a preset has a fault, which tests would show.
    pub fn said(&self) -> Result<Vec<Said>, CalibrationError> {
        let layer = self.layer();
        let mut measured = parse_measurements(self.text, self.file, &layer)?;
        measured.retain(|row| row.variant == self.variant && !row.op.is_counts());
        let preset = |name| Hardware::preset(name).map_err(BlackboardError::from);
        let chip = preset(self.chip)?;
        let profile = self.profile.map(preset).transpose()?;
        let said = |measured: Measurement| {
            let nominal_us = nominal_us(&measured, &layer, &chip)?;
            let profiled_us =
                profile.as_ref().map(|profile| predict(&measured, &layer, profile)).transpose()?;
            Ok(Said { measured, nominal_us, profiled_us })
        };
        measured.into_iter().map(said).collect()
    }
}

/// Closed form of a kernel that is nothing but the nominal ports and their latencies.
///
/// A whole layer: its phases one after the other, in a fused kernel all at once.
fn nominal_us(measured: &Measurement, layer: &Layer, chip: &Hardware) -> Result<f64, CalibrationError> {
    if measured.op.is_layer() {
        let time = layer.whole(measured).time(chip, Tokens(f64::from(measured.tokens)))?;
        let fused = measured.op == Op::FusedLayer;
        return Ok(if fused { time.overlapped() } else { time.serial() }.as_micros());
    }
    let load = layer.load(measured)?;
    let [intra, inter] = load.copies;
    let row = load.row_bytes.round() as u64;
    let time = a2a_time_on(
        measured.scheme,
        CopiesPerToken { intra, inter },
        Tokens(load.tokens),
        RowBytes { dispatch: row, combine: row },
        &A2aLinks::nominal(chip.fabric()),
    );
    Ok(time.dispatch.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Errors;
    use std::collections::BTreeSet;

    /// A series, the median on nominal ports, the median and the mean on its profile.
    type Bounds = (&'static str, f64, Option<(f64, f64)>);
    /// What closed forms are off by at most, in percent.
    const BOUNDS: [Bounds; 13] = [
        ("DeepEP low-latency, H100", 62.0, Some((1.8, 2.4))),
        ("DeepEP normal, H100", 80.0, Some((1.8, 2.0))),
        ("TensorRT-LLM one-sided NVFP4, GB200", 80.0, Some((3.1, 3.9))),
        ("TensorRT-LLM two-sided NVFP4, GB200", 80.0, Some((1.6, 3.3))),
        ("TensorRT-LLM two-sided FP8, GB200", 80.0, Some((1.8, 2.8))),
        ("TensorRT-LLM two-sided BF16, GB200", 80.0, Some((1.6, 2.6))),
        ("UCCL-EP low-latency, H200 with EFA", 80.0, None),
        ("UCCL-EP low-latency, MI300X", 80.0, None),
        ("UCCL-EP normal, H200 with EFA", 80.0, None),
        ("pplx-garden decode, H100", 80.0, None),
        ("TensorRT-LLM two-sided NVFP4, combine in NVFP4, GB200", 91.0, None),
        ("DeepGEMM's pull request 383, whole layer, unfused, H200", 57.5, Some((1.2, 1.2))),
        ("DeepGEMM's pull request 383, whole layer, fused, H200", 43.0, Some((2.5, 2.9))),
    ];

    #[test]
    fn no_table_is_further_off_than_it_was() {
        for (series, (name, nominal, profiled)) in SERIES.iter().zip(BOUNDS) {
            assert_eq!(series.name, name);
            let said = series.said().expect("sound");
            let errors = |of: &dyn Fn(&Said) -> Option<f64>| {
                let errors: Vec<f64> =
                    said.iter().filter_map(|row| Some(of(row)? / row.measured.us - 1.0)).collect();
                Errors::of(&errors)
            };
            let found = errors(&|row| Some(row.nominal_us)).expect("some");
            assert!(found.median * 100.0 <= nominal, "{name}: {found:?}");
            assert!(found.bias < 0.0, "{name}: nominal ports are a lower bound of times: {found:?}");
            let found = errors(&|row| row.profiled_us);
            assert_eq!(found.is_some(), profiled.is_some(), "{name}");
            if let (Some(found), Some((median, mean))) = (found, profiled) {
                assert!(found.median * 100.0 <= median && found.mean * 100.0 <= mean, "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn nominal_ports_are_as_far_off_as_stated() {
        let ends = |of_layers: bool| {
            let wanted = SERIES.iter().filter(|series| (series.file == "moe_layer_h200.csv") == of_layers);
            let medians = wanted.map(|series| {
                let said = series.said().expect("sound");
                let mut longer: Vec<f64> = said.iter().map(|row| row.measured.us / row.nominal_us).collect();
                longer.sort_by(f64::total_cmp);
                (longer[longer.len() / 2] * 10.0).round() / 10.0
            });
            let medians: Vec<f64> = medians.collect();
            [
                medians.iter().copied().fold(f64::INFINITY, f64::min),
                medians.iter().copied().fold(0.0, f64::max),
            ]
        };
        assert_eq!(ends(false), LONGER);
        assert_eq!(ends(true), LAYERS_LONGER);
    }

    #[test]
    fn every_kernel_of_every_file_is_in_the_list() {
        for file in SERIES.iter().map(|series| series.file).collect::<BTreeSet<_>>() {
            let of_file: Vec<&Series> = SERIES.iter().filter(|series| series.file == file).collect();
            let measured = parse_measurements(of_file[0].text, file, &of_file[0].layer()).expect("sound");
            let variants: BTreeSet<&str> = measured.iter().map(|row| row.variant.as_str()).collect();
            let listed: BTreeSet<&str> = of_file.iter().map(|series| series.variant).collect();
            assert_eq!(variants, listed, "{file}");
        }
    }
}
