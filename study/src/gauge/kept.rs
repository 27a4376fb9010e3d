//! What hosts were measured to carry, in a file of the user's cache: a list of a few, replaced whole.
//!
//! Two runs at once may each write theirs; one of them is then measured again some day.

use crate::cached::{program, replace, text_of};
use coordinator::pace::{Figures, Host};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// How long figures hold, seconds.
const FRESH_S: u64 = 24 * 3_600;
/// Most hosts that are kept, newest first.
const KEPT_MAX: usize = 16;
/// Most bytes of a file that is ours.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where figures are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    file: Option<PathBuf>,
}

/// A host with its figures, as the file has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    host: String,
    measured_unix_s: u64,
    bytes_per_s: u64,
    frames_per_s: u64,
    rank_bytes_per_s: u64,
    wake_ns: u64,
    element_fs: u64,
}

impl Kept {
    /// As `host.json` in `folder`; nowhere without one.
    #[must_use]
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Self { file: folder.map(|folder| folder.join("host.json")) }
    }

    /// The figures of `host` with so many ranks, unless they are older than a day at `now_s`.
    #[must_use]
    pub fn find(&self, host: Host, ranks: u32, now_s: u64) -> Option<Figures> {
        let name = name_of(host, ranks);
        let found = read(self.file.as_deref()?).into_iter().find(|entry| entry.host == name)?;
        let fresh = now_s.checked_sub(found.measured_unix_s).is_some_and(|age_s| age_s < FRESH_S);
        let rates = [found.bytes_per_s, found.frames_per_s, found.rank_bytes_per_s];
        (fresh && !rates.contains(&0)).then_some(Figures {
            bytes_per_s: found.bytes_per_s,
            frames_per_s: found.frames_per_s,
            rank_bytes_per_s: found.rank_bytes_per_s,
            wake_ns: found.wake_ns,
            element_fs: found.element_fs,
            measured_unix_s: Some(found.measured_unix_s),
        })
    }

    /// Keeps what was measured; nothing where it was not.
    ///
    /// # Errors
    /// What the system said.
    pub fn keep(&self, host: Host, ranks: u32, figures: Figures) -> io::Result<()> {
        let (Some(file), Some(measured_unix_s)) = (&self.file, figures.measured_unix_s) else {
            return Ok(());
        };
        let own = Entry {
            host: name_of(host, ranks),
            measured_unix_s,
            bytes_per_s: figures.bytes_per_s,
            frames_per_s: figures.frames_per_s,
            rank_bytes_per_s: figures.rank_bytes_per_s,
            wake_ns: figures.wake_ns,
            element_fs: figures.element_fs,
        };
        let others = read(file).into_iter().filter(|entry| entry.host != own.host).take(KEPT_MAX - 1);
        let entries: Vec<Entry> = std::iter::once(own.clone()).chain(others).collect();
        replace(file, &serde_json::to_string_pretty(&entries)?)
    }
}

/// All that the file has; nothing where it is not ours.
fn read(file: &Path) -> Vec<Entry> {
    text_of(file, FILE_BYTES_MAX).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// What figures depend on: this program as it was built, cores, processor, kernel, and how many ranks share them in which way.
fn name_of(host: Host, ranks: u32) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let model = model.split_once(':').map_or("", |(_, model)| model.trim());
    let kind = if host.one_process { "tasks" } else { "processes" };
    format!(
        "railyard {:032x}; {} cores of {model}; {}; {ranks} {kind}",
        program().unwrap_or_default(),
        host.cores,
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };

    fn measured(at_s: u64, bytes_per_s: u64) -> Figures {
        Figures { bytes_per_s, measured_unix_s: Some(at_s), ..Figures::ASSUMED }
    }

    #[test]
    fn figures_are_found_for_a_day_and_for_the_same_host_only() {
        let place = tempfile::tempdir().expect("a directory");
        let kept = Kept::in_folder(Some(place.path().join("deeper")));
        assert_eq!(kept.find(HOST, 16, 5), None);
        kept.keep(HOST, 16, measured(100, 7)).expect("kept");
        kept.keep(HOST, 8, measured(200, 8)).expect("kept");
        assert_eq!(kept.find(HOST, 16, 100 + FRESH_S - 1), Some(measured(100, 7)));
        assert_eq!(kept.find(HOST, 16, 100 + FRESH_S), None, "stale");
        assert_eq!(kept.find(HOST, 16, 99), None, "of another clock");
        assert_eq!(kept.find(Host { cores: 3, ..HOST }, 16, 101), None);
        assert_eq!(kept.find(Host { one_process: true, ..HOST }, 16, 101), None);
        kept.keep(HOST, 16, Figures::ASSUMED).expect("nothing to keep");
        assert_eq!(kept.find(HOST, 8, 201), Some(measured(200, 8)));
    }

    #[test]
    fn a_file_stays_small_and_a_foreign_one_is_replaced() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("host.json");
        std::fs::write(&file, "[{\"host\": 3}]").expect("a file");
        let kept = Kept::in_folder(Some(place.path().to_owned()));
        assert_eq!(kept.find(HOST, 2, 5), None);
        for ranks in 1..40 {
            kept.keep(HOST, ranks, measured(ranks.into(), 1)).expect("kept");
        }
        assert_eq!(read(&file).len(), KEPT_MAX);
        assert!(kept.find(HOST, 39, 40).is_some() && kept.find(HOST, 2, 40).is_none());
        assert_eq!(std::fs::read_dir(place.path()).expect("a directory").count(), 1, "nothing is left over");
        std::fs::write(&file, "[{").expect("a file");
        assert_eq!(kept.find(HOST, 39, 40), None);
    }

    #[test]
    fn a_cache_that_is_nowhere_keeps_nothing() {
        let kept = Kept::in_folder(None);
        kept.keep(HOST, 2, measured(1, 1)).expect("nothing to do");
        assert_eq!(kept.find(HOST, 2, 1), None);
    }
}
