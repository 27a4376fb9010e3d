//! What one accelerator can do: arithmetic, memory, links; and the roofline time of a piece of work on it.
//!
//! Rates are dense FLOP/s (a multiply and an add are two) and bytes per second in one direction. The presets
//! stand in `presets`.

mod measured;

pub use self::measured::{LayerOverlap, LayerProfile, ServingProfile};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Fabric, Kernel, KernelProfile, LinkSpec, Oversubscription, Picos, Rate, UnitError, named};

/// A number format of weights and of the arithmetic on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// bfloat16, 2 bytes.
    Bf16,
    /// 8-bit floats (e4m3), 1 byte; on chips without them, 8-bit integers.
    Fp8,
    /// 4-bit floats (e2m1), half a byte.
    Fp4,
}

impl Dtype {
    /// Bytes per element, block scales not counted.
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Bf16 => 2.0,
            Self::Fp8 => 1.0,
            Self::Fp4 => 0.5,
        }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("bf16", Self::Bf16), ("fp8", Self::Fp8), ("fp4", Self::Fp4)])
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp4 => "fp4",
        })
    }
}

/// How far the numbers of a preset can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// From the vendor's datasheet or documentation of a shipping part.
    High,
    /// Shipping, but a number is derived or comes from secondary copies of the vendor's documents.
    Medium,
    /// Announced, not shipping; or no real machine at all.
    Preliminary,
}

/// How the ranks of one scale-up domain are wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainTopology {
    /// A non-blocking switch: any port to any port at full rate.
    Crossbar,
    /// A link from each to each: a pair only gets its own link, an all-to-all gets the whole port.
    FullMesh,
    /// A two-dimensional torus; the rate is that of all links of a chip together.
    Torus2d,
    /// A three-dimensional torus; the rate is that of all links of a chip together.
    Torus3d,
}

/// One accelerator and its links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// The preset's name, or any name.
    pub name: String,
    /// Dense FLOP/s of bf16; a multiply and an add are two.
    pub bf16_flops: f64,
    /// Dense FLOP/s at 8 bits, if the chip has them.
    pub fp8_flops: Option<f64>,
    /// Dense FLOP/s at 4 bits, if the chip has them.
    pub fp4_flops: Option<f64>,
    /// Capacity of the memory in bytes.
    pub hbm_bytes: u64,
    /// Rate of the memory in bytes per second.
    pub hbm_bytes_per_s: u64,
    /// Rate of the scale-up port, per direction.
    pub scale_up: Rate,
    /// Rate of the scale-out port, per direction.
    pub scale_out: Rate,
    /// Latency inside a scale-up domain.
    pub scale_up_latency: Picos,
    /// From one scale-up domain to another, first byte.
    pub scale_out_latency: Picos,
    /// Of the uplink of a rack: what its scale-out ports carry over what it carries.
    #[serde(default)]
    pub oversubscription: Oversubscription,
    /// Where measured kernels differ from these links; `None` for a machine described by its links alone.
    #[serde(default)]
    pub kernels: Option<KernelProfile>,
    /// What whole layers were measured to make of arithmetic and memory.
    #[serde(default)]
    pub layer: Option<LayerProfile>,
    /// What of nominal rates these are, where a whole server was measured.
    #[serde(default)]
    pub serving: Option<ServingProfile>,
    /// Where the two latencies come from; says `assumption` where nothing was published.
    pub latency_source: String,
    /// Ranks in the largest scale-up domain that is built.
    pub domain_ranks: u32,
    /// How that domain is wired.
    pub domain_topology: DomainTopology,
    /// Where the other numbers come from.
    pub source: String,
    /// How far they can be relied on.
    pub confidence: Confidence,
}

