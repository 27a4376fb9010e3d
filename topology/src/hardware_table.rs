//! An accelerator as TOML: the `[hardware]` of a cluster file, a preset, what `railyard hardware NAME` prints.
//!
//! The keys are the fields of [`Hardware`] with their units (docs/hardware.md). What is left out is what a file of one's own may
//! leave out. A number may be written as an integer or as a float.

use crate::{
    Confidence, DomainTopology, Hardware, HardwareError, KernelProfile, LayerProfile, Oversubscription,
    Picos, Rate, ServingProfile,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Spanned, Value};

/// The longest latency that is taken for one: a second.
pub const MAX_LATENCY_US: f64 = 1_000_000.0;

/// What can be wrong with the values of a table.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum HardwareTableProblem {
    /// A parameter of a measured kernel that can't be.
    #[error("kernels.{table}: {key} = {value}: give {must}")]
    Kernel {
        /// Table of the kernel: `dispatch.one_rack`.
        table: &'static str,
        /// Its parameter.
        key: &'static str,
        /// The value.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// A parameter of a measured layer or server that can't be.
    #[error("{table}: {key} = {value}: give a number from {least} to {most}")]
    Measured {
        /// `layer` or `serving`.
        table: &'static str,
        /// Its parameter.
        key: &'static str,
        /// The value.
        value: f64,
        /// Least it can be.
        least: f64,
        /// Most it can be.
        most: f64,
    },
    /// An unknown preset, or an impossible description.
    #[error("hardware: {0}")]
    Hardware(#[from] HardwareError),
    /// A number that can't be.
    #[error("{key} = {value}: give {must}")]
    Number {
        /// Key of the file, as written in it: `scale_up_bytes_per_s`.
        key: &'static str,
        /// Its value as TOML has it.
        value: String,
        /// What it must be.
        must: String,
    },
}

/// A problem and the byte of the text where it stands.
type Located = (usize, HardwareTableProblem);

/// A number as it is written, whole or not.
pub(crate) type Number = Spanned<Value>;

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
    bf16_flops: Number,
    fp8_flops: Option<Number>,
    fp4_flops: Option<Number>,
    hbm_bytes: Number,
    hbm_bytes_per_s: Number,
    scale_up_bytes_per_s: Number,
    scale_out_bytes_per_s: Number,
    scale_up_latency_us: Number,
    scale_out_latency_us: Number,
    oversubscription: Option<Number>,
    latency_source: Option<String>,
    domain_ranks: Number,
    domain_topology: Option<DomainTopology>,
    kernels: Option<Spanned<KernelProfile>>,
    layer: Option<Spanned<LayerProfile>>,
    serving: Option<Spanned<ServingProfile>>,
}

impl HardwareTable {
    /// The checked hardware of a table.
    pub(crate) fn read(table: Self) -> Result<Hardware, Located> {
        Ok(Hardware {
            name: table.name.unwrap_or_else(|| "custom".to_owned()),
            bf16_flops: flops("bf16_flops", &table.bf16_flops)?,
            fp8_flops: table.fp8_flops.map(|number| flops("fp8_flops", &number)).transpose()?,
            fp4_flops: table.fp4_flops.map(|number| flops("fp4_flops", &number)).transpose()?,
            hbm_bytes: whole("hbm_bytes", &table.hbm_bytes)?,
            hbm_bytes_per_s: whole("hbm_bytes_per_s", &table.hbm_bytes_per_s)?,
            scale_up: rate("scale_up_bytes_per_s", &table.scale_up_bytes_per_s)?,
            scale_out: rate("scale_out_bytes_per_s", &table.scale_out_bytes_per_s)?,
            scale_up_latency: picos("scale_up_latency_us", &table.scale_up_latency_us)?,
            scale_out_latency: picos("scale_out_latency_us", &table.scale_out_latency_us)?,
            oversubscription: table.oversubscription.map_or(Ok(Oversubscription::NONE), |number| {
                Oversubscription::new(value(&number))
                    .map_err(|_| wrong("oversubscription", &number, "a number from 1 to 1000"))
            })?,
            kernels: table.kernels.map(kernels).transpose()?,
            layer: table.layer.map(layer).transpose()?,
            serving: table.serving.map(serving).transpose()?,
            latency_source: table.latency_source.unwrap_or_else(|| "assumption: the cluster file".to_owned()),
            domain_ranks: whole("domain_ranks", &table.domain_ranks)?,
            domain_topology: table.domain_topology.unwrap_or(DomainTopology::Crossbar),
            source: table.source.unwrap_or_else(|| "the cluster file".to_owned()),
            confidence: table.confidence.unwrap_or(Confidence::Preliminary),
        })
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
            bf16_flops: float(self.bf16_flops),
            fp8_flops: self.fp8_flops.map(float),
            fp4_flops: self.fp4_flops.map(float),
            hbm_bytes: integer(self.hbm_bytes)?,
            hbm_bytes_per_s: integer(self.hbm_bytes_per_s)?,
            scale_up_bytes_per_s: integer(self.scale_up.bytes_per_s())?,
            scale_out_bytes_per_s: integer(self.scale_out.bytes_per_s())?,
            scale_up_latency_us: float(self.scale_up_latency.as_micros_f64()),
            scale_out_latency_us: float(self.scale_out_latency.as_micros_f64()),
            oversubscription: self.oversubscription.blocks().then(|| float(self.oversubscription.ratio())),
            latency_source: Some(self.latency_source.clone()),
            domain_ranks: integer(self.domain_ranks)?,
            domain_topology: Some(self.domain_topology),
            kernels: self.kernels.clone().map(|kernels| Spanned::new(0..0, kernels)),
            layer: self.layer.clone().map(|layer| Spanned::new(0..0, layer)),
            serving: self.serving.clone().map(|serving| Spanned::new(0..0, serving)),
        };
        toml::to_string(&File { hardware })
    }
}

