//! Files of the user's cache: read if they are files, replaced whole, and told from those of another build.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::LazyLock;
use twox_hash::XxHash3_128;

/// What is in a file, as far as `bytes_max`; `None` for anything else that has its name: a pipe or a device would be waited for.
pub(crate) fn text_of(path: &Path, bytes_max: u64) -> Option<String> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut text = String::new();
    File::open(path).ok()?.take(bytes_max).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes `path` whole or not at all, and makes its folder.
///
/// # Errors
/// What the system said.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Hash of the program that runs; `None` if it can't be read.
pub(crate) fn program() -> Option<u128> {
    static PROGRAM: LazyLock<Option<u128>> = LazyLock::new(|| {
        let mut hash = Hashed(XxHash3_128::new());
        io::copy(&mut File::open(std::env::current_exe().ok()?).ok()?, &mut hash).ok()?;
        Some(hash.0.finish_128())
    });
    *PROGRAM
}

/// A hash as something to write to.
pub(crate) struct Hashed(pub(crate) XxHash3_128);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
