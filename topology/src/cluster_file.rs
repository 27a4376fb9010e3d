//! The cluster file: racks, hardware and latencies as TOML, with errors that name file and line.
//!
//! ```toml
//! [cluster]
//! name = "two-racks"        # optional
//! racks = [8, 8]            # ranks in each rack; sizes may differ
//! hardware = "gb200"        # a preset; or leave it out and describe a [hardware] table
//! throttle = 8.0            # optional: scale-out = scale-up / throttle, instead of the hardware's own
//! oversubscription = 4.0    # optional: the scale-out ports of a rack over its uplink
//! background = 0.3          # optional: share of all links between racks that a second job takes
//!
//! [latency]                 # optional, each instead of the hardware's own, in microseconds
//! scale_up_us = 1.0
//! scale_out_us = 3.7
//! ```

mod error;
mod tables;

use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use self::error::{ClusterFileError, ClusterFileProblem};
use self::tables::ClusterFile;
use crate::hardware_table::{HardwareTable, HardwareTableProblem, picos};
use crate::{Cluster, Fabric, Hardware, Kernel, Oversubscription, RackId};

/// The longest cluster file: sizes of 65,536 racks fit many times over.
pub const MAX_CLUSTER_FILE_BYTES: usize = 1 << 20;

/// A cluster, what its ranks are made of and how they are linked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// The file's name for it, or the rack sizes and the hardware.
    pub name: String,
    /// The racks of `[cluster] racks`, with every rank in its place.
    pub cluster: Cluster,
    /// The accelerator behind every rank.
    pub hardware: Hardware,
    /// Both link classes: the hardware's own, or what the file puts in their place.
    pub fabric: Fabric,
    /// Share of the links between racks that a second job takes; `fabric` has it still ([`Hardware::share`]).
    pub background: f64,
}

impl ClusterSpec {
    /// The racks that are larger than any scale-up domain of this hardware: allowed, as a what-if.
    pub fn oversized_racks(&self) -> impl Iterator<Item = RackId> + '_ {
        self.cluster.racks().filter(|&rack| self.cluster.rack_size(rack) > self.hardware.domain_ranks)
    }
}

/// Reads a cluster file; `origin` is its name for messages.
///
/// ```
/// # use topology::parse_cluster_file;
/// let text = "[cluster]\nracks = [8, 8]\nhardware = 'gb200'\nthrottle = 8";
/// let spec = parse_cluster_file(text, "two.toml")?;
/// assert_eq!((spec.cluster.num_ranks(), spec.fabric.beta()), (16, 8.0));
///
/// let error = parse_cluster_file("[cluster]\nracks = [8, 0]", "two.toml").unwrap_err();
/// assert!(error.to_string().starts_with("two.toml:2: racks: rack 1 has 0 ranks"));
/// # Ok::<(), topology::ClusterFileError>(())
/// ```
///
/// # Errors
/// [`ClusterFileError`] with the line of the first fault found.
pub fn parse_cluster_file(text: &str, origin: &str) -> Result<ClusterSpec, ClusterFileError> {
    read(text).map_err(|(at, problem)| {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        ClusterFileError { origin: origin.to_owned(), line, problem }
    })
}

/// A problem and the byte of the text where it stands.
type Located = (usize, ClusterFileProblem);

