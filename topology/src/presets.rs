//! The hardware presets: the tables of `data/hardware.toml` and the profiles of measured kernels in `data/profiles/`, read as the
//! `[hardware]` of a cluster file is.

use crate::hardware_table::HardwareTable;
use crate::{Hardware, HardwareError, did_you_mean};
use serde::Deserialize;
use std::iter;
use std::sync::OnceLock;

/// Every table of the file, in the order in which presets are listed.
#[derive(Deserialize)]
struct PresetFile {
    hardware: Vec<HardwareTable>,
}

/// A cluster file as `railyard calibrate` writes it, its racks unread.
#[derive(Deserialize)]
struct ProfileFile {
    hardware: HardwareTable,
}

/// Profiles that are shipped, and what else they are called.
const PROFILES: &[(&str, &[&str])] = &[
    (include_str!("../data/profiles/h100-deepep-ll.toml"), &["h100-deepep"]),
    (include_str!("../data/profiles/h100-deepep-normal.toml"), &[]),
    (include_str!("../data/profiles/gb200-trtllm-one-sided.toml"), &["gb200-trtllm"]),
    (include_str!("../data/profiles/gb200-trtllm-two-sided-nvfp4.toml"), &["gb200-trtllm-two-sided"]),
    (include_str!("../data/profiles/gb200-trtllm-two-sided-fp8.toml"), &[]),
    (include_str!("../data/profiles/gb200-trtllm-two-sided-bf16.toml"), &[]),
    (include_str!("../data/profiles/h200-layer-unfused.toml"), &["h200-layer"]),
    (include_str!("../data/profiles/h200-layer-fused.toml"), &[]),
    (include_str!("../data/profiles/h800-serving.toml"), &[]),
    (include_str!("../data/profiles/h100-serving.toml"), &[]),
    (include_str!("../data/profiles/gb200-serving.toml"), &[]),
];

struct Preset {
    hardware: Hardware,
    aliases: Vec<String>,
}

/// Products that were announced without the figures that a preset needs.
const INCOMPLETE: &[(&str, &str)] = &[
    ("rubin-ultra-nvl576", "only 1 TB of memory at 32 TB/s and 144 packages of 4 dies were announced"),
    ("rubin-ultra", "only 1 TB of memory at 32 TB/s and 144 packages of 4 dies were announced"),
];

/// All presets, read once.
///
/// # Panics
/// If the file of this crate has a fault, which its tests would show.
fn presets() -> &'static [Preset] {
    static PRESETS: OnceLock<Vec<Preset>> = OnceLock::new();
    PRESETS.get_or_init(|| {
        let file: PresetFile =
            toml::from_str(include_str!("../data/hardware.toml")).expect("data/hardware.toml is TOML");
        let preset = |table: HardwareTable| {
            let aliases = table.aliases.clone();
            let hardware = HardwareTable::read(table).map_err(|(_, problem)| problem.to_string());
            Preset { hardware: hardware.expect("a preset is sound"), aliases }
        };
        let profiles = PROFILES.iter().map(|(text, aliases)| {
            let file: ProfileFile = toml::from_str(text).expect("a shipped profile is TOML");
            let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
            Preset { aliases, ..preset(file.hardware) }
        });
        file.hardware.into_iter().map(preset).chain(profiles).collect()
    })
}

