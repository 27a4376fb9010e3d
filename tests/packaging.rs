//! What people install agrees with itself: both Dockerfiles make one image, the compose file asks for nothing it does
//! not need, versions are told once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The instructions of the last stage, comments and blank lines left out.
fn last_stage(dockerfile: &str) -> Vec<String> {
    let lines: Vec<&str> =
        dockerfile.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let from = lines.iter().rposition(|line| line.starts_with("FROM ")).expect("a stage");
    lines[from..].iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn both_dockerfiles_end_in_the_same_image() {
    let staged = last_stage(&read("Dockerfile"));
    // The one difference: where the files come from.
    let staged: Vec<String> =
        staged.iter().map(|line| line.replace("--from=build ", "").replace(" /image/", " ")).collect();
    assert_eq!(staged, last_stage(&read("deploy/Dockerfile.scratch")));
    assert_eq!(staged[0], "FROM scratch");
}

#[test]
fn the_build_stage_uses_the_workspace_s_rust() {
    let manifest = read("Cargo.toml");
    let stated =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a rust-version");
    assert!(read("Dockerfile").contains(&format!("ARG RUST_VERSION={}\n", stated.trim_matches('"'))));
}

#[test]
fn the_changelog_begins_with_this_version() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## ")).expect("a version");
    assert!(newest.starts_with(env!("CARGO_PKG_VERSION")), "{newest}");
}

#[test]
fn the_compose_file_has_two_racks_of_eight_under_stable_names() {
    let compose = read("docker-compose.yml");
    let services: BTreeSet<&str> = compose
        .lines()
        .filter(|line| line.contains("<<: *node,"))
        .map(|line| {
            let name = line.trim().split(':').next().unwrap_or_default();
            assert!(line.contains(&format!("RAILYARD_NODE: {name} ")), "{line}");
            assert!(
                line.contains(&format!("volumes: [\"{name}:/certs:ro\"]")),
                "its own key and no other's: {line}"
            );
            name
        })
        .collect();
    let expected: BTreeSet<String> =
        (0..2).flat_map(|rack| (0..8).map(move |index| format!("rack{rack}-{index}"))).collect();
    assert!(services.iter().copied().eq(expected.iter().map(String::as_str)), "{services:?}");
}

#[test]
fn the_authority_s_key_is_mounted_where_certificates_are_made_and_nowhere_else() {
    let compose = read("docker-compose.yml");
    assert_eq!(compose.matches("authority:/").count(), 1);
    let maker =
        compose.split("\n  certs:\n").nth(1).expect("a service").split("\n\n").next().expect("its lines");
    assert!(maker.contains("authority:/authority") && maker.contains("network_mode: none"), "{maker}");
}

#[test]
fn the_compose_file_asks_for_no_privileges() {
    let compose = read("docker-compose.yml");
    for word in ["privileged", "NET_ADMIN", "SYS_", "network_mode: host", "pid:", "docker.sock"] {
        assert!(!compose.contains(word), "{word}");
    }
    for needed in ["cap_drop: [ALL]", "read_only: true", "no-new-privileges:true"] {
        assert!(compose.contains(needed), "{needed}");
    }
    assert_eq!(compose.matches("cap_add").count(), 0, "nobody needs a capability");
}

#[test]
fn the_compose_network_carries_whole_datagrams() {
    let compose = read("docker-compose.yml");
    let number = |key: &str| -> usize {
        let value = compose.split(&format!("{key}: \"")).nth(1).and_then(|rest| rest.split('"').next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {key}"))
    };
    let (mtu, datagram) = (number("com.docker.network.driver.mtu"), number("RAILYARD_DATAGRAM_BYTES"));
    assert!(mtu >= datagram + IP_AND_UDP_HEADERS, "{datagram} bytes do not fit {mtu}");
}

/// The longer ones, of IPv6.
const IP_AND_UDP_HEADERS: usize = 48;
