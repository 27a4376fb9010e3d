//! The small files that words of a scenario name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use topology::did_you_mean;

/// Longest placement, cluster or model file, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The text of a file of at most 32 MiB.
///
/// # Errors
/// Why it can't be read.
pub fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path)
        .map_err(|error| format!("cannot open {}: {error}{}", path.display(), nearest(path)))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(format!("{}: longer than {FILE_BYTES_MAX} bytes; is it the right file?", path.display()));
    }
    Ok(text)
}

/// Names the file beside `path` that is called most like it, where it isn't there.
fn nearest(path: &Path) -> String {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let (Some(name), Ok(entries), false) =
        (path.file_name().and_then(OsStr::to_str), std::fs::read_dir(folder), path.exists())
    else {
        return String::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: BTreeSet<String> = names.collect();
    did_you_mean(name, names.iter().map(String::as_str))
}

/// The name of a cluster file, as opposed to a preset's.
pub(super) fn is_cluster_file(name: &str) -> bool {
    is_file(name, "toml")
}

/// A path, as opposed to a preset's name.
pub(super) fn is_file(name: &str, extension: &str) -> bool {
    has_extension(name, extension) || Path::new(name).is_file()
}

pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
