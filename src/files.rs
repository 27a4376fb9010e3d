//! Reading the small files that options name, and writing files that are there whole or not at all.

use anyhow::Context;
use std::fs::{self, File};
use std::path::Path;

/// The text of a file of at most 32 MiB.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    study::scenario::read_file(path).map_err(|problem| anyhow::anyhow!(problem))
}

/// Writes `text` to `path`: whoever reads it meanwhile has the whole of the old file or of the new one.
pub(crate) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = fs::write(&new, text)
        .and_then(|()| File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Keeps other processes that take it out of `dir` until it is dropped. `None` on a file system without locks, as some clusters have: two
/// processes are then up to the user.
pub(crate) fn lock(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    file.lock().ok().map(|()| file)
}
