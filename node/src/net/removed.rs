//! The list of names that were removed from the cluster: a certificate revocation list that the authority signs, `ca-removed.pem` beside
//! `ca.pem`.
//!
//! Lists name certificates by serial number, so a serial number says whose certificate it is: all certificates that a name is given have
//! the same one, until the name is removed. One entry thus removes a name whichever certificate it shows, and nobody need keep a book of
//! what was issued. A name that is admitted again gets the next number.

use super::pem_files::{CertError, content, pem_text, read_file, write_file};
use super::role::RoleError;
use super::validity::{AUTHORITY_VALIDITY, span};
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
    SigningKey, date_time_ymd,
};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use twox_hash::XxHash3_128;

/// Most names that are removed under one authority.
const REMOVED_MAX: usize = 4096;

/// The names that were removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removed(CertificateRevocationListDer<'static>);

impl Removed {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("ca-removed.pem")
    }

    /// Reads the list in `dir`, if one is there. Whether the authority has signed it is seen where it is used.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, CertError> {
        let path = Self::path(dir);
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(CertError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let list = CertificateRevocationListDer::from_pem_slice(text.as_bytes())
            .map_err(|error| content(&path, format!("holds no list of removed names: {error}")))?;
        let removed = Self(list);
        removed.list().map_err(|error| content(&path, format!("is no list of removed names: {error}")))?;
        Ok(Some(removed))
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), CertError> {
        write_file(&Self::path(dir), &pem_text("X509 CRL", &self.0), false)
    }

    /// A list with the certificates of `name` besides those of `before`.
    pub(super) fn with(
        before: Option<&Self>,
        name: &str,
        issuer: &Issuer<'_, impl SigningKey>,
    ) -> Result<Self, CertError> {
        let [now, end] =
            span(AUTHORITY_VALIDITY, None).map(|since_1970| date_time_ymd(1970, 1, 1) + since_1970);
        let mut serials = before.map(Self::serials).transpose().map_err(RoleError::from)?.unwrap_or_default();
        if serials.len() >= REMOVED_MAX {
            return Err(CertError::TooManyRemoved { most: REMOVED_MAX });
        }
        serials.push(next_serial(before, name).to_vec());
        let revoked = |serial: Vec<u8>| RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: now,
            reason_code: Some(RevocationReason::CessationOfOperation),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            // Nobody holds the list against this: without a newer one the names on it stay removed.
            next_update: end,
            crl_number: SerialNumber::from(serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.into_iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(Self(list.signed_by(issuer)?.der().clone()))
    }

    /// As the verifier takes it.
    pub(super) fn list(&self) -> Result<webpki::CertRevocationList<'_>, webpki::Error> {
        Ok(webpki::OwnedCertRevocationList::from_der(&self.0)?.into())
    }

    /// As TLS takes it.
    pub(super) fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.0
    }

    /// Whether certificates of `name` were removed; it may have been admitted again.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.holds(&serial(name, 0))
    }

    fn holds(&self, serial: &[u8]) -> bool {
        self.list().is_ok_and(|list| list.find_serial(serial).is_ok_and(|found| found.is_some()))
    }

    fn serials(&self) -> Result<Vec<Vec<u8>>, webpki::Error> {
        let list = webpki::BorrowedCertRevocationList::from_der(&self.0)?;
        list.into_iter().map(|entry| Ok(entry?.serial_number.to_vec())).collect()
    }
}

/// The serial number of the next certificate of `name`.
pub(super) fn next_serial(removed: Option<&Removed>, name: &str) -> [u8; 16] {
    let numbers = (0..=REMOVED_MAX as u32).map(|number| serial(name, number));
    let is_free = |number: &[u8; 16]| !removed.is_some_and(|removed| removed.holds(number));
    numbers.into_iter().find(is_free).expect("a list has less entries than that")
}

/// The serial number of a name that was removed so often. Names are the administrator's choice, so that a hash without a secret will do; a
/// serial number is positive.
fn serial(name: &str, times_removed: u32) -> [u8; 16] {
    let mut bytes = XxHash3_128::oneshot(name.as_bytes()).to_be_bytes();
    bytes[0] = 0x40 | bytes[0] & 0x3f;
    bytes[12..].copy_from_slice(&times_removed.to_be_bytes());
    bytes
}
