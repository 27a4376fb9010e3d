//! The hardware presets: published figures per accelerator, dense FLOP/s, bandwidth per direction.
//!
//! Three traps, all of them met in practice: NVIDIA's datasheets quote FLOP/s for 2:4-sparse matrices (twice
//! the dense ones given here) and NVLink in both directions together (twice one direction); a TPU's scale-up
//! rate is that of all its torus links together.
//!
//! Sources: the vendors' datasheets; ISCA = "Insights into DeepSeek-V3" (arXiv 2505.09343); SB = "How to
//! Scale Your Model" (jax-ml/scaling-book); T = the transcript of the lecture.

use crate::{
    Confidence, DomainTopology, Fabric, Hardware, HardwareError, KernelProfile, LinkSpec, Picos, Rate,
    did_you_mean,
};

const T: f64 = 1e12;
const P: f64 = 1e15;
const MB: u64 = 1_000_000;
const GB: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// ISCA table 5 measured 64 B end to end across leaf switches: 3.7 us on InfiniBand, 5.6 us on RoCE.
const INFINIBAND: (Picos, &str) = (
    Picos(3_700_000),
    "scale-out: ISCA table 5, InfiniBand across leaves, 3.7 us; scale-up: assumption, about 1 us",
);
const ROCE: (Picos, &str) = (
    Picos(5_600_000),
    "scale-out: ISCA table 5, RoCE across leaves, 5.6 us; scale-up: assumption, about 1 us",
);
const DATA_CENTRE: (Picos, &str) = (
    Picos(5_600_000),
    "scale-out: assumption, 5.6 us as RoCE across leaves in ISCA table 5; scale-up: assumption, about 1 us",
);
/// An assumption: no vendor publishes it for a switched domain.
const SCALE_UP_LATENCY: Picos = Picos(1_000_000);

/// One line of the table; the fields are those of [`Hardware`].
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    bf16: f64,
    fp8: Option<f64>,
    fp4: Option<f64>,
    hbm_bytes: u64,
    hbm_mb_per_s: u64,
    scale_up_mb_per_s: u64,
    scale_out_mb_per_s: u64,
    scale_up_latency: Picos,
    /// Scale-out latency and the source of both latencies.
    latency: (Picos, &'static str),
    kernels: Option<KernelProfile>,
    domain_ranks: u32,
    domain_topology: DomainTopology,
    confidence: Confidence,
    source: &'static str,
}

/// What most NVIDIA rows share; every row overrides the rest.
const NVIDIA: Row = Row {
    name: "",
    aliases: &[],
    bf16: 0.0,
    fp8: None,
    fp4: None,
    hbm_bytes: 0,
    hbm_mb_per_s: 0,
    scale_up_mb_per_s: 0,
    scale_out_mb_per_s: 0,
    scale_up_latency: SCALE_UP_LATENCY,
    latency: INFINIBAND,
    kernels: None,
    domain_ranks: 8,
    domain_topology: DomainTopology::Crossbar,
    confidence: Confidence::High,
    source: "",
};
const H100: Row = Row {
    name: "h100-sxm",
    aliases: &["h100", "h100-80gb", "hgx-h100"],
    bf16: 989.5 * T,
    fp8: Some(1979.0 * T),
    hbm_bytes: 80 * GB,
    hbm_mb_per_s: 3_350_000,
    scale_up_mb_per_s: 450_000,
    scale_out_mb_per_s: 50_000,
    source: "NVIDIA H100 datasheet, halved to dense (SB, roofline, problem 5); one ConnectX-7 a GPU",
    ..NVIDIA
};
const fn mb_per_s(rate: u64) -> Rate {
    match Rate::new(rate * MB) {
        Ok(rate) => rate,
        Err(_) => panic!("a rate of the table is above zero"),
    }
}

