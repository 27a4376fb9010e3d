//! Words with values of their own, each with the one way in which it is read and written.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use topology::{Fabric, Kernel, KernelProfile, MAX_LATENCY_US, Picos, did_you_mean, named, serde_as_text};

/// Most seeds of one comparison or experiment.
pub const SEEDS_MAX: usize = 1_000;

/// A word or number that an option doesn't take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{value}`{hint}: {remedy}")]
pub struct ChoiceError {
    value: String,
    hint: String,
    remedy: &'static str,
}

/// Refuses a value that begins with none of `words`.
fn refused(value: &str, words: &[&'static str], remedy: &'static str) -> ChoiceError {
    let hint = did_you_mean(value.split(':').next().unwrap_or(value), words.iter().copied());
    ChoiceError { value: value.chars().take(80).collect(), hint, remedy }
}

/// How a row comes by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Closed forms: expected copies over link rates, no straggler.
    Analytic,
    /// The ranks' own state machines on a virtual clock.
    Sim,
    /// Real processes over QUIC on the wall clock.
    Quic,
}

impl BackendKind {
    /// Every backend, in the order in which they run.
    pub const ALL: [Self; 3] = [Self::Analytic, Self::Sim, Self::Quic];

    /// The backend's name, as written and parsed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analytic => "analytic",
            Self::Sim => "sim",
            Self::Quic => "quic",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &Self::ALL.map(|kind| (kind.name(), kind)))
    }
}

/// One backend, or all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BackendWord {
    /// `all`.
    All,
    /// One, by its name.
    One(BackendKind),
}

impl BackendWord {
    /// The backends that `words` name, ascending.
    #[must_use]
    pub fn kinds(words: &[Self]) -> Vec<BackendKind> {
        let named = |kind: &BackendKind| words.contains(&Self::All) || words.contains(&Self::One(*kind));
        BackendKind::ALL.into_iter().filter(named).collect()
    }
}

impl fmt::Display for BackendWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::One(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for BackendWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = BackendKind::ALL.map(|kind| (kind.name(), Self::One(kind)));
        named(text, &[&one[..], &[("all", Self::All)]].concat())
    }
}

/// The single rack that the others are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseChoice {
    /// All ranks in one rack.
    Ranks,
    /// The first rack alone, with as many tokens a rank.
    Rack,
}

impl FromStr for BaseChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, &[("ranks", Self::Ranks), ("rack", Self::Rack)])
    }
}

/// Link latencies of a set of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LatencyChoice {
    /// None, as the closed forms assume.
    Zero,
    /// The hardware's or cluster file's own.
    Preset,
    /// These.
    Given {
        /// Inside a rack.
        scale_up: Picos,
        /// Between racks.
        scale_out: Picos,
    },
}

impl LatencyChoice {
    /// `kernels` with these latencies; only the preset's own leave the kernels' start-ups.
    #[must_use]
    pub fn apply_to_kernels(self, kernels: KernelProfile) -> KernelProfile {
        match self {
            Self::Preset => kernels,
            Self::Zero | Self::Given { .. } => kernels.map(Kernel::without_start_up),
        }
    }

    /// `fabric` with these latencies.
    #[must_use]
    pub fn apply(self, fabric: Fabric) -> Fabric {
        match self {
            Self::Zero => fabric.without_latency(),
            Self::Preset => fabric,
            Self::Given { scale_up, scale_out } => {
                let mut given = fabric;
                given.scale_up.latency = scale_up;
                given.scale_out.latency = scale_out;
                given
            }
        }
    }
}

impl fmt::Display for LatencyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.pad("zero"),
            Self::Preset => f.pad("preset"),
            Self::Given { scale_up, scale_out } => {
                f.pad(&format!("{},{}", scale_up.as_micros_f64(), scale_out.as_micros_f64()))
            }
        }
    }
}