fn read(text: &str) -> Result<ClusterSpec, Located> {
    if text.len() > MAX_CLUSTER_FILE_BYTES {
        return Err((0, ClusterFileProblem::TooLong { bytes: text.len() }));
    }
    let placed = |(at, problem): (usize, HardwareTableProblem)| (at, problem.into());
    let file: ClusterFile = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (at, ClusterFileProblem::Toml(with_key(text, at, error.message())))
    })?;
    let at_cluster = file.cluster.span().start;
    let table = file.cluster.into_inner();
    let cluster = Cluster::new(table.racks.get_ref())
        .map_err(|error| (table.racks.span().start, ClusterFileProblem::Racks(error)))?;
    let mut hardware = match (&table.hardware, file.hardware) {
        (Some(preset), None) => Hardware::preset(preset.get_ref())
            .map_err(|error| (preset.span().start, HardwareTableProblem::Hardware(error).into()))?,
        (None, Some(described)) => HardwareTable::read(described.into_inner()).map_err(placed)?,
        (None, None) => return Err((at_cluster, ClusterFileProblem::NoHardware)),
        (Some(_), Some(described)) => return Err((described.span().start, ClusterFileProblem::TwoHardwares)),
    };
    let mut fabric = hardware.fabric();
    if let Some(throttle) = &table.throttle {
        let beta = *throttle.get_ref();
        hardware
            .throttle(&mut fabric, beta)
            .map_err(|_| (throttle.span().start, ClusterFileProblem::Throttle(beta)))?;
    }
    let shared =
        |key, at: &Spanned<f64>, problem| (at.span().start, ClusterFileProblem::Shared { key, problem });
    if let Some(ratio) = &table.oversubscription {
        fabric.oversubscription = Oversubscription::new(*ratio.get_ref())
            .map_err(|problem| shared("oversubscription", ratio, problem))?;
    }
    if let Some(taken) = &table.background {
        let left = fabric.scale_out.rate.left_by(*taken.get_ref());
        left.map_err(|problem| shared("background", taken, problem))?;
    }
    let background = table.background.map_or(0.0, Spanned::into_inner);
    let given = [
        ("scale_up_us", &file.latency.scale_up_us, &mut fabric.scale_up),
        ("scale_out_us", &file.latency.scale_out_us, &mut fabric.scale_out),
    ];
    for (key, latency, link) in given {
        if let Some(latency) = latency {
            link.latency = picos(key, latency).map_err(placed)?;
            hardware.kernels = hardware.kernels.take().map(|kernels| kernels.map(Kernel::without_start_up));
        }
    }
    let name = table.name.unwrap_or_else(|| default_name(&cluster, &hardware));
    Ok(ClusterSpec { name, cluster, hardware, fabric, background })
}

/// What is wrong at a byte of the text, after the key of its line where the words don't have it.
fn with_key(text: &str, at: usize, message: &str) -> String {
    let start = text.as_bytes()[..at.min(text.len())]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    match line.split_once('=') {
        Some((key, _)) if !message.contains(key.trim()) => format!("{}: {message}", key.trim()),
        _ => message.to_owned(),
    }
}