/// DeepEP's low-latency combine on H100, BF16; with the row `h100-deepep-ll` it is what `railyard calibrate` makes of
/// `blackboard/data/h100-deepep-ll.csv`, and a test there holds it to that.
const DEEPEP_LL: KernelProfile = KernelProfile {
    combine: Fabric {
        scale_up: LinkSpec { rate: mb_per_s(204_955), latency: Picos(9_785_000) },
        scale_out: LinkSpec { rate: mb_per_s(47_478), latency: Picos(24_257_000) },
    },
    dispatch_floor: Picos(15_885_000),
    combine_floor: Picos(13_107_000),
};
const GB200: Row = Row {
    name: "gb200-nvl72",
    aliases: &["gb200", "nvl72"],
    bf16: 2.5 * P,
    fp8: Some(5.0 * P),
    fp4: Some(10.0 * P),
    // MLPerf lists 186 GB of the 192 GB.
    hbm_bytes: 186 * GB,
    hbm_mb_per_s: 8_000_000,
    scale_up_mb_per_s: 900_000,
    scale_out_mb_per_s: 50_000,
    domain_ranks: 72,
    source: "NVIDIA GB200 NVL72 datasheet, dense, one direction; four ConnectX-7 a tray of four GPUs",
    ..NVIDIA
};
const RUBIN: Row = Row {
    name: "vera-rubin-nvl72",
    aliases: &[
        "rubin",
        "vera-rubin",
        "vr200",
        "vr200-nvl72",
        "vera-rubin-nvl144",
        "rubin-nvl144",
        "rubin-nvl72",
    ],
    bf16: 4.0 * P,
    fp8: Some(17.5 * P),
    // NVIDIA lists 35 P dense; the 50 P "inference" figure counts adaptive compression.
    fp4: Some(35.0 * P),
    hbm_bytes: 288 * GB,
    hbm_mb_per_s: 22_000_000,
    scale_up_mb_per_s: 1_800_000,
    scale_out_mb_per_s: 200_000,
    domain_ranks: 72,
    confidence: Confidence::Preliminary,
    source: "NVIDIA's announcements of Vera Rubin NVL72 (first NVL144, by dies); two ConnectX-9 a GPU",
    ..NVIDIA
};
const TPU: Row = Row {
    latency: DATA_CENTRE,
    domain_topology: DomainTopology::Torus3d,
    source: "Google Cloud TPU docs",
    ..NVIDIA
};