impl Preset {
    /// What it is called, its own name first.
    fn names(&self) -> impl Iterator<Item = &str> {
        iter::once(self.hardware.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

/// The same name in the form of the table: lower case, words joined by `-`.
fn canonical(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', ' '], "-")
}

/// Longer names are cut off in messages.
const MAX_NAME_CHARS: usize = 64;

impl Hardware {
    /// The preset of whoever names none: the machine that the lecture speaks of.
    pub const DEFAULT_PRESET: &str = "talk-gb200";

    /// The preset called `name`, or that has it as an alias; case, `_` and spaces don't matter.
    ///
    /// # Errors
    /// [`HardwareError::UnknownPreset`] with the nearest name; [`HardwareError::Incomplete`] for products
    /// that were announced without link rates or FLOP/s.
    pub fn preset(name: &str) -> Result<Self, HardwareError> {
        let short: String = name.chars().take(MAX_NAME_CHARS).collect();
        let wanted = canonical(&short);
        if let Some(preset) = presets().iter().find(|preset| preset.names().any(|known| known == wanted)) {
            return Ok(preset.hardware.clone());
        }
        if let Some((_, missing)) = INCOMPLETE.iter().find(|(known, _)| *known == wanted) {
            return Err(HardwareError::Incomplete { name: short, missing });
        }
        let hint = did_you_mean(&wanted, presets().iter().flat_map(Preset::names));
        Err(HardwareError::UnknownPreset { name: short, hint })
    }

    /// All presets, in the order in which they are listed.
    pub fn presets() -> impl Iterator<Item = &'static Self> {
        presets().iter().map(|preset| &preset.hardware)
    }

    /// Their names; aliases are not listed.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        Self::presets().map(|hardware| hardware.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Dtype;

    fn preset(name: &str) -> Hardware {
        Hardware::preset(name).expect("a preset")
    }

    /// The dimensionless balance `(F/2) * w / BW` of the lecture, its "300".
    fn rho(hardware: &Hardware, dtype: Dtype) -> f64 {
        hardware.flops(dtype).expect("has it") / 2.0 * dtype.bytes() / hardware.hbm_bytes_per_s as f64
    }

    #[test]
    fn every_preset_is_valid_and_found_under_all_its_names() {
        let mut names = BTreeSet::new();
        for known in presets() {
            for name in known.names() {
                assert!(names.insert(name), "{name} is used twice");
                let hardware = preset(&name.to_uppercase().replace('-', "_"));
                assert_eq!(hardware, known.hardware);
                assert_eq!(hardware.validate(), Ok(()));
                assert!(!hardware.source.is_empty());
                assert!(hardware.latency_source.contains("assumption"), "{name}");
            }
        }
        for name in ["gb200", "gb200-nvl72", "h100", "b200", "gb300", "rubin", "mi300x", "tpu-v5e", "lab"] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn the_balance_of_each_chip_is_as_published() {
        let check = |name: &str, dtype: Dtype, expect: f64| {
            let rho = rho(&preset(name), dtype);
            assert_eq!(rho.round(), expect, "{name} {dtype}: {rho}");
        };
        check("a100", Dtype::Bf16, 153.0);
        check("h100", Dtype::Bf16, 295.0);
        check("h200", Dtype::Bf16, 206.0);
        check("b200", Dtype::Fp8, 292.0);
        for dtype in [Dtype::Bf16, Dtype::Fp8, Dtype::Fp4] {
            check("gb200", dtype, 313.0); // 312.5
        }
        check("gb300", Dtype::Fp4, 469.0);
        check("rubin", Dtype::Bf16, 182.0);
        check("rubin", Dtype::Fp4, 398.0);
        check("tpu-v5e", Dtype::Bf16, 241.0); // 240.5
        check("tpu-v5p", Dtype::Bf16, 166.0);
        check("tpu-v6e", Dtype::Bf16, 560.0);
        check("tpu7x", Dtype::Bf16, 313.0);
        check("mi300x", Dtype::Bf16, 247.0);
        check("mi355x", Dtype::Bf16, 315.0);
        check("h20", Dtype::Bf16, 37.0);
        check("h20", Dtype::Fp8, 37.0);
        check("cloudmatrix384", Dtype::Bf16, 235.0);
    }

    #[test]
    fn the_time_to_drain_the_memory_is_as_published() {
        let check = |name: &str, millis: f64| {
            let hardware = preset(name);
            let drain = hardware.hbm_bytes as f64 / hardware.hbm_bytes_per_s as f64 * 1e3;
            assert!((drain - millis).abs() <= 0.06, "{name}: {drain} ms");
        };
        for (name, millis) in [
            ("a100", 39.2),
            ("h100", 23.9),
            ("h800", 23.9),
            ("h20", 24.0),
            ("h200", 29.4),
            ("b200", 23.4),
            ("gb200", 23.3),
            ("gb300", 36.0),
            ("rubin", 13.1),
            ("talk-rubin", 14.4),
            ("tpu-v5e", 19.5),
            ("tpu-v5p", 36.9),
            ("tpu-v6e", 21.0),
            ("tpu7x", 27.9),
            ("mi355x", 36.0),
            ("cloudmatrix384", 40.0),
        ] {
            check(name, millis);
        }
    }

    #[test]
    fn the_throttle_of_each_chip_is_as_published() {
        for (name, beta) in [
            ("a100", 12.0),
            ("h100", 9.0),
            ("h800", 4.0),
            ("h20", 9.0),
            ("h200", 9.0),
            ("b200", 18.0),
            ("gb200", 18.0),
            ("talk-gb200", 8.0),
            ("gb300", 9.0),
            ("rubin", 9.0),
            ("talk-rubin", 8.0),
            ("tpu-v5e", 64.0),
            ("tpu-v5p", 96.0),
            ("tpu-v6e", 32.0),
            ("tpu7x", 48.0),
            ("mi300x", 9.0),
            ("mi355x", 11.0),
            ("cloudmatrix384", 8.0), // 7.84
            ("lab", 8.0),
        ] {
            assert_eq!(preset(name).fabric().beta().round(), beta, "{name}");
        }
    }

    #[test]
    fn the_lab_keeps_the_balance_of_gb200() {
        let (lab, real) = (preset("lab"), preset("gb200"));
        assert_eq!((lab.scale_up.bytes_per_s(), lab.scale_out.bytes_per_s()), (32_000_000, 4_000_000));
        assert!((rho(&lab, Dtype::Fp8) / rho(&real, Dtype::Fp8) - 1.0).abs() < 0.002);
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_and_the_whole_list() {
        let message = |name: &str| Hardware::preset(name).expect_err("unknown").to_string();
        assert!(message("gb20").contains("did you mean `gb200`?"), "{}", message("gb20"));
        assert!(message("h100_sxn").contains("did you mean `h100-sxm`?"));
        assert!(message("quux").starts_with("no hardware preset `quux`; presets: a100-sxm, h100-sxm,"));
        assert!(message(&"x".repeat(1_000_000)).len() < 1_000);
        assert!(message("Rubin Ultra").contains("can't be a preset yet"));
    }
}
