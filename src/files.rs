//! Reading the small files that options name, and writing files that are there whole or not at all.

use anyhow::Context;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
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
    written_new(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A new file with `text`. What has the name already goes, such as what a crash has left; were it a link, where it leads is not touched.
fn written_new(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Keeps other processes that take it out of `dir` until it is dropped. `None` on a file system without locks, as some clusters have: two
/// processes are then up to the user.
pub(crate) fn lock(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    file.lock().ok().map(|()| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_at_the_new_file_s_name_leads_nowhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("report.html"), dir.path().join("other"));
        fs::write(&other, "theirs").expect("written");
        std::os::unix::fs::symlink(&other, dir.path().join("report.html.new")).expect("a link");
        write_whole(&path, "ours").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "ours");
        assert_eq!(fs::read_to_string(&other).expect("there"), "theirs");
        assert!(!fs::symlink_metadata(&path).expect("there").is_symlink());
        write_whole(&path, "ours again").expect("written over");
        assert_eq!(fs::read_to_string(&path).expect("there"), "ours again");
    }
}
