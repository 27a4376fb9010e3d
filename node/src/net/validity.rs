//! How long certificates are valid, and whether one is valid now: by the verifier that TLS uses too.

use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::{Duration, SystemTime};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// Certificates start a day in the past, so that hosts whose clocks differ accept them at once.
const BACKDATED: Duration = DAY;
/// How long a process's certificate is valid, where nothing else is asked for.
pub const VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long before its end a certificate should be renewed.
pub const RENEW_WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);
/// The authority lasts ten years: it is thrown away with its cluster.
pub(super) const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3653 * 24 * 3600);

/// From when and until when, since 1970, something signed now is valid: for `validity`, and no longer than until `latest`.
pub(super) fn span(validity: Duration, latest: Option<UnixTime>) -> [Duration; 2] {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let latest = latest.map_or(Duration::MAX, |latest| Duration::from_secs(latest.as_secs()));
    let end = now.saturating_add(validity).min(latest);
    [now.saturating_sub(BACKDATED).min(end), end]
}

/// When `certificate` ends. The verifier tells it to whoever comes too late, and reads no other field first.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> Result<UnixTime, webpki::Error> {
    let anchors = [];
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX >> 8));
    let certificate = webpki::EndEntityCert::try_from(certificate)?;
    let verified = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &[],
        never,
        webpki::KeyUsage::client_auth(),
        None,
        None,
    );
    match verified {
        Err(webpki::Error::CertExpired { not_after, .. }) => Ok(not_after),
        Err(error) => Err(error),
        Ok(_) => Ok(never),
    }
}

/// What is left until `end`; `Err` holds how long ago it was.
pub(super) fn left(end: UnixTime, now: UnixTime) -> Result<Duration, Duration> {
    match end.as_secs().checked_sub(now.as_secs()) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(Duration::from_secs(now.as_secs() - end.as_secs())),
    }
}