/// `8+8 x gb200-nvl72`, or `64 racks x gb200-nvl72` where the sizes would be a long list.
fn default_name(cluster: &Cluster, hardware: &Hardware) -> String {
    let sizes: Vec<String> = cluster.rack_sizes().iter().map(u32::to_string).collect();
    if sizes.len() <= 8 {
        format!("{} x {}", sizes.join("+"), hardware.name)
    } else {
        format!("{} racks x {}", sizes.len(), hardware.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picos;

    const INLINE: &str = r#"[cluster]
racks = [2, 3]

[hardware]
bf16_flops = 1e12
hbm_bytes = 1000000000
hbm_bytes_per_s = 10000000000
scale_up_bytes_per_s = 1000000000
scale_out_bytes_per_s = 100000000
scale_up_latency_us = 10
scale_out_latency_us = 20.5
domain_ranks = 2
"#;

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        let error = parse_cluster_file(text, "c.toml").expect_err("faulty").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn a_preset_gives_its_links() {
        let spec =
            parse_cluster_file("[cluster]\nracks = [8, 8]\nhardware = 'GB200'", "c.toml").expect("valid");
        assert_eq!(spec.name, "8+8 x gb200-nvl72");
        assert_eq!(spec.fabric, Hardware::preset("gb200").expect("a preset").fabric());
        assert_eq!(spec.oversized_racks().count(), 0);
    }

    #[test]
    fn throttle_and_latency_replace_the_hardwares_own() {
        let text = "[cluster]\nname = 'x'\nracks = [8]\nhardware = 'gb200'\nthrottle = 8\n\
                    [latency]\nscale_out_us = 0";
        let spec = parse_cluster_file(text, "c.toml").expect("valid");
        assert_eq!(spec.name, "x");
        assert_eq!(spec.fabric.scale_out.rate.bytes_per_s(), 112_500_000_000);
        assert_eq!(
            (spec.fabric.scale_up.latency, spec.fabric.scale_out.latency),
            (Picos(1_000_000), Picos::ZERO)
        );
    }

    #[test]
    fn uplinks_and_a_second_job_are_of_the_links_between_racks() {
        let text = "[cluster]\nracks = [8, 8]\nhardware = 'gb200'\nthrottle = 9\noversubscription = 4\n\
                    background = 0.3";
        let mut spec = parse_cluster_file(text, "c.toml").expect("valid");
        assert_eq!((spec.fabric.oversubscription.ratio(), spec.background), (4.0, 0.3));
        spec.hardware.share(&mut spec.fabric, spec.background).expect("a share");
        assert_eq!(spec.fabric.scale_out.rate.bytes_per_s(), 70_000_000_000, "0.7 of 100 GB/s");
        assert_eq!(spec.fabric.scale_out_share().rate.bytes_per_s(), 17_500_000_000);
        let described = INLINE.replace("domain_ranks", "oversubscription = 2.5\ndomain_ranks");
        let spec = parse_cluster_file(&described, "c.toml").expect("valid");
        assert_eq!(spec.fabric.oversubscription.ratio(), 2.5);
        let again = format!("[cluster]\nracks = [2]\n{}", spec.hardware.to_toml().expect("numbers that fit"));
        assert_eq!(parse_cluster_file(&again, "c.toml").expect("valid").hardware, spec.hardware);
    }

    #[test]
    fn hardware_can_be_described_in_place() {
        let spec = parse_cluster_file(INLINE, "c.toml").expect("valid");
        assert_eq!(spec.name, "2+3 x custom");
        assert_eq!(spec.fabric.scale_out.latency, Picos(20_500_000));
        assert_eq!(spec.oversized_racks().collect::<Vec<_>>(), [RackId(1)]);
    }

    #[test]
    fn faults_name_file_line_and_remedy() {
        check_error("", "c.toml:1: missing field `cluster`");
        check_error("[cluster]\nracks = [8\n", "c.toml:");
        check_error(
            "[cluster]\nracks = [8]\nhardwear = 'x'",
            "c.toml:3: unknown field `hardwear`, expected one of",
        );
        check_error("[cluster]\nracks = [8]\nhardware = 'gb200'\n\n[wat]\n", "c.toml:5: unknown field `wat`");
        check_error(
            "[cluster]\nracks = [8]\nhardware = 'gb20'",
            "c.toml:3: hardware: no hardware preset `gb20`, did you mean `gb200`?",
        );
        check_error(
            "[cluster]\nhardware = 'gb200'\nracks = []",
            "c.toml:3: racks: a cluster needs at least one rack",
        );
        check_error(
            "[cluster]\nhardware = 'gb200'\nracks = [8, -1]",
            "c.toml:3: racks: invalid value: integer `-1`",
        );
        check_error(
            "[cluster]\nhardware = 'gb200'\nracks = [70000]",
            "c.toml:3: racks: 70000 ranks are more",
        );
        check_error("[cluster]\nracks = [8]", "c.toml:1: no hardware; give");
        check_error(&INLINE.replace("3]", "3]\nhardware = 'gb200'"), "c.toml:5: hardware is given twice");
        check_error(&"#".repeat(MAX_CLUSTER_FILE_BYTES + 1), "c.toml:1: the file has 1048577 bytes");
    }

    #[test]
    fn impossible_rates_and_latencies_are_named() {
        let with = |line: &str| format!("[cluster]\nracks = [8]\nhardware = 'gb200'\n{line}");
        for throttle in ["0.0", "-8.0", "nan", "inf", "1e300"] {
            check_error(&with(&format!("throttle = {throttle}")), "c.toml:4: throttle = ");
        }
        for latency in ["-1.0", "nan", "1e7", "inf"] {
            check_error(&with(&format!("[latency]\nscale_up_us = {latency}")), "c.toml:5: scale_up_us = ");
        }
        check_error(
            &with("oversubscription = 0.5"),
            "c.toml:4: oversubscription = 0.5: give a number from 1",
        );
        check_error(&with("background = 1"), "c.toml:4: background = 1: give the share");
        check_error(
            &INLINE.replace("domain_ranks", "oversubscription = 0\ndomain_ranks"),
            "c.toml:12: oversubscription = 0: give a number from 1 to 1000",
        );
        check_error(
            &INLINE.replace("= 100000000\n", "= 0\n"),
            "c.toml:9: scale_out_bytes_per_s = 0: give a whole number",
        );
        check_error(&INLINE.replace("= 1e12", "= 0.0"), "c.toml:5: bf16_flops = 0.0: give a finite number");
        check_error(
            &INLINE.replace("domain_ranks = 2", "domain_ranks = 0"),
            "c.toml:12: domain_ranks = 0: give a whole number",
        );
        check_error(&INLINE.replace("domain_ranks = 2", ""), "c.toml:4: missing field `domain_ranks`");
        check_error(&INLINE.replace("latency_us = 10", "latency_us = 1e9"), "c.toml:10: scale_up_latency_us");
    }
}
