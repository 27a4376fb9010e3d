//! Tiers by name: claim E7's representative parts, with prices that are ours.
//!
//! ASSUMPTION: none of the sources of the equations prices memory, so each part has a round figure of what a gigabyte of it cost
//! to buy in quantity, spread over [`PART_LIFETIME_YEARS`] of use. Power, the server around it, replacement and redundancy are
//! left out: lower bounds. Prices of memory change by factors of two and more within a year; what survives that is their order
//! and the powers of ten between HBM, DRAM, flash and disks. Give your own where it matters.

use blackboard::caches::TIERS;
use blackboard::units::DollarsPerS;
use topology::Rate;

use super::spec::BYTES_PER_GB;
use super::{CacheError, TierSpec};

/// ASSUMPTION: what an accelerator with HBM is rented for; claim E9 takes it for a GB200, claim A20 takes 2.
pub const RANK_USD_PER_HOUR: f64 = 3.0;

/// ASSUMPTION: years over which a part is written off, the time for which drives are commonly warranted.
pub const PART_LIFETIME_YEARS: f64 = 5.0;

const HOURS_PER_YEAR: f64 = 8766.0;

/// Where a preset's price is from.
enum Priced {
    /// HBM can't be bought: it costs what its accelerator does.
    Rented,
    /// Dollars for a gigabyte of 10^9 bytes.
    Bought(f64),
}

/// Short names and prices, in the order of [`TIERS`].
const PRESETS: [(&str, Priced); 7] = [
    ("hbm", Priced::Rented),
    // Server DRAM was $3 to $5 a GB for years and several times that since accelerators compete for the same wafers.
    ("grace-lpddr", Priced::Bought(10.0)),
    ("vera-lpddr", Priced::Bought(10.0)),
    ("ddr5", Priced::Bought(10.0)),
    // Enterprise flash: reported at about 16 times the disk's price for a byte, QLC somewhat below TLC.
    ("nvme", Priced::Bought(0.25)),
    ("qlc", Priced::Bought(0.20)),
    // Nearline disks: $15 to $20 a TB.
    ("hdd", Priced::Bought(0.02)),
];

/// The presets, fast first.
pub fn tier_preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

/// One part of the preset `name`.
///
/// # Errors
/// [`CacheError::UnknownTier`].
///
/// ```
/// # use serving::tiers::tier_preset;
/// let disk = tier_preset("hdd")?;
/// assert_eq!(disk.capacity_bytes, 30_000_000_000_000);
/// assert_eq!(format!("{:.1e}", disk.usd_per_gb_hour), "4.6e-7"); // $0.02 over 43,830 hours
/// # Ok::<(), serving::tiers::CacheError>(())
/// ```
pub fn tier_preset(name: &str) -> Result<TierSpec, CacheError> {
    let Some(index) = PRESETS.iter().position(|(preset, _)| *preset == name) else {
        return Err(CacheError::UnknownTier { name: name.to_owned(), known: tier_preset_names().join(", ") });
    };
    let part = TIERS[index];
    let capacity_bytes = part.capacity.0 as u64;
    let read = Rate::new(part.bandwidth.0 as u64).expect("a part of the table can be read");
    Ok(match PRESETS[index].1 {
        Priced::Rented => TierSpec {
            name: name.to_owned(),
            ..hbm_tier(capacity_bytes, read, DollarsPerS::per_hour(RANK_USD_PER_HOUR))
        },
        Priced::Bought(usd_per_gb) => TierSpec {
            name: name.to_owned(),
            capacity_bytes,
            read_bytes_per_s: read,
            usd_per_gb_hour: usd_per_gb / (PART_LIFETIME_YEARS * HOURS_PER_YEAR),
            in_place: false,
        },
    })
}

/// The memory of an accelerator that costs `rank`, as a tier that attention reads in place, named `hbm`.
///
/// A byte of it costs its share of the accelerator, for it can't be had without. So an accelerator full of waiting caches costs
/// as much as one that computes, which is how claim E8 weighs one against the other.
pub fn hbm_tier(capacity_bytes: u64, read_bytes_per_s: Rate, rank: DollarsPerS) -> TierSpec {
    TierSpec {
        name: "hbm".to_owned(),
        capacity_bytes,
        read_bytes_per_s,
        usd_per_gb_hour: rank.0 * 3600.0 / (capacity_bytes as f64 / BYTES_PER_GB),
        in_place: true,
    }
}