impl FromStr for LatencyChoice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        const REMEDY: &str =
            "a latency is zero, preset, or two numbers of microseconds up to 1000000: in-rack,between-racks";
        let micros = |text: &str| {
            let micros: f64 = text.trim().parse().ok()?;
            let sound = (0.0..=MAX_LATENCY_US).contains(&micros);
            if sound { Picos::from_micros_f64(micros).ok() } else { None }
        };
        match text {
            "zero" => Ok(Self::Zero),
            "preset" => Ok(Self::Preset),
            _ => text
                .split_once(',')
                .and_then(|(up, out)| Some(Self::Given { scale_up: micros(up)?, scale_out: micros(out)? }))
                .ok_or_else(|| refused(text, &["zero", "preset"], REMEDY)),
        }
    }
}

/// A gate that the table has rows for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateChoice {
    /// A token may go to experts of every rack.
    Unlimited,
    /// A token's experts lie in at most so many racks.
    Limit(u32),
}

impl fmt::Display for GateChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.pad("unlimited"),
            Self::Limit(racks) => f.pad(&format!("limit:{racks}")),
        }
    }
}

impl FromStr for GateChoice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let racks =
            text.strip_prefix("limit:").and_then(|racks| racks.parse().ok()).filter(|&racks| racks > 0);
        racks.map(Self::Limit).ok_or_else(|| {
            refused(
                text,
                &["unlimited", "limit"],
                "a gate is `unlimited`, or `limit:M` with M racks a token, at least 1",
            )
        })
    }
}

/// Seeds, as one word: whole numbers and ranges with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Seeds {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        const REMEDY: &str = "give whole numbers and ranges with commas between them, such as 1,2,7 or 1-5";
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let range = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (range.0.parse::<u64>(), range.1.parse::<u64>()) else {
                return Err(refused(text, &[], REMEDY));
            };
            if first > last {
                return Err(refused(text, &[], "a range goes up, such as 1-5"));
            }
            if last - first >= SEEDS_MAX as u64 {
                return Err(refused(text, &[], REMEDY));
            }
            seeds.extend(first..=last);
        }
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refused(text, &[], "one of the seeds stands twice; give each once"));
        }
        Ok(Self(seeds))
    }
}

/// Wall time of a phase over its emulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dilation {
    /// As little as this machine can follow, per row.
    Auto,
    /// This factor, for communication and compute alike.
    Fixed(u64),
}

impl fmt::Display for Dilation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(factor) => f.pad(&factor.to_string()),
        }
    }
}

impl FromStr for Dilation {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let factor = text.parse().ok().filter(|factor| (1..=1_000_000_000).contains(factor));
        factor.map(Self::Fixed).ok_or_else(|| {
            refused(text, &["auto"], "a dilation is `auto` or a whole number from 1 to 1000000000")
        })
    }
}

serde_as_text!(BackendWord, LatencyChoice, GateChoice, Seeds, Dilation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for latency in ["zero", "preset", "1,3.7"] {
            assert_eq!(latency.parse::<LatencyChoice>().expect(latency).to_string(), latency);
        }
        for gate in ["unlimited", "limit:1", "limit:4"] {
            assert_eq!(gate.parse::<GateChoice>().expect(gate).to_string(), gate);
        }
        for dilation in ["auto", "500"] {
            assert_eq!(dilation.parse::<Dilation>().expect(dilation).to_string(), dilation);
        }
        for kind in BackendKind::ALL {
            assert_eq!(kind.name().parse::<BackendKind>().expect("a name"), kind);
        }
    }

    #[test]
    fn other_words_are_refused_with_a_remedy() {
        for latency in ["", "1", "1,-1", "nan,1", "1,2,3", "1,2000000"] {
            assert!(latency.parse::<LatencyChoice>().is_err(), "{latency}");
        }
        for gate in ["", "limit", "limit:0", "limit:-1", "limit:x"] {
            assert!(gate.parse::<GateChoice>().is_err(), "{gate}");
        }
        for dilation in ["0", "-1", "fast", "1.5"] {
            assert!(dilation.parse::<Dilation>().is_err(), "{dilation}");
        }
        let error = "qick".parse::<BackendWord>().expect_err("no backend");
        assert_eq!(error, "`qick`, did you mean `quic`?: give analytic, sim, quic or all");
    }

    #[test]
    fn lists_of_seeds() {
        assert_eq!("1,5-7".parse(), Ok(Seeds(vec![1, 5, 6, 7])));
        for wrong in ["", "a", "1,", "5-1", "0-1000000", "-1"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }
}
