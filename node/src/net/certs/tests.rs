//! Certificates survive their files, errors name file and remedy, and nothing of two authorities mixes.

use super::*;
use crate::net::pem_files::PEM_BYTES_MAX;
use std::fs;

fn remedy(error: &CertError, file: &str) {
    let text = error.to_string();
    assert!(text.contains(file) && text.contains("railyard certs"), "{text}");
}

#[test]
fn saved_certificates_load_as_they_were() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("certs");
    let ca = ClusterCa::new().unwrap();
    ca.save(&dir).unwrap();
    for (name, role) in [("n0", Role::Node), ("head", Role::Coordinator), ("me", Role::Client)] {
        // Issued by the authority as loaded, so that its key and its subject survive the files.
        let identity = ClusterCa::load(&dir).unwrap().issue(name, role).unwrap();
        identity.save(&dir).unwrap();
        let loaded = Identity::load(&dir, name).unwrap();
        assert_eq!((loaded.role(), loaded.name()), (role, name));
        assert_eq!(loaded.chain(), identity.chain());
        assert_eq!(loaded.trusted(), &ca.certificate);
        assert_eq!(loaded.key().secret_der(), identity.key().secret_der());
        verify(&loaded.chain()[0], loaded.trusted()).unwrap();
    }
    let text = fs::read_to_string(dir.join("n0.pem")).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"), "{text}");
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_alone_even_where_an_open_file_was() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("n0-key.pem"), "old").unwrap();
    let ca = ClusterCa::new().unwrap();
    ca.save(dir.path()).unwrap();
    ca.issue("n0", Role::Node).unwrap().save(dir.path()).unwrap();
    for file in ["ca-key.pem", "n0-key.pem"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "no partial file stays behind");
}

#[test]
fn an_authority_is_made_once_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let first = ClusterCa::load_or_create(dir.path()).unwrap();
    assert_eq!(ClusterCa::load_or_create(dir.path()).unwrap().certificate, first.certificate);
    let other = ClusterCa::new().unwrap();
    assert!(matches!(other.save(dir.path()), Err(CertError::Exists { .. })));
    let stranger = other.issue("n0", Role::Node).unwrap();
    assert!(matches!(stranger.save(dir.path()), Err(CertError::Exists { .. })));
}

#[test]
fn load_errors_name_the_file_and_the_remedy() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    remedy(&Identity::load(dir, "n0").unwrap_err(), "ca.pem");
    remedy(&ClusterCa::load(dir).unwrap_err(), "ca.pem");
    let ca = ClusterCa::load_or_create(dir).unwrap();
    remedy(&Identity::load(dir, "n0").unwrap_err(), "n0.pem");
    ca.issue("n0", Role::Node).unwrap().save(dir).unwrap();
    fs::copy(dir.join("n0.pem"), dir.join("n1.pem")).unwrap();
    fs::copy(dir.join("n0-key.pem"), dir.join("n1-key.pem")).unwrap();
    let error = Identity::load(dir, "n1").unwrap_err();
    remedy(&error, "n1.pem");
    assert!(error.to_string().contains("node `n0`"), "{error}");
    fs::write(dir.join("n0-key.pem"), "not a key").unwrap();
    remedy(&Identity::load(dir, "n0").unwrap_err(), "n0-key.pem");
    fs::write(dir.join("n0.pem"), vec![b'x'; PEM_BYTES_MAX as usize + 1]).unwrap();
    remedy(&Identity::load(dir, "n0").unwrap_err(), "n0.pem");
}

#[test]
fn files_of_two_authorities_do_not_mix() {
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = (scratch.path().join("ours"), scratch.path().join("theirs"));
    for dir in [&ours, &theirs] {
        let ca = ClusterCa::load_or_create(dir).unwrap();
        ca.issue("n0", Role::Node).unwrap().save(dir).unwrap();
    }
    for file in ["n0.pem", "n0-key.pem"] {
        fs::copy(theirs.join(file), ours.join(file)).unwrap();
    }
    let error = Identity::load(&ours, "n0").unwrap_err();
    remedy(&error, "n0.pem");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    fs::copy(theirs.join("ca-key.pem"), ours.join("ca-key.pem")).unwrap();
    remedy(&ClusterCa::load(&ours).unwrap_err(), "ca.pem");
}

#[test]
fn names_are_checked_before_anything_is_made() {
    let ca = ClusterCa::new().unwrap();
    assert!(matches!(ca.issue("../n0", Role::Node), Err(CertError::Role(RoleError::Name(_)))));
    assert!(matches!(ca.issue("ca", Role::Node), Err(CertError::Reserved)));
    assert!(matches!(Identity::load(Path::new("."), "a/b"), Err(CertError::Role(RoleError::Name(_)))));
}

#[test]
fn a_client_certificate_cannot_serve() {
    let ca = ClusterCa::new().unwrap();
    let usable = |role| {
        let identity = ca.issue("p", role).unwrap();
        let parsed = webpki::EndEntityCert::try_from(&identity.chain()[0]).unwrap();
        let anchors = [webpki::anchor_from_trusted_cert(identity.trusted()).unwrap()];
        let usage = webpki::KeyUsage::server_auth();
        parsed
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &[],
                UnixTime::now(),
                usage,
                None,
                None,
            )
            .is_ok()
    };
    assert_eq!(Role::ALL.map(usable), [true, true, false]);
}