/// The profile, if every kernel's parameters are what they can be.
fn kernels(profile: Spanned<KernelProfile>) -> Result<KernelProfile, Located> {
    let at = profile.span().start;
    let profile = profile.into_inner();
    for (table, kernel) in profile.kernels() {
        let refuse = |key, value, must| Err((at, HardwareTableProblem::Kernel { table, key, value, must }));
        for (key, value) in kernel.costs() {
            if !(0.0..=1e6).contains(&value) {
                return refuse(key, value, "a number from 0 to 1000000");
            }
        }
        for (key, value) in [
            ("scale_up_bytes_per_s", kernel.scale_up_bytes_per_s),
            ("scale_out_bytes_per_s", kernel.scale_out_bytes_per_s),
        ] {
            if !(1.0..=1e18).contains(&value) {
                return refuse(key, value, "bytes per second from 1 to 1e18");
            }
        }
    }
    Ok(profile)
}

/// The profile of a layer, if its numbers can be.
fn layer(profile: Spanned<LayerProfile>) -> Result<LayerProfile, Located> {
    let at = profile.span().start;
    let profile = profile.into_inner();
    profile.numbers().into_iter().try_for_each(|number| within(at, "layer", number))?;
    Ok(profile)
}

/// The profile of a server, if its number can be.
fn serving(profile: Spanned<ServingProfile>) -> Result<ServingProfile, Located> {
    let at = profile.span().start;
    let profile = profile.into_inner();
    within(at, "serving", ("step_efficiency", profile.step_efficiency, [1e-3, 1.0]))?;
    Ok(profile)
}

fn within(
    at: usize,
    table: &'static str,
    (key, value, [least, most]): (&'static str, f64, [f64; 2]),
) -> Result<(), Located> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err((at, HardwareTableProblem::Measured { table, key, value, least, most }))
}

/// A value on its way out, which stands nowhere yet.
fn float(value: f64) -> Number {
    Spanned::new(0..0, Value::Float(value))
}

fn integer(value: impl Into<u64>) -> Result<Number, toml::ser::Error> {
    let fits = i64::try_from(value.into()).map_err(<toml::ser::Error as serde::ser::Error>::custom)?;
    Ok(Spanned::new(0..0, Value::Integer(fits)))
}

fn wrong(key: &'static str, number: &Number, must: &str) -> Located {
    let (value, must) = (number.get_ref().to_string(), must.to_owned());
    (number.span().start, HardwareTableProblem::Number { key, value, must })
}

/// The value of a number; not one for anything else.
fn value(number: &Number) -> f64 {
    match number.get_ref() {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        _ => f64::NAN,
    }
}

/// A whole number of at least 1 that `T` holds, of at most 2^63 - 1.
fn whole<T: TryFrom<i64>>(key: &'static str, number: &Number) -> Result<T, Located> {
    let whole = match number.get_ref() {
        Value::Integer(value) => Some(*value),
        Value::Float(value) => {
            let fits = value.fract() == 0.0 && value.abs() < i64::MAX as f64;
            fits.then_some(*value as i64)
        }
        _ => None,
    };
    let most = i64::MAX >> (64 - 8 * size_of::<T>());
    let must = || wrong(key, number, &format!("a whole number from 1 to {most}"));
    whole
        .filter(|&value| (1..=most).contains(&value))
        .and_then(|value| value.try_into().ok())
        .ok_or_else(must)
}

fn flops(key: &'static str, number: &Number) -> Result<f64, Located> {
    let value = value(number);
    let possible = value.is_finite() && value >= 1.0;
    possible.then_some(value).ok_or_else(|| wrong(key, number, "a finite number of FLOP/s, at least 1"))
}

