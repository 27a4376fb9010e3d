//! Reading the small files that options name.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest placement, cluster or model file, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The text of a file of at most 32 MiB.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.with_context(|| format!("cannot read {}", path.display()))?;
    if bytes as u64 > FILE_BYTES_MAX {
        bail!("{}: longer than {FILE_BYTES_MAX} bytes; is it the right file?", path.display());
    }
    Ok(text)
}
