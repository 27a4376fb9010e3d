//! The cluster's own certificate authority and the certificates it issues, made in memory and kept as PEM
//! files in one directory.
//!
//! The authority is all the trust there is: whoever holds a certificate of it is a member, and nobody else
//! is. Its subject is derived from its key, so that two authorities never share a name and a foreign
//! certificate fails as "unknown issuer".
//!
//! ```text
//! DIR/ca.pem        DIR/ca-key.pem      the authority (only the machine that issues needs the key)
//! DIR/NAME.pem      DIR/NAME-key.pem    one process
//! ```

use super::pem_files::{
    CertError, content, create_dir, paths, pem_text, read_certificate, read_file, write_file,
};
use super::role::{self, Role, RoleError};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Certificates start a day in the past, so that hosts whose clocks differ accept them at once.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// They last ten years: compose volumes outlive their makers, and the authority is thrown away with the
/// cluster.
const VALIDITY: Duration = Duration::from_secs(3653 * 24 * 3600);
const CA_NAME: &str = "ca";

/// The cluster's certificate authority: the certificate everyone trusts, and the key that signs new members.
pub struct ClusterCa {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// A process's certificate, its key, and the authority it trusts: all that TLS needs.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trusted: CertificateDer<'static>,
    role: Role,
    name: String,
}

impl ClusterCa {
    /// Makes a new authority.
    ///
    /// # Errors
    /// [`CertError::Make`] if the system gives no random bytes.
    pub fn new() -> Result<Self, CertError> {
        let key = KeyPair::generate()?;
        let certificate = ca_params(&key).self_signed(&key)?;
        Ok(Self { pem: certificate.pem(), certificate: certificate.der().clone(), key })
    }

    /// Issues a certificate to the process called `name`, valid from a day ago and for ten years.
    ///
    /// # Errors
    /// [`CertError::Role`] if `name` is not one DNS label, [`CertError::Reserved`] if it is `ca`.
    pub fn issue(&self, name: &str, role: Role) -> Result<Identity, CertError> {
        if name == CA_NAME {
            return Err(CertError::Reserved);
        }
        let mut params = CertificateParams::new(role.dns_names(name)?)?;
        valid_from_yesterday(&mut params);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{role} {name}"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role.serves() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &Issuer::new(ca_params(&self.key), &self.key))?;
        Ok(Identity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            trusted: self.certificate.clone(),
            role,
            name: name.to_owned(),
        })
    }

    /// Writes `ca.pem` and `ca-key.pem` (mode 0600) into `dir`, which is created if need be.
    ///
    /// # Errors
    /// [`CertError::Exists`] if an authority is there already; [`CertError::File`] if `dir` cannot be
    /// written.
    pub fn save(&self, dir: &Path) -> Result<(), CertError> {
        create_dir(dir)?;
        let (certificate, key) = paths(dir, CA_NAME);
        for path in [&certificate, &key] {
            if path.exists() {
                return Err(CertError::Exists { path: path.clone() });
            }
        }
        // The certificate comes last: where it is found, the key is complete.
        write_file(&key, &self.key.serialize_pem(), true)?;
        write_file(&certificate, &self.pem, false)
    }

    /// Reads `ca.pem` and `ca-key.pem` from `dir`.
    ///
    /// # Errors
    /// [`CertError::Missing`], [`CertError::File`] or [`CertError::Content`], naming the file.
    pub fn load(dir: &Path) -> Result<Self, CertError> {
        let (certificate_path, key_path) = paths(dir, CA_NAME);
        let (pem, certificate) = read_certificate(&certificate_path)?;
        let key_pem = read_file(&key_path)?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|error| content(&key_path, format!("holds no usable key: {error}")))?;
        // Subject and key must be the ones that this key would be given: issued certificates name both.
        let expected = ca_params(&key).self_signed(&key)?;
        let parts = |der: &CertificateDer<'_>| {
            let parsed = webpki::EndEntityCert::try_from(der)?;
            Ok::<_, webpki::Error>((parsed.subject().to_vec(), parsed.subject_public_key_info().to_vec()))
        };
        let found = parts(&certificate)
            .map_err(|error| content(&certificate_path, format!("is not a certificate: {error}")))?;
        if parts(expected.der()).map_err(RoleError::from)? != found {
            return Err(content(
                &certificate_path,
                "is not the authority of ca-key.pem beside it".to_owned(),
            ));
        }
        Ok(Self { certificate, pem, key })
    }

    /// Loads the authority of `dir`, or makes and saves one where `ca.pem` is not there yet.
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Self::save`].
    pub fn load_or_create(dir: &Path) -> Result<Self, CertError> {
        if paths(dir, CA_NAME).0.exists() {
            return Self::load(dir);
        }
        let ca = Self::new()?;
        ca.save(dir)?;
        Ok(ca)
    }
}

impl Identity {
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
        let (certificate, key) = paths(dir, &self.name);
        write_file(&key, &pem_text("PRIVATE KEY", self.key.secret_der()), true)?;
        let chain: String =
            self.chain.iter().map(|certificate| pem_text("CERTIFICATE", certificate)).collect();
        write_file(&certificate, &chain, false)
    }

    /// Reads `ca.pem`, `NAME.pem` and `NAME-key.pem` from `dir`, and checks that they belong together.
    ///
    /// # Errors
    /// [`CertError::Missing`], [`CertError::File`] or [`CertError::Content`], naming the file;
    /// [`CertError::Role`] if `name` is not one DNS label.
    pub fn load(dir: &Path, name: &str) -> Result<Self, CertError> {
        role::check_name(name)?;
        if name == CA_NAME {
            return Err(CertError::Reserved);
        }
        let ca_path = paths(dir, CA_NAME).0;
        let (certificate_path, key_path) = paths(dir, name);
        let trusted = read_certificate(&ca_path)?.1;
        let certificate = read_certificate(&certificate_path)?.1;
        let key_pem = read_file(&key_path)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| content(&key_path, format!("holds no private key: {error}")))?;
        verify(&certificate, &trusted)
            .map_err(|error| content(&certificate_path, format!("is not certified by ca.pem: {error}")))?;
        let (role, found) =
            role::identify(&certificate).map_err(|error| content(&certificate_path, error.to_string()))?;
        if found != name {
            return Err(content(&certificate_path, format!("is the certificate of {role} `{found}`")));
        }
        Ok(Self { chain: vec![certificate], key, trusted, role, name: found })
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

    /// The private key of the certificate.
    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The same certificate and key, but trusting the authority of `other`: a member that was deceived.
    #[cfg(test)]
    pub(super) fn trusting(mut self, other: &ClusterCa) -> Self {
        self.trusted = other.certificate.clone();
        self
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            trusted: self.trusted.clone(),
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

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").finish_non_exhaustive()
    }
}

/// What the authority with this key is called and may do.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid_from_yesterday(&mut params);
    let fingerprint: String =
        params.key_identifier(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("railyard cluster {fingerprint}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn valid_from_yesterday(params: &mut CertificateParams) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + VALIDITY);
}

/// Checks that `certificate` is signed by `authority` and valid now.
fn verify(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Result<(), webpki::Error> {
    let anchors = [webpki::anchor_from_trusted_cert(authority)?];
    webpki::EndEntityCert::try_from(certificate)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            UnixTime::now(),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
}

#[cfg(test)]
mod tests;
