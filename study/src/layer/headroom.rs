//! How much memory is to be had here: the least that the machine, the cgroups around this process and its own limits leave.
//!
//! The machine's own number is no limit inside a container or a job of a batch system: what exceeds the cgroup's is killed, what exceeds
//! a process's limit fails to allocate.

use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::path::{Path, PathBuf};

/// Share of what is left that is taken unless it is told otherwise.
const DEFAULT_SHARE: f64 = 0.75;
/// A limit of version 1 that is larger than any machine says that there is none.
const UNLIMITED: u64 = 1 << 60;

/// The most memory that something may take, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub bytes: u64,
    whose: String,
}

impl MemoryLimit {
    /// As it was told, else three quarters of what is left here; `None` where nothing is known (not Linux).
    #[must_use]
    pub fn new(told: Option<u64>) -> Option<Self> {
        if let Some(bytes) = told {
            return Some(Self { bytes, whose: "--memory-limit".to_owned() });
        }
        let (left, whose) = left_here(Path::new("/"), limits_of_process())?;
        let whose = format!("{:.0}% of the {} that {whose}", DEFAULT_SHARE * 100.0, for_people(left));
        Some(Self { bytes: (left as f64 * DEFAULT_SHARE) as u64, whose })
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", for_people(self.bytes), self.whose)
    }
}

/// A size in GB or MB.
pub(super) fn for_people(bytes: u64) -> String {
    if bytes >= 1_000_000_000 {
        format!("{:.1} GB", bytes as f64 / 1e9)
    } else {
        format!("{:.0} MB", (bytes as f64 / 1e6).ceil())
    }
}

/// The least that is left by any limit, and by whose; `root` is `/`, and `limits` this process's own, but for tests.
fn left_here(root: &Path, limits: [Option<u64>; 2]) -> Option<(u64, String)> {
    let machine = of_machine(root).map(|bytes| (bytes, "this machine has available".to_owned()));
    let cgroups = cgroups(root).into_iter().filter_map(|directory| of_cgroup(&directory));
    machine.into_iter().chain(cgroups).chain(of_process(root, limits)).min_by_key(|(bytes, _)| *bytes)
}

/// What the kernel says is available on the machine.
fn of_machine(root: &Path) -> Option<u64> {
    kilobytes(&root.join("proc/meminfo"), "MemAvailable:")
}

/// What this process's limits are, of its address space and of its data.
fn limits_of_process() -> [Option<u64>; 2] {
    [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current)
}

/// What they leave. Workers have the same limits, each for itself: what is estimated for all of them is held against one.
fn of_process(root: &Path, limits: [Option<u64>; 2]) -> impl Iterator<Item = (u64, String)> {
    let status = root.join("proc/self/status");
    let kinds = [
        ("VmSize:", "the limit of address space (`ulimit -v`) leaves"),
        ("VmData:", "the limit of data (`ulimit -d`) leaves"),
    ];
    kinds.into_iter().zip(limits).filter_map(move |((used, whose), limit)| {
        Some((limit?.saturating_sub(kilobytes(&status, used).unwrap_or(0)), whose.to_owned()))
    })
}

fn kilobytes(file: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Directories of the cgroups that this process is in, up to the roots that it sees, of version 2 and of version 1.
///
/// A path that isn't there is one of another namespace: then what is mounted is the container's own.
fn cgroups(root: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut directories = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mounts: &[&str] = match controllers {
            "" => &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
            _ if controllers.split(',').any(|name| name == "memory") => &["sys/fs/cgroup/memory"],
            _ => continue,
        };
        for mount in mounts {
            let path = Path::new(path.trim_start_matches('/'));
            directories.extend(path.ancestors().map(|above| root.join(mount).join(above)));
        }
    }
    directories
}

/// What a cgroup's limit leaves; what it keeps of files that nobody uses can be had.
fn of_cgroup(directory: &Path) -> Option<(u64, String)> {
    let number = |file: &str| std::fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok();
    [
        ("memory.max", "memory.current", "inactive_file "),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    ]
    .into_iter()
    .find_map(|(limit, used, unused)| {
        let bytes = number(limit).filter(|&bytes| bytes < UNLIMITED)?;
        let statistics = std::fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let files = statistics.lines().find_map(|line| line.strip_prefix(unused)?.trim().parse::<u64>().ok());
        let taken = number(used).unwrap_or(0).saturating_sub(files.unwrap_or(0));
        let file = directory.join(limit);
        Some((bytes.saturating_sub(taken), format!("the cgroup's limit ({}) leaves", file.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of files.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(cgroup: &str) -> Self {
            let machine = Self(tempfile::tempdir().expect("a directory"));
            machine.file("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n");
            machine.file("proc/self/cgroup", cgroup);
            machine
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }

        fn left(&self) -> (u64, String) {
            left_here(self.0.path(), [None; 2]).expect("known")
        }
    }

    #[test]
    fn the_machine_counts_where_nothing_else_does() {
        let machine = Machine::new("0::/user.slice\n");
        machine.file("sys/fs/cgroup/user.slice/memory.max", "max\n");
        assert_eq!(machine.left(), (8_192_000_000, "this machine has available".to_owned()));
    }

    #[test]
    fn the_least_of_all_cgroups_above_counts_less_what_is_used_of_it() {
        let machine = Machine::new("0::/job/step\n");
        machine.file("sys/fs/cgroup/job/memory.max", "1000000000\n");
        machine.file("sys/fs/cgroup/job/memory.current", "400000000\n");
        machine.file("sys/fs/cgroup/job/memory.stat", "anon 100\ninactive_file 100000000\n");
        machine.file("sys/fs/cgroup/job/step/memory.max", "max\n");
        let (bytes, whose) = machine.left();
        assert_eq!(bytes, 700_000_000);
        assert!(whose.contains("job/memory.max"), "{whose}");
    }

    #[test]
    fn version_1_and_a_path_of_another_namespace_are_read() {
        let machine = Machine::new("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
        machine.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000000\n");
        machine.file("sys/fs/cgroup/memory/memory.usage_in_bytes", "600000000\n");
        machine.file("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 200000000\n");
        let (bytes, whose) = machine.left();
        assert_eq!(bytes, 100_000_000);
        assert!(whose.contains("memory/memory.limit_in_bytes"), "{whose}");
        machine.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine.left().0, 8_192_000_000);
    }

    #[test]
    fn limits_of_the_process_count_less_what_it_has() {
        let machine = Machine::new("");
        machine.file("proc/self/status", "VmSize:\t  1000 kB\nVmData:\t 500 kB\n");
        let (bytes, whose) = left_here(machine.0.path(), [Some(2_000_000), Some(1_500_000)]).expect("known");
        assert_eq!(bytes, 2_000_000 - 1_024_000);
        assert!(whose.contains("ulimit -v"), "{whose}");
        let (bytes, whose) = left_here(machine.0.path(), [None, Some(100)]).expect("known");
        assert_eq!(bytes, 0);
        assert!(whose.contains("ulimit -d"), "{whose}");
    }

    #[test]
    fn a_limit_that_was_told_is_the_limit() {
        let limit = MemoryLimit::new(Some(1_100_000_000)).expect("told");
        assert_eq!(limit.to_string(), "1.1 GB (--memory-limit)");
    }
}
