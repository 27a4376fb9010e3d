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
        verify(&loaded.chain()[0], loaded.trusted(), None, UnixTime::now()).unwrap();
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
fn the_remedy_for_a_broken_pair_is_the_pair_made_anew_where_the_authority_is() {
    let scratch = tempfile::tempdir().unwrap();
    let [authority, each] = ["authority", "each"].map(|dir| scratch.path().join(dir));
    let home = each.join("n0");
    let ca = ClusterCa::load_or_create(&authority).unwrap();
    for dir in [&authority, &home] {
        ca.issue("n0", Role::Node).unwrap().save(dir).unwrap();
        fs::write(dir.join("n0-key.pem"), "not a key").unwrap();
    }
    let said = |dir: &Path| Identity::load(dir, "n0").unwrap_err().to_string();
    let pair = format!("remove {}/n0.pem and {0}/n0-key.pem", authority.display());
    let command = format!("`railyard certs {} --node n0`", authority.display());
    assert!(said(&authority).contains(&pair) && said(&authority).contains(&command), "{}", said(&authority));
    let command = format!("`railyard certs AUTHORITY --each {} --node n0`", each.display());
    assert!(said(&home).contains(&command), "{}", said(&home));
    fs::write(home.join("ca.pem"), "no certificate").unwrap();
    assert!(said(&home).contains("put back the authority's own"), "{}", said(&home));
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
    for taken in ["ca", "ca-key", "ca-removed", "n0-key"] {
        assert!(matches!(ca.issue(taken, Role::Node), Err(CertError::Reserved(_))), "{taken}");
    }
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

#[test]
fn a_certificate_lasts_ninety_days_and_no_longer_than_its_authority() {
    let ca = ClusterCa::new().unwrap();
    let left = ca.issue("n0", Role::Node).unwrap().left().unwrap();
    assert!(left <= VALIDITY && left > VALIDITY - Duration::from_secs(60), "{left:?}");
    let longest = ca.issue_for("n0", Role::Node, 2 * AUTHORITY_VALIDITY).unwrap().left().unwrap();
    assert!(longest <= AUTHORITY_VALIDITY, "{longest:?}");
}

#[test]
fn a_certificate_that_has_ended_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = ClusterCa::load_or_create(dir.path()).unwrap();
    let ended = ca.issue_ended("n0", Role::Node);
    ended.save(dir.path()).unwrap();
    assert!(ended.left().unwrap_err() >= Duration::from_secs(3600));
    let error = Identity::load(dir.path(), "n0").unwrap_err();
    assert!(matches!(error, CertError::Ended { .. }));
    remedy(&error, "n0.pem");
    assert!(error.to_string().contains("--renew"), "{error}");
    // That it has ended doesn't hide whether its name was removed.
    ca.remove("n0").unwrap();
    assert!(ca.has_removed(dir.path(), "n0"));
    ca.issue_ended("n0", Role::Node).save(dir.path()).unwrap();
    assert!(!ca.has_removed(dir.path(), "n0"));
}

#[test]
fn a_removed_name_is_out_with_all_its_certificates_until_it_gets_a_new_one() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    ClusterCa::load_or_create(dir).unwrap();
    // Everything is read back from the files.
    let ca = || ClusterCa::load(dir).unwrap();
    let first = ca().issue("n0", Role::Node).unwrap();
    let renewed = ca().issue("n0", Role::Node).unwrap();
    let other = ca().issue("n1", Role::Node).unwrap();
    renewed.save(dir).unwrap();
    let remove = || {
        let mut removing = ca();
        removing.remove("n0").unwrap();
        removing.save_removed(dir).unwrap();
    };
    remove();
    assert!(ca().has_removed(dir, "n0") && !ca().has_removed(dir, "n1"));
    assert_eq!([&first, &renewed, &other].map(|identity| ca().accepts(identity)), [false, false, true]);
    let error = Identity::load(dir, "n0").unwrap_err();
    assert!(matches!(error, CertError::Removed { .. }));
    remedy(&error, "n0.pem");

    let again = ca().issue("n0", Role::Node).unwrap();
    again.save(dir).unwrap();
    Identity::load(dir, "n0").unwrap();
    assert_eq!([&first, &renewed, &again].map(|identity| ca().accepts(identity)), [false, false, true]);
    remove();
    assert_eq!([&first, &again, &other].map(|identity| ca().accepts(identity)), [false, false, true]);
}

#[test]
fn a_list_of_another_authority_is_refused_by_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = (scratch.path().join("ours"), scratch.path().join("theirs"));
    for dir in [&ours, &theirs] {
        let mut ca = ClusterCa::load_or_create(dir).unwrap();
        ca.issue("n0", Role::Node).unwrap().save(dir).unwrap();
        ca.remove("n1").unwrap();
        ca.save_removed(dir).unwrap();
    }
    Identity::load(&ours, "n0").unwrap();
    fs::copy(theirs.join("ca-removed.pem"), ours.join("ca-removed.pem")).unwrap();
    remedy(&Identity::load(&ours, "n0").unwrap_err(), "ca-removed.pem");
    fs::write(ours.join("ca-removed.pem"), "no list").unwrap();
    remedy(&Identity::load(&ours, "n0").unwrap_err(), "ca-removed.pem");
}

#[test]
fn names_are_found_in_a_directory_and_other_files_are_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ClusterCa::load_or_create(dir.path()).unwrap();
    ca.issue("n1", Role::Node).unwrap().save(dir.path()).unwrap();
    ca.issue("me", Role::Client).unwrap().save(dir.path()).unwrap();
    fs::write(dir.path().join("notes.txt"), "text").unwrap();
    fs::copy(dir.path().join("n1.pem"), dir.path().join("copy.pem")).unwrap();
    let names = Identity::names_in(dir.path()).unwrap();
    assert_eq!(names, [("me".to_owned(), Role::Client), ("n1".to_owned(), Role::Node)]);
}
