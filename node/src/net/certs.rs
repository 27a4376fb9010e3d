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
//! DIR/ca-removed.pem                    names that were removed, signed by the authority
//! ```

use super::identity::{Identity, verify};
use super::pem_files::{
    CA_NAME, CertError, check_free, content, create_dir, paths, read_certificate, read_file, write_file,
};
use super::removed::{Removed, next_serial};
use super::role::{Role, RoleError};
use super::validity::{AUTHORITY_VALIDITY, VALIDITY, end_of, left, span};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The cluster's certificate authority: the certificate everyone trusts, and the key that signs new members.
pub struct ClusterCa {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
    removed: Option<Removed>,
}

impl ClusterCa {
    /// Makes a new authority.
    ///
    /// # Errors
    /// [`CertError::Make`] if the system gives no random bytes.
    pub fn new() -> Result<Self, CertError> {
        let key = KeyPair::generate()?;
        let certificate = ca_params(&key).self_signed(&key)?;
        Ok(Self { pem: certificate.pem(), certificate: certificate.der().clone(), key, removed: None })
    }

    /// Issues a certificate to the process called `name`, valid from a day ago and for [`VALIDITY`].
    ///
    /// # Errors
    /// [`CertError::Role`] if `name` is not one DNS label, [`CertError::Reserved`] if it names other files.
    pub fn issue(&self, name: &str, role: Role) -> Result<Identity, CertError> {
        self.issue_for(name, role, VALIDITY)
    }

    /// Issues a certificate that is valid from a day ago and for `validity`, but not longer than the authority.
    ///
    /// # Errors
    /// As those of [`Self::issue`].
    pub fn issue_for(&self, name: &str, role: Role, validity: Duration) -> Result<Identity, CertError> {
        let end = end_of(&self.certificate).map_err(RoleError::from)?;
        self.issue_between(name, role, span(validity, Some(end)))
    }

    fn issue_between(
        &self,
        name: &str,
        role: Role,
        since_1970: [Duration; 2],
    ) -> Result<Identity, CertError> {
        check_free(name)?;
        let mut params = CertificateParams::new(role.dns_names(name)?)?;
        valid(&mut params, since_1970);
        params.serial_number = Some(next_serial(self.removed.as_ref(), name).to_vec().into());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{role} {name}"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role.serves() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let issued = certificate.der().clone();
        Ok(Identity::issued(name, role, (issued, key), self.certificate.clone(), self.removed.clone()))
    }

    /// Puts `name` on the list of removed names, with all certificates it was given: nobody who has the list takes them. What it is issued
    /// later is taken.
    ///
    /// # Errors
    /// [`CertError::Role`] if `name` is not one DNS label, [`CertError::TooManyRemoved`].
    pub fn remove(&mut self, name: &str) -> Result<(), CertError> {
        check_free(name)?;
        self.removed = Some(Removed::with(self.removed.as_ref(), name, &self.issuer())?);
        Ok(())
    }

    /// Whether `name` was removed, and its certificate in `dir`, if one is there, was issued before that.
    pub fn has_removed(&self, dir: &Path, name: &str) -> bool {
        let Some(removed) = self.removed.as_ref().filter(|removed| removed.knows(name)) else { return false };
        let Ok((_, found)) = read_certificate(&paths(dir, name).0) else { return true };
        // At a time when nothing else can be wrong with it.
        end_of(&found)
            .and_then(|end| verify(&found, &self.certificate, Some(removed), end))
            .is_err_and(|error| error == webpki::Error::CertRevoked)
    }

    /// Whether `identity` is of this authority, valid, and not of a name that was removed.
    pub fn accepts(&self, identity: &Identity) -> bool {
        let now = UnixTime::now();
        identity
            .chain()
            .first()
            .is_some_and(|shown| verify(shown, &self.certificate, self.removed.as_ref(), now).is_ok())
    }

    /// Writes the list of removed names, where there is one, into `dir`.
    ///
    /// # Errors
    /// [`CertError::File`] if `dir` cannot be written.
    pub fn save_removed(&self, dir: &Path) -> Result<(), CertError> {
        self.removed.as_ref().map_or(Ok(()), |removed| removed.save(dir))
    }

    /// A certificate that ended an hour ago.
    #[cfg(test)]
    pub(super) fn issue_ended(&self, name: &str, role: Role) -> Identity {
        let [start, now] = span(Duration::ZERO, None);
        self.issue_between(name, role, [start, now - Duration::from_secs(3600)]).unwrap()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::new(ca_params(&self.key), &self.key)
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

    /// Reads `ca.pem`, `ca-key.pem` and the list of removed names from `dir`.
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
        let end = end_of(&certificate).map_err(RoleError::from)?;
        if left(end, UnixTime::now()).is_err() {
            return Err(CertError::AuthorityEnded { path: certificate_path });
        }
        Ok(Self { certificate, pem, key, removed: Removed::load(dir)? })
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

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").finish_non_exhaustive()
    }
}

/// What the authority with this key is called and may do.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid(&mut params, span(AUTHORITY_VALIDITY, None));
    let fingerprint: String =
        params.key_identifier(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("railyard cluster {fingerprint}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn valid(params: &mut CertificateParams, since_1970: [Duration; 2]) {
    [params.not_before, params.not_after] = since_1970.map(|time| date_time_ymd(1970, 1, 1) + time);
}

#[cfg(test)]
mod tests;
