//! Reading the small files that options name.

use std::path::Path;

/// The text of a file of at most 32 MiB.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    study::scenario::read_file(path).map_err(|problem| anyhow::anyhow!(problem))
}