fn rate(key: &'static str, number: &Number) -> Result<Rate, Located> {
    Rate::new(whole(key, number)?).map_err(|error| wrong(key, number, &error.to_string()))
}

/// A latency in microseconds, checked.
pub(crate) fn picos(key: &'static str, number: &Number) -> Result<Picos, Located> {
    let micros = value(number);
    let possible = (0.0..=MAX_LATENCY_US).contains(&micros);
    let picos = possible.then(|| Picos::from_micros_f64(micros).ok()).flatten();
    picos.ok_or_else(|| wrong(key, number, &format!("a number of microseconds from 0 to {MAX_LATENCY_US}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_cluster_file;
    use proptest::prelude::*;

    /// A card that has only what it must have, its numbers as `written`.
    fn card(written: [&str; 3]) -> String {
        let [flops, bytes_per_s, ranks] = written;
        format!(
            "[cluster]\nracks = [2]\n[hardware]\nbf16_flops = {flops}\nhbm_bytes_per_s = {bytes_per_s}\nhbm_bytes = 96e9\n\
             scale_up_bytes_per_s = 5_0e9\nscale_out_bytes_per_s = 25000000000\nscale_up_latency_us = 5\n\
             scale_out_latency_us = 10.5\ndomain_ranks = {ranks}\n"
        )
    }

    #[test]
    fn floats_and_integers_are_numbers_alike() {
        let read = |written| parse_cluster_file(&card(written), "card.toml").expect("sound").hardware;
        let floats = read(["500e12", "1.792e12", "8.0"]);
        assert_eq!((floats.hbm_bytes_per_s, floats.domain_ranks), (1_792_000_000_000, 8));
        assert_eq!((floats.bf16_flops, floats.hbm_bytes), (500e12, 96_000_000_000));
        assert_eq!(floats, read(["500_000_000_000_000", "1_792e9", "8"]));
    }

    #[test]
    fn numbers_that_cannot_be_are_named_by_key_and_line() {
        for (written, said) in [
            (["nan", "1", "1"], "card.toml:4: bf16_flops = nan: give a finite number"),
            (["'500e12'", "1", "1"], "card.toml:4: bf16_flops = \"500e12\": give a finite number"),
            (["-1", "1", "1"], "card.toml:4: bf16_flops = -1: give a finite number"),
            (
                ["1", "inf", "1"],
                "card.toml:5: hbm_bytes_per_s = inf: give a whole number from 1 to 9223372036854775807",
            ),
            (["1", "1.5", "1"], "card.toml:5: hbm_bytes_per_s = 1.5: give a whole number"),
            (["1", "-1e12", "1"], "card.toml:5: hbm_bytes_per_s = -1000000000000.0: give a whole number"),
            (
                ["1", "1e19", "1"],
                "card.toml:5: hbm_bytes_per_s = 10000000000000000000.0: give a whole number",
            ),
            (["1", "99999999999999999999", "1"], "card.toml:5: hbm_bytes_per_s: "),
            (
                ["1", "1", "5e9"],
                "card.toml:11: domain_ranks = 5000000000.0: give a whole number from 1 to 2147483647",
            ),
            (["1", "1", "[8]"], "card.toml:11: domain_ranks = [8]: give a whole number"),
        ] {
            let error = parse_cluster_file(&card(written), "card.toml").expect_err("faulty").to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn the_documentation_has_every_key() {
        let page = include_str!("../../docs/hardware.md");
        for name in ["gb200", "h100-deepep-ll", "h200-layer-fused", "h800-serving"] {
            let text = Hardware::preset(name).expect("a preset").to_toml().expect("numbers that fit");
            for key in text.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key)) {
                assert!(
                    page.contains(&format!("| `{key}` |")),
                    "docs/hardware.md should have a row of {key}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn hardware_is_read_back_as_it_was_written(
            bytes in 1..u64::MAX >> 1, flops in 1.0..1e18, picos in 0..1_000_000_000_000_u64, ranks in 1..1_u32 << 31,
        ) {
            let mut hardware = Hardware::preset("h100").expect("a preset");
            (hardware.hbm_bytes, hardware.bf16_flops, hardware.domain_ranks) = (bytes, flops, ranks);
            hardware.scale_up_latency = Picos(picos);
            let text = format!("[cluster]\nracks = [2]\n\n{}", hardware.to_toml().expect("numbers that fit"));
            prop_assert_eq!(parse_cluster_file(&text, "copied.toml").expect("sound").hardware, hardware);
        }
    }

    #[test]
    fn every_preset_is_read_back_as_it_was_written() {
        for hardware in Hardware::presets() {
            let text = format!("[cluster]\nracks = [2]\n\n{}", hardware.to_toml().expect("numbers that fit"));
            let spec = parse_cluster_file(&text, "copied.toml").expect("sound");
            assert_eq!(&spec.hardware, hardware, "{text}");
        }
    }
}
