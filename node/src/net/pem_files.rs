//! The certificate directory: PEM files read with a limit and written whole, keys for their owner alone,
//! errors that name the file.

use super::role::{self, RoleError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the authority's files are called by.
pub(super) const CA_NAME: &str = "ca";
/// Largest PEM file read, in bytes; ours have about 700.
pub(super) const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why certificates could not be made, saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The certificate library failed, which takes a broken random generator or key.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A name that cannot name a process, or a certificate that names nobody.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The files of a process of this name would be those of the authority, or another process's key.
    #[error(
        "`{0}` names other files of the certificate directory (as do `ca`, `ca-...` and `...-key`); choose another name for the process"
    )]
    Reserved(String),
    /// A file that should be there is not.
    #[error("no {}; make the cluster's certificates with `{}`", path.display(), certs(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// An authority is there already; replacing it would lock out every process that it certified.
    #[error("{} exists already; use it, or choose an empty directory for a new cluster", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that is no longer valid.
    #[error(
        "{} ended {} ago; renew it with `{} --renew` where the authority's key is, or set the clock right",
        path.display(), days(*ago), certs(path)
    )]
    Ended {
        /// The file.
        path: PathBuf,
        /// How long ago.
        ago: Duration,
    },
    /// The authority is no longer valid, and with it no certificate that it has signed.
    #[error("{} has ended; make a new cluster's certificates with `railyard certs` in an empty directory", path.display())]
    AuthorityEnded {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of a name that was removed.
    #[error(
        "{}: `{name}` was removed from the cluster; to admit it again, where the authority's key is: `{} --node {name}` (or --client)",
        path.display(), certs(path)
    )]
    Removed {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Too long a list of removed names.
    #[error(
        "{most} names were removed under this authority, and no more can be; make a new one in an empty directory"
    )]
    TooManyRemoved {
        /// The most.
        most: usize,
    },
    /// A file that cannot be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that holds something else than its name says.
    #[error("{} {problem}; {}", path.display(), remedy(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The command that makes the certificates of the directory of `path`: which names AUTHORITY where the key that signs is elsewhere, and EACH
/// where a process has a directory of its own name.
fn certs(path: &Path) -> String {
    let dir = path.parent().unwrap_or_else(|| Path::new("DIR"));
    if paths(dir, CA_NAME).1.exists() || !paths(dir, CA_NAME).0.exists() {
        return format!("railyard certs {}", dir.display());
    }
    let each = dir.parent().filter(|_| dir.file_name().is_some_and(|own| own == process(path).as_str()));
    let each = each.map_or_else(String::new, |each| format!(" --each {}", each.display()));
    format!("railyard certs AUTHORITY{each}")
}

/// Whose file `path` is: NAME of `NAME.pem` and `NAME-key.pem`.
fn process(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_suffix("-key").unwrap_or(&stem).to_owned()
}

/// What to do where `path` holds something else than it should.
fn remedy(path: &Path) -> String {
    let name = process(path);
    if name == CA_NAME {
        return "put back the authority's own, or make a new cluster's certificates with `railyard certs` in an empty directory"
            .to_owned();
    }
    if name.starts_with("ca-") {
        return if certs(path).contains("AUTHORITY") {
            format!("have it written again with `{} --renew` where the authority's key is", certs(path))
        } else {
            format!(
                "put back another process's, or remove it and all removed names anew: `{} --remove NAME`",
                certs(path)
            )
        };
    }
    let (certificate, key) = paths(path.parent().unwrap_or_else(|| Path::new("")), &name);
    let pair = format!("remove {} and {}", certificate.display(), key.display());
    format!("{pair}, and have new ones made with `{} --node {name}` (or --client)", certs(path))
}

/// A time that is told: days, or hours where it is less than two.
pub(super) fn days(time: Duration) -> String {
    match time.as_secs() / 3600 {
        hours @ 0..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

/// Checks that `name` may name a process's files: one DNS label that is no other file's.
///
/// # Errors
/// [`CertError::Role`] or [`CertError::Reserved`].
pub(super) fn check_free(name: &str) -> Result<(), CertError> {
    role::check_name(name)?;
    if name == CA_NAME || name.starts_with("ca-") || name.ends_with("-key") {
        return Err(CertError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// PEM text of `der`, with line feeds as the authority's own files have them.
pub(super) fn pem_text(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

/// `NAME.pem` and `NAME-key.pem` in `dir`.
pub(super) fn paths(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem")))
}

pub(super) fn content(path: &Path, problem: String) -> CertError {
    CertError::Content { path: path.to_owned(), problem }
}

pub(super) fn create_dir(dir: &Path) -> Result<(), CertError> {
    fs::create_dir_all(dir).map_err(|source| CertError::File { verb: "write", path: dir.to_owned(), source })
}

pub(super) fn read_file(path: &Path) -> Result<String, CertError> {
    let length = fs::metadata(path).map(|metadata| metadata.len());
    if length.is_ok_and(|bytes| bytes > PEM_BYTES_MAX) {
        return Err(content(path, format!("has more than {PEM_BYTES_MAX} bytes")));
    }
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CertError::Missing { path: path.to_owned() },
        _ => CertError::File { verb: "read", path: path.to_owned(), source },
    })
}

/// The file's text and the first certificate in it.
pub(super) fn read_certificate(path: &Path) -> Result<(String, CertificateDer<'static>), CertError> {
    let text = read_file(path)?;
    let certificate = CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| content(path, format!("holds no certificate: {error}")))?;
    Ok((text, certificate))
}

/// Writes a file as a whole: a reader sees the old text or the new one.
pub(super) fn write_file(path: &Path, text: &str, secret: bool) -> Result<(), CertError> {
    let write = || {
        let partial = path.with_extension("pem.partial");
        if let Err(error) = fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
        let mut file = options.open(&partial)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        fs::rename(&partial, path)
    };
    write().map_err(|source| CertError::File { verb: "write", path: path.to_owned(), source })
}
