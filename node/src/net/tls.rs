//! Mutual TLS 1.3 for QUIC: both ends show a certificate of the cluster's authority, and nobody else's is
//! trusted.
//!
//! Sessions are not resumed: every connection verifies both certificates anew, and no ticket is sent or kept.

use super::identity::Identity;
use super::refusal::Telling;
use super::removed::Removed;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// The protocol that both ends must speak, in TLS's application-layer negotiation.
pub const PROTOCOL: &[u8] = b"railyard/1";

/// Why an identity gives no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate, its key or the authority is unusable, or key and certificate are not a pair.
    #[error("the certificate of `{name}` cannot be used: {source}; issue it anew with `railyard certs DIR`")]
    Certificate {
        /// Whose certificate.
        name: String,
        /// What TLS said.
        source: rustls::Error,
    },
    /// The authority's certificate cannot verify clients.
    #[error(
        "the cluster's ca.pem cannot verify peers: {0}; issue certificates anew with `railyard certs DIR`"
    )]
    Verifier(#[from] VerifierBuilderError),
    /// The cryptography lacks the cipher that QUIC begins with.
    #[error("this build's TLS cannot start QUIC: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

/// The accepting side: a peer must show a certificate of the authority that `identity` trusts.
///
/// # Errors
/// [`TlsError`] if the identity's parts do not fit together.
pub fn server_config(identity: &Identity) -> Result<QuicServerConfig, TlsError> {
    let provider = provider();
    let roots = roots(identity).map_err(|source| unusable(identity, source))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(lists(identity))
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(Arc::new(Telling(verifier)))
                .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())
        })
        .map_err(|source| unusable(identity, source))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(QuicServerConfig::try_from(config)?)
}

/// The dialling side: the peer must show a certificate of the authority that `identity` trusts, holding the
/// name that is dialled.
///
/// # Errors
/// [`TlsError`] if the identity's parts do not fit together.
pub fn client_config(identity: &Identity) -> Result<QuicClientConfig, TlsError> {
    let roots = roots(identity).map_err(|source| unusable(identity, source))?;
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(lists(identity))
        .build()?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_webpki_verifier(verifier)
                .with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key())
        })
        .map_err(|source| unusable(identity, source))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(QuicClientConfig::try_from(config)?)
}

/// Ring, named: several providers may be compiled in by other crates, and rustls then refuses to choose.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The one authority that `identity` trusts.
fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.trusted().clone())?;
    Ok(Arc::new(roots))
}

/// Whom `identity` refuses.
fn lists(identity: &Identity) -> Vec<CertificateRevocationListDer<'static>> {
    identity.removed().map(Removed::der).cloned().into_iter().collect()
}

fn unusable(identity: &Identity, source: rustls::Error) -> TlsError {
    TlsError::Certificate { name: identity.name().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{ClusterCa, Role};

    #[test]
    fn every_identity_gives_both_configurations() {
        let ca = ClusterCa::new().unwrap();
        for role in Role::ALL {
            let identity = ca.issue("p", role).unwrap();
            server_config(&identity).unwrap();
            client_config(&identity).unwrap();
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_named() {
        let ca = ClusterCa::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            ca.issue(name, Role::Node).unwrap().save(dir.path()).unwrap();
        }
        std::fs::rename(dir.path().join("b-key.pem"), dir.path().join("a-key.pem")).unwrap();
        let mixed = Identity::load(dir.path(), "a").unwrap();
        let error = server_config(&mixed).err().unwrap().to_string();
        assert!(error.contains("`a`") && error.contains("railyard certs"), "{error}");
        assert!(client_config(&mixed).is_err());
    }
}