const ROWS: &[Row] = &[
    Row {
        name: "a100-sxm",
        aliases: &["a100", "a100-80", "a100-80gb", "a100-80-sxm", "a100-sxm-80gb"],
        bf16: 312.0 * T,
        hbm_bytes: 80 * GB,
        hbm_mb_per_s: 2_039_000,
        scale_up_mb_per_s: 300_000,
        scale_out_mb_per_s: 25_000,
        source: "NVIDIA A100 80 GB datasheet; one port of 200 Gb/s a GPU",
        ..NVIDIA
    },
    H100,
    Row {
        name: "h100-deepep-ll",
        aliases: &["h100-deepep"],
        scale_up_mb_per_s: 247_115,
        scale_out_mb_per_s: 47_478,
        scale_up_latency: Picos(13_978_000),
        latency: (
            Picos(19_263_000),
            "start-ups of DeepEP's low-latency kernels, wire included, fitted to measured times (railyard calibrate)",
        ),
        kernels: Some(DEEPEP_LL),
        confidence: Confidence::Medium,
        source: "an H100 with the links fitted to DeepEP's low-latency kernels on 1 and 2 nodes of 8 \
                 (performance tables of aiconfigurator-core 0.12.0; docs/trust.md, calibration)",
        ..H100
    },
    Row {
        name: "h800-sxm",
        aliases: &["h800", "h800-80gb"],
        scale_up_mb_per_s: 200_000,
        source: "ISCA sections 4.1 and 4.3: an H100 with NVLink cut to 200 GB/s nominal",
        ..H100
    },
    Row {
        name: "h800-achievable",
        aliases: &["h800-measured"],
        scale_up_mb_per_s: 160_000,
        scale_out_mb_per_s: 40_000,
        confidence: Confidence::Medium,
        source: "ISCA section 4.3: what an H800 reaches of its nominal link rates, 160 and 40 GB/s",
        ..H100
    },
    Row {
        name: "h200-sxm",
        aliases: &["h200", "h200-141gb", "hgx-h200"],
        hbm_bytes: 141 * GB,
        hbm_mb_per_s: 4_800_000,
        source: "NVIDIA H200 datasheet, halved to dense; the same die as H100",
        ..H100
    },
    Row {
        name: "hgx-b200",
        aliases: &["b200", "b200-sxm", "dgx-b200"],
        bf16: 2.25 * P,
        fp8: Some(4.5 * P),
        fp4: Some(9.0 * P),
        hbm_bytes: 180 * GB,
        // Published as 7.7 to 8 TB/s.
        hbm_mb_per_s: 7_700_000,
        scale_up_mb_per_s: 900_000,
        scale_out_mb_per_s: 50_000,
        source: "NVIDIA HGX B200 datasheet, halved to dense; one ConnectX-7 of 400 Gb/s a GPU",
        ..NVIDIA
    },
    GB200,
    Row {
        name: "talk-gb200",
        aliases: &["gb200-talk"],
        scale_out_mb_per_s: 112_500,
        source: "T: a GB200 NVL72 that leaves the rack 8 times slower, as the lecture has it",
        ..GB200
    },
    Row {
        name: "gb300-nvl72",
        aliases: &["gb300", "b300"],
        bf16: 2.5 * P,
        fp8: Some(5.0 * P),
        fp4: Some(15.0 * P),
        hbm_bytes: 288 * GB,
        hbm_mb_per_s: 8_000_000,
        scale_up_mb_per_s: 900_000,
        scale_out_mb_per_s: 100_000,
        domain_ranks: 72,
        source: "NVIDIA GB300 NVL72 datasheet, dense, one direction; one ConnectX-8 of 800 Gb/s a GPU",
        ..NVIDIA
    },
    RUBIN,
    Row {
        name: "talk-rubin",
        aliases: &["rubin-talk"],
        hbm_mb_per_s: 20_000_000,
        scale_out_mb_per_s: 225_000,
        source: "T: Rubin as the lecture has it, 288 GB at 20 TB/s and leaving the rack 8 times slower",
        ..RUBIN
    },
    Row {
        name: "tpu-v5e",
        aliases: &["v5e", "tpuv5e", "tpu-v5-lite"],
        bf16: 197.0 * T,
        fp8: Some(393.0 * T),
        hbm_bytes: 16 * GB,
        hbm_mb_per_s: 819_000,
        scale_up_mb_per_s: 200_000,
        // 6.4 Tb/s per 256 chips.
        scale_out_mb_per_s: 3_125,
        domain_ranks: 256,
        domain_topology: DomainTopology::Torus2d,
        confidence: Confidence::Medium,
        source: "Google Cloud TPU docs; the 8-bit rate is int8; SB counts 4 x 45 of the 200 GB/s as usable",
        ..TPU
    },
    Row {
        name: "tpu-v5p",
        aliases: &["v5p", "tpuv5p"],
        bf16: 459.0 * T,
        // fp8 is computed at the bf16 rate; int8 reaches 918 T.
        fp8: Some(459.0 * T),
        hbm_bytes: 95 * GIB,
        hbm_mb_per_s: 2_765_000,
        scale_up_mb_per_s: 600_000,
        scale_out_mb_per_s: 6_250,
        domain_ranks: 8_960,
        source: "Google Cloud TPU docs; 50 Gb/s a chip between pods; one job has at most 6144 chips",
        ..TPU
    },
    Row {
        name: "tpu-v6e",
        aliases: &["v6e", "tpuv6e", "trillium"],
        bf16: 918.0 * T,
        // fp8 is computed at the bf16 rate; int8 reaches 1836 T.
        fp8: Some(918.0 * T),
        hbm_bytes: 32 * GIB,
        hbm_mb_per_s: 1_638_000,
        scale_up_mb_per_s: 400_000,
        scale_out_mb_per_s: 12_500,
        domain_ranks: 256,
        domain_topology: DomainTopology::Torus2d,
        ..TPU
    },
    Row {
        name: "tpu7x",
        aliases: &["tpu-v7", "tpu-v7x", "v7", "ironwood", "tpu-7x"],
        bf16: 2307.0 * T,
        fp8: Some(4614.0 * T),
        hbm_bytes: 192 * GIB,
        hbm_mb_per_s: 7_380_000,
        scale_up_mb_per_s: 600_000,
        scale_out_mb_per_s: 12_500,
        domain_ranks: 9_216,
        ..TPU
    },
    Row {
        name: "mi300x",
        aliases: &["mi300", "amd-mi300x"],
        bf16: 1307.0 * T,
        fp8: Some(2615.0 * T),
        hbm_bytes: 192 * GB,
        hbm_mb_per_s: 5_300_000,
        scale_up_mb_per_s: 448_000,
        scale_out_mb_per_s: 50_000,
        latency: ROCE,
        domain_topology: DomainTopology::FullMesh,
        confidence: Confidence::Medium,
        source: "AMD MI300X datasheet; 7 links of 64 GB/s in a full mesh, so that one pair gets 64 GB/s",
        ..NVIDIA
    },
    Row {
        name: "mi355x",
        aliases: &["mi355", "amd-mi355x"],
        bf16: 2.517 * P,
        fp8: Some(5.03 * P),
        fp4: Some(10.07 * P),
        hbm_bytes: 288 * GB,
        hbm_mb_per_s: 8_000_000,
        // 7 links of 76.8 GB/s.
        scale_up_mb_per_s: 537_600,
        scale_out_mb_per_s: 50_000,
        latency: ROCE,
        domain_topology: DomainTopology::FullMesh,
        confidence: Confidence::Medium,
        source: "AMD MI355X figures, dense, from secondary copies of the vendor's documents",
        ..NVIDIA
    },
    // GB200's arithmetic, memory and scale-up rates divided by 28,125, so that links of 32 and 4 MB/s run on
    // real processes in real time with the proportions of the lecture (8 times slower outside of the rack).
    // The capacity is not divided: it is what one process of a laptop-sized cluster may use.
    Row {
        name: "lab",
        aliases: &["laptop"],
        bf16: 2.5 * P / 28_125.0,
        fp8: Some(5.0 * P / 28_125.0),
        fp4: Some(10.0 * P / 28_125.0),
        hbm_bytes: GB,
        hbm_mb_per_s: 284,
        scale_up_mb_per_s: 32,
        scale_out_mb_per_s: 4,
        scale_up_latency: Picos(100_000_000),
        latency: (
            Picos(400_000_000),
            "assumption: 100 us in the rack and 400 us between racks, which a process's timers can keep",
        ),
        domain_ranks: 72,
        confidence: Confidence::Preliminary,
        source: "no machine: GB200 NVL72 slowed down 28,125 times, with scale-out at an eighth of scale-up",
        ..NVIDIA
    },
];

