//! A process's certificate and key, the authority that it trusts and the names that it refuses: all that TLS needs, from one directory.

use super::pem_files::{
    CA_NAME, CertError, check_free, content, create_dir, paths, pem_text, read_certificate, read_file,
    write_file,
};
use super::removed::Removed;
use super::role::{self, Role};
use super::validity::{end_of, left};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use twox_hash::XxHash3_64;

/// A process's certificate, its key, and the authority it trusts: all that TLS needs.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trusted: CertificateDer<'static>,
    removed: Option<Removed>,
    role: Role,
    name: String,
    home: Option<PathBuf>,
    /// What was said of it last, by kind: a process may have several endpoints.
    said: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Identity {
    /// What an authority has just issued; it lies in no directory.
    pub(super) fn issued(
        name: &str,
        role: Role,
        (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
        trusted: CertificateDer<'static>,
        removed: Option<Removed>,
    ) -> Self {
        Self {
            chain: vec![certificate],
            key,
            trusted,
            removed,
            role,
            name: name.to_owned(),
            home: None,
            said: Arc::default(),
        }
    }

    /// Writes `ca.pem`, `NAME.pem` and `NAME-key.pem` (mode 0600) into `dir`, which is created if need be.
    /// Files of an earlier certificate of that name are replaced.
    ///
    /// # Errors
    /// [`CertError::File`] if `dir` cannot be written; [`CertError::Exists`] if its `ca.pem` is another
    /// authority's.
    pub fn save(&self, dir: &Path) -> Result<(), CertError> {
        create_dir(dir)?;
        let ca_path = paths(dir, CA_NAME).0;
        if !ca_path.exists() {
            write_file(&ca_path, &pem_text("CERTIFICATE", &self.trusted), false)?;
        } else if read_certificate(&ca_path)?.1 != self.trusted {
            return Err(CertError::Exists { path: ca_path });
        }
        if let Some(removed) = &self.removed {
            removed.save(dir)?;
        }
        let (certificate, key) = paths(dir, &self.name);
        write_file(&key, &pem_text("PRIVATE KEY", self.key.secret_der()), true)?;
        let chain: String =
            self.chain.iter().map(|certificate| pem_text("CERTIFICATE", certificate)).collect();
        write_file(&certificate, &chain, false)
    }

    /// Reads `ca.pem`, `NAME.pem`, `NAME-key.pem` and the list of removed names from `dir`, and checks that they belong together.
    ///
    /// # Errors
    /// [`CertError::Missing`], [`CertError::File`] or [`CertError::Content`], naming the file;
    /// [`CertError::Ended`] or [`CertError::Removed`] where the certificate is no longer valid;
    /// [`CertError::Role`] if `name` is not one DNS label.
    pub fn load(dir: &Path, name: &str) -> Result<Self, CertError> {
        check_free(name)?;
        let (certificate_path, key_path) = paths(dir, name);
        let trusted = read_certificate(&paths(dir, CA_NAME).0)?.1;
        let certificate = read_certificate(&certificate_path)?.1;
        let key_pem = read_file(&key_path)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| content(&key_path, format!("holds no private key: {error}")))?;
        let removed = Removed::load(dir)?;
        verify(&certificate, &trusted, removed.as_ref(), UnixTime::now())
            .map_err(|error| not_valid(error, dir, name))?;
        let (role, found) =
            role::identify(&certificate).map_err(|error| content(&certificate_path, error.to_string()))?;
        if found != name {
            return Err(content(&certificate_path, format!("is the certificate of {role} `{found}`")));
        }
        Ok(Self {
            chain: vec![certificate],
            key,
            trusted,
            removed,
            role,
            name: found,
            home: Some(dir.to_owned()),
            said: Arc::default(),
        })
    }

    /// Reads it again from where it was loaded; itself where it lies in no directory.
    ///
    /// # Errors
    /// Those of [`Self::load`], and [`CertError::Exists`] where another authority has moved in.
    pub(super) fn again(&self) -> Result<Self, CertError> {
        let Some(home) = &self.home else { return Ok(self.clone()) };
        let found = Self { said: Arc::clone(&self.said), ..Self::load(home, &self.name)? };
        if found.trusted != self.trusted || found.role != self.role {
            return Err(CertError::Exists { path: paths(home, CA_NAME).0 });
        }
        Ok(found)
    }

    /// The same, for good: a process that lives as long as its directory need not look there again.
    #[must_use]
    pub fn fixed(mut self) -> Self {
        self.home = None;
        self
    }

    /// The files that it was read from; none where it lies in no directory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let Some(home) = &self.home else { return Vec::new() };
        let (certificate, key) = paths(home, &self.name);
        vec![certificate, key, Removed::path(home)]
    }

    /// Whether nothing of what `other` shows and trusts is another.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain && self.removed == other.removed
    }

    /// A text that is another one for another certificate or list.
    pub(super) fn state(&self) -> String {
        let list = self.removed.as_ref().map(Removed::der);
        let digest = |der: &[u8]| XxHash3_64::oneshot(der);
        format!(
            "{:x} {:x}",
            self.chain.first().map_or(0, |der| digest(der)),
            list.map_or(0, |der| digest(der))
        )
    }

    /// Whether another line of this `kind`, or none, was said last in this process.
    pub(super) fn is_news(&self, kind: &'static str, line: String) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let news = said.get(kind) != Some(&line);
        said.insert(kind, line);
        news
    }

    /// Names and roles of the certificates in `dir`, valid or not, in the order of names. What is no process's certificate is left out.
    ///
    /// # Errors
    /// [`CertError`] if `dir` cannot be read, or has a key whose certificate is broken.
    pub fn names_in(dir: &Path) -> Result<Vec<(String, Role)>, CertError> {
        let unreadable = |source| CertError::File { verb: "read", path: dir.to_owned(), source };
        let mut names = Vec::new();
        for entry in dir.read_dir().map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let has_key = paths(dir, stem).1.exists();
            let certificate = match read_certificate(&path) {
                Ok((_, certificate)) => certificate,
                // A process's, and broken: whoever renews all must know.
                Err(error) if has_key && path == paths(dir, stem).0 => return Err(error),
                Err(_) => continue,
            };
            if let Ok((role, name)) = role::identify(&certificate)
                && path == paths(dir, &name).0
            {
                names.push((name, role));
            }
        }
        names.sort();
        Ok(names)
    }

    /// What the process may be.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The process's name, one DNS label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certificate that the process shows.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificate of the authority that the process trusts, and of no other.
    pub fn trusted(&self) -> &CertificateDer<'static> {
        &self.trusted
    }

    /// The names that the process refuses.
    pub(super) fn removed(&self) -> Option<&Removed> {
        self.removed.as_ref()
    }

    /// How long the certificate is still valid; `Err` holds how long ago it ended.
    ///
    /// # Errors
    /// How long ago it ended.
    pub fn left(&self) -> Result<Duration, Duration> {
        let now = UnixTime::now();
        // It was read before, or made here.
        left(self.chain.first().and_then(|shown| end_of(shown).ok()).unwrap_or(now), now)
    }

    /// The private key of the certificate.
    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The same certificate and key, but trusting the authority that `other` trusts: a member that was deceived.
    #[cfg(test)]
    pub(super) fn trusting(mut self, other: &Self) -> Self {
        self.trusted = other.trusted.clone();
        self
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            trusted: self.trusted.clone(),
            removed: self.removed.clone(),
            home: self.home.clone(),
            said: Arc::clone(&self.said),
            role: self.role,
            name: self.name.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("role", &self.role).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Checks that `certificate` is signed by `authority`, valid at `time`, and not of a name that was removed.
pub(super) fn verify(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    removed: Option<&Removed>,
    time: UnixTime,
) -> Result<(), webpki::Error> {
    let anchors = [webpki::anchor_from_trusted_cert(authority)?];
    let list = removed.map(Removed::list).transpose()?;
    let lists: Vec<_> = list.iter().collect();
    // Without a list nothing is looked up.
    let revocation = webpki::RevocationOptionsBuilder::new(&lists).ok().map(|options| options.build());
    webpki::EndEntityCert::try_from(certificate)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            time,
            webpki::KeyUsage::client_auth(),
            revocation,
            None,
        )
        .map(drop)
}

/// Why the certificate of `name` in `dir` is not taken: by the file that is at fault.
fn not_valid(error: webpki::Error, dir: &Path, name: &str) -> CertError {
    let path = paths(dir, name).0;
    match error {
        webpki::Error::CertExpired { time, not_after } => CertError::Ended {
            path,
            ago: Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs())),
        },
        webpki::Error::CertRevoked => CertError::Removed { path, name: name.to_owned() },
        webpki::Error::UnknownRevocationStatus
        | webpki::Error::InvalidCrlSignatureForPublicKey
        | webpki::Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | webpki::Error::UnsupportedCrlSignatureAlgorithmContext(_) => {
            content(&Removed::path(dir), format!("is not signed by ca.pem beside it: {error}"))
        }
        _ => content(&path, format!("is not certified by ca.pem: {error}")),
    }
}