/// A preset that doesn't exist, or a question that a piece of hardware can't answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum HardwareError {
    /// No preset and no alias has this name.
    #[error("no hardware preset `{name}`{hint}; presets: {}", Hardware::preset_names().collect::<Vec<_>>().join(", "))]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// The nearest name as a question, or nothing.
        hint: String,
    },
    /// A product whose published figures don't suffice for a preset.
    #[error("`{name}` can't be a preset yet: {missing}; describe it in a [hardware] table instead")]
    Incomplete {
        /// Preset that was asked for.
        name: String,
        /// What hasn't been published.
        missing: &'static str,
    },
    /// The chip has no arithmetic of this format.
    #[error("{name} has no {dtype} arithmetic; use {instead}")]
    NoDtype {
        /// Name of the hardware, a preset's or a file's.
        name: String,
        /// The format it lacks.
        dtype: Dtype,
        /// The smallest format it has.
        instead: Dtype,
    },
    /// Work that isn't a finite, nonnegative amount or takes more than 213 days.
    #[error("{flops} FLOP on {bytes} bytes is no work that {name} can be charged for")]
    Work {
        /// Name of the hardware, a preset's or a file's.
        name: String,
        /// Floating-point operations asked for.
        flops: f64,
        /// Bytes of memory traffic asked for.
        bytes: f64,
    },
    /// A rate or size that can't be.
    #[error("{name}: {field} = {value}: {must}")]
    Field {
        /// Name of the hardware, a preset's or a file's.
        name: String,
        /// Field of [`Hardware`] at fault.
        field: &'static str,
        /// Its value, in the field's unit.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
}

impl Hardware {
    /// Dense FLOP/s in `dtype`.
    ///
    /// # Errors
    /// [`HardwareError::NoDtype`] if the chip has no such arithmetic.
    pub fn flops(&self, dtype: Dtype) -> Result<f64, HardwareError> {
        let flops = match dtype {
            Dtype::Bf16 => Some(self.bf16_flops),
            Dtype::Fp8 => self.fp8_flops,
            Dtype::Fp4 => self.fp4_flops,
        };
        let instead = if self.fp8_flops.is_some() { Dtype::Fp8 } else { Dtype::Bf16 };
        flops.ok_or_else(|| HardwareError::NoDtype { name: self.name.clone(), dtype, instead })
    }

    /// The roofline: `max(flops / F, bytes / BW)`, rounded up to whole picoseconds. Arithmetic and memory
    /// traffic overlap completely, so that the slower of the two is the time.
    ///
    /// ```
    /// # use topology::{Dtype, Hardware, Picos};
    /// // 64 rows through one DeepSeek-V3 expert: its 44.0 MB of FP8 weights decide, 5.505024 us.
    /// let weights = 3.0 * 7168.0 * 2048.0;
    /// let time = Hardware::preset("gb200")?.time(2.0 * weights * 64.0, weights, Dtype::Fp8)?;
    /// assert_eq!(time, Picos(5_505_024));
    /// # Ok::<(), topology::HardwareError>(())
    /// ```
    ///
    /// # Errors
    /// [`HardwareError::NoDtype`]; [`HardwareError::Work`] for amounts that are negative, not finite or
    /// endless.
    pub fn time(&self, flops: f64, bytes: f64, dtype: Dtype) -> Result<Picos, HardwareError> {
        let compute = flops * 1e12 / self.flops(dtype)?;
        let memory = bytes * 1e12 / self.hbm_bytes_per_s as f64;
        let picos = compute.max(memory).ceil();
        let sound = flops.is_finite() && flops >= 0.0 && bytes.is_finite() && bytes >= 0.0;
        if !sound || picos.is_nan() || picos >= u64::MAX as f64 {
            return Err(HardwareError::Work { name: self.name.clone(), flops, bytes });
        }
        Ok(Picos(picos as u64))
    }

    /// The links of a cluster of this hardware.
    pub const fn fabric(&self) -> Fabric {
        Fabric {
            scale_up: LinkSpec { rate: self.scale_up, latency: self.scale_up_latency },
            scale_out: LinkSpec { rate: self.scale_out, latency: self.scale_out_latency },
            oversubscription: self.oversubscription,
        }
    }