/// Products that were announced without the figures that a preset needs.
const INCOMPLETE: &[(&str, &str)] = &[
    ("rubin-ultra-nvl576", "only 1 TB of memory at 32 TB/s and 144 packages of 4 dies were announced"),
    ("rubin-ultra", "only 1 TB of memory at 32 TB/s and 144 packages of 4 dies were announced"),
];

impl Row {
    fn hardware(&self) -> Hardware {
        let rate = |mb_per_s: u64| Rate::new(mb_per_s * MB).expect("presets have links");
        Hardware {
            name: self.name.to_owned(),
            bf16_flops: self.bf16,
            fp8_flops: self.fp8,
            fp4_flops: self.fp4,
            hbm_bytes: self.hbm_bytes,
            hbm_bytes_per_s: self.hbm_mb_per_s * MB,
            scale_up: rate(self.scale_up_mb_per_s),
            scale_out: rate(self.scale_out_mb_per_s),
            scale_up_latency: self.scale_up_latency,
            scale_out_latency: self.latency.0,
            kernels: self.kernels,
            latency_source: self.latency.1.to_owned(),
            domain_ranks: self.domain_ranks,
            domain_topology: self.domain_topology,
            source: self.source.to_owned(),
            confidence: self.confidence,
        }
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
        if let Some(row) =
            ROWS.iter().find(|row| row.name == wanted || row.aliases.contains(&wanted.as_str()))
        {
            return Ok(row.hardware());
        }
        if let Some((_, missing)) = INCOMPLETE.iter().find(|(known, _)| *known == wanted) {
            return Err(HardwareError::Incomplete { name: short, missing });
        }
        let known = ROWS.iter().flat_map(|row| std::iter::once(&row.name).chain(row.aliases));
        let hint = did_you_mean(&wanted, known.copied());
        Err(HardwareError::UnknownPreset { name: short, hint })
    }

    /// The names of all presets, in the order of the table; aliases are not listed.
    pub fn preset_names() -> Vec<&'static str> {
        ROWS.iter().map(|row| row.name).collect()
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
        for row in ROWS {
            for name in std::iter::once(&row.name).chain(row.aliases) {
                assert!(names.insert(*name), "{name} is used twice");
                let hardware = preset(&name.to_uppercase().replace('-', "_"));
                assert_eq!(hardware.name, row.name);
                assert_eq!(hardware.validate(), Ok(()));
                assert!(!hardware.source.is_empty());
                assert!(
                    hardware.kernels.is_some() || hardware.latency_source.contains("assumption"),
                    "{name}"
                );
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