    /// Leaves of all links between racks what a second job does that takes the share `taken` of each: of the ports of `fabric`, with them
    /// of its uplinks, and of kernels that were measured.
    ///
    /// # Errors
    /// [`UnitError::Background`].
    pub fn share(&mut self, fabric: &mut Fabric, taken: f64) -> Result<(), UnitError> {
        fabric.scale_out.rate = fabric.scale_out.rate.left_by(taken)?;
        self.kernels = self.kernels.take().map(|kernels| {
            kernels.map(|kernel| Kernel {
                scale_out_bytes_per_s: kernel.scale_out_bytes_per_s * (1.0 - taken),
                ..kernel
            })
        });
        Ok(())
    }

    /// Makes ports between racks `throttle` times slower than those in them: of `fabric`, and of kernels that were measured.
    ///
    /// # Errors
    /// [`UnitError::Throttle`].
    pub fn throttle(&mut self, fabric: &mut Fabric, throttle: f64) -> Result<(), UnitError> {
        fabric.scale_out.rate = fabric.scale_up.rate.throttled(throttle)?;
        self.kernels = self.kernels.take().map(|kernels| {
            kernels.map(|kernel| Kernel {
                scale_out_bytes_per_s: kernel.scale_up_bytes_per_s / throttle,
                ..kernel
            })
        });
        Ok(())
    }

    /// Checks what types alone don't: positive rates and sizes.
    ///
    /// # Errors
    /// [`HardwareError::Field`] names the field.
    pub fn validate(&self) -> Result<(), HardwareError> {
        let flops = [
            ("bf16_flops", Some(self.bf16_flops)),
            ("fp8_flops", self.fp8_flops),
            ("fp4_flops", self.fp4_flops),
        ];
        let rates = flops.into_iter().filter_map(|(field, rate)| Some((field, rate?)));
        let sizes = [
            ("hbm_bytes", self.hbm_bytes as f64),
            ("hbm_bytes_per_s", self.hbm_bytes_per_s as f64),
            ("domain_ranks", f64::from(self.domain_ranks)),
        ];
        for (field, value, [least, most]) in self.layer.iter().flat_map(LayerProfile::numbers) {
            if !(least..=most).contains(&value) {
                let must = "must be a share, or a number that is not negative";
                return Err(HardwareError::Field { name: self.name.clone(), field, value, must });
            }
        }
        for (field, value) in rates.chain(sizes) {
            if !(value.is_finite() && value >= 1.0) {
                let must = "must be a finite number of at least 1";
                return Err(HardwareError::Field { name: self.name.clone(), field, value, must });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_arithmetic_and_memory_is_the_time() {
        let hardware = Hardware::preset("gb200").expect("a preset");
        assert_eq!(hardware.time(5e15, 8e12, Dtype::Fp8), Ok(Picos(1_000_000_000_000)));
        assert_eq!(hardware.time(1e16, 8e12, Dtype::Fp8), Ok(Picos(2_000_000_000_000)));
        assert_eq!(hardware.time(5e15, 2.4e13, Dtype::Fp8), Ok(Picos(3_000_000_000_000)));
        assert_eq!(hardware.time(0.0, 0.0, Dtype::Fp4), Ok(Picos::ZERO));
        assert_eq!(hardware.time(1.0, 0.0, Dtype::Fp4), Ok(Picos(1)));
    }

    #[test]
    fn impossible_work_is_refused() {
        let hardware = Hardware::preset("a100").expect("a preset");
        for (flops, bytes) in
            [(-1.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 0.0), (1e40, 0.0)]
        {
            assert!(matches!(hardware.time(flops, bytes, Dtype::Bf16), Err(HardwareError::Work { .. })));
        }
        let error = hardware.time(1.0, 1.0, Dtype::Fp8).expect_err("no fp8").to_string();
        assert_eq!(error, "a100-sxm has no fp8 arithmetic; use bf16");
    }
}
