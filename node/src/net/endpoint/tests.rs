//! Pairs of endpoints over loopback: who connects, who is refused and how that is named, and that bytes
//! arrive as sent.

use super::*;
use crate::net::{ClusterCa, MessageError, recv_message, send_message};
use std::path::Path;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn open(identity: &Identity) -> (Endpoint, SocketAddr) {
    let endpoint = Endpoint::bind(ANY, identity, TransportOptions::default()).unwrap();
    let address = endpoint.local_address();
    (endpoint, address)
}

fn member(ca: &ClusterCa, name: &str) -> (Endpoint, SocketAddr) {
    open(&ca.issue(name, Role::Node).unwrap())
}

/// Both ends of one connection from `dialler` to `acceptor`, or why not: (dialler's, acceptor's).
async fn link(
    dialler: &Endpoint,
    acceptor: &(Endpoint, SocketAddr),
) -> (Result<Peer, LinkError>, Result<Peer, LinkError>) {
    tokio::join!(dialler.dial(acceptor.1, Role::Node), async {
        acceptor.0.accept().await.unwrap().establish().await
    })
}

async fn linked(dialler: &Endpoint, acceptor: &(Endpoint, SocketAddr)) -> (Peer, Peer) {
    let (there, here) = link(dialler, acceptor).await;
    (there.unwrap(), here.unwrap())
}

#[tokio::test]
async fn members_connect_both_ways_and_know_each_other() {
    let ca = ClusterCa::new().unwrap();
    let (a, b) = (member(&ca, "a"), member(&ca, "b"));
    for (dialler, acceptor, names) in [(&a, &b, ["b", "a"]), (&b, &a, ["a", "b"])] {
        let (there, here) = linked(&dialler.0, acceptor).await;
        assert_eq!([there.name.as_str(), here.name.as_str()], names);
        assert_eq!([there.role, here.role], [Role::Node; 2]);
    }
}

#[tokio::test]
async fn a_message_goes_and_its_answer_comes_back() {
    let ca = ClusterCa::new().unwrap();
    let (a, b) = (member(&ca, "a"), member(&ca, "b"));
    let (there, here) = linked(&a.0, &b).await;
    let answer = tokio::spawn(async move {
        let (mut send, mut recv) = here.connection.accept_bi().await.unwrap();
        while let Some(number) = recv_message::<u64>(&mut recv).await.unwrap() {
            send_message(&mut send, &(number, "seen".to_owned())).await.unwrap();
        }
        // Cut in the middle of a message: a header that promises 100 bytes, of which one comes.
        send.write_all(&[100, 0, 0, 0, crate::net::frames::VERSION, 7]).await.unwrap();
        send.finish().unwrap();
        here.connection.closed().await;
    });
    let (mut send, mut recv) = there.connection.open_bi().await.unwrap();
    for number in [0, u64::MAX] {
        send_message(&mut send, &number).await.unwrap();
        assert_eq!(
            recv_message::<(u64, String)>(&mut recv).await.unwrap(),
            Some((number, "seen".to_owned()))
        );
    }
    send.finish().unwrap();
    let cut = recv_message::<(u64, String)>(&mut recv).await.unwrap_err();
    assert!(matches!(cut, MessageError::Truncated { got: 1, expected: 100 }), "{cut}");
    a.0.close("done").await;
    answer.await.unwrap();
}

#[tokio::test]
async fn a_stream_moves_64_mib_intact() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: u64 = 64;
    // Every chunk differs, and every byte in it depends on its place.
    let chunk = |index: u64| -> Vec<u8> {
        (0..CHUNK as u64)
            .map(|at| ((index << 20 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect()
    };
    let ca = ClusterCa::new().unwrap();
    let (a, b) = (member(&ca, "a"), member(&ca, "b"));
    let (there, here) = linked(&a.0, &b).await;
    let sender = tokio::spawn(async move {
        let mut stream = there.connection.open_uni().await.unwrap();
        for index in 0..CHUNKS {
            stream.write_chunk(chunk(index).into()).await.unwrap();
        }
        stream.finish().unwrap();
        assert_eq!(stream.stopped().await.unwrap(), None);
    });
    let mut stream = here.connection.accept_uni().await.unwrap();
    let mut received = vec![0; CHUNK];
    for index in 0..CHUNKS {
        stream.read_exact(&mut received).await.unwrap();
        assert!(received == chunk(index), "chunk {index}");
    }
    assert_eq!(stream.read(&mut received).await.unwrap(), None);
    sender.await.unwrap();
}

#[tokio::test]
async fn an_address_of_the_other_version_of_ip_is_told_with_the_remedy() {
    let ca = ClusterCa::new().unwrap();
    let error = member(&ca, "a").0.dial("[::1]:7000".parse().unwrap(), Role::Coordinator).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("we are bound to IPv4 alone") && error.contains("--bind ::"), "{error}");
}

#[tokio::test]
async fn another_clusters_certificate_is_refused_by_the_dialler() {
    let (ours, theirs) = (ClusterCa::new().unwrap(), ClusterCa::new().unwrap());
    let (dialler, acceptor) = (member(&ours, "a"), member(&theirs, "b"));
    let (there, here) = link(&dialler.0, &acceptor).await;
    let (there, here) = (there.unwrap_err(), here.unwrap_err());
    assert!(matches!(there, LinkError::Foreign { peer } if peer == acceptor.1), "{there}");
    assert!(matches!(here, LinkError::ForeignToPeer { peer } if peer == dialler.1), "{here}");
    assert!(there.to_string().contains("railyard certs"));
}

#[tokio::test]
async fn another_clusters_certificate_is_refused_by_the_acceptor() {
    let (ours, theirs) = (ClusterCa::new().unwrap(), ClusterCa::new().unwrap());
    // The dialler trusts the acceptor's authority, so that only the acceptor can refuse.
    let dialler =
        open(&theirs.issue("a", Role::Node).unwrap().trusting(&ours.issue("b", Role::Node).unwrap()));
    let acceptor = member(&ours, "b");
    let (there, here) = link(&dialler.0, &acceptor).await;
    let (there, here) = (there.unwrap_err(), here.unwrap_err());
    assert!(matches!(there, LinkError::ForeignToPeer { peer } if peer == acceptor.1), "{there}");
    assert!(matches!(here, LinkError::Foreign { peer } if peer == dialler.1), "{here}");
}

/// A member whose certificate lies in `dir`.
fn settled(ca: &ClusterCa, dir: &Path, name: &str) -> (Endpoint, SocketAddr) {
    ca.issue(name, Role::Node).unwrap().save(dir).unwrap();
    open(&Identity::load(dir, name).unwrap())
}

fn shown(peer: &Peer) -> CertificateDer<'static> {
    certificates(&peer.connection).unwrap()[0].clone()
}

#[tokio::test]
async fn renewed_certificates_are_shown_to_whoever_connects_next_and_links_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let ca = ClusterCa::load_or_create(scratch.path()).unwrap();
    let (a, b) = (settled(&ca, scratch.path(), "a"), settled(&ca, scratch.path(), "b"));
    let before = linked(&a.0, &b).await;
    let new = ["a", "b"].map(|name| ca.issue(name, Role::Node).unwrap());
    for identity in &new {
        identity.save(scratch.path()).unwrap();
    }
    tokio::join!(a.0.keys.renewed(), b.0.keys.renewed());
    let after = linked(&a.0, &b).await;
    assert_eq!(
        [shown(&after.1), shown(&after.0)],
        [&new[0], &new[1]].map(|identity| identity.chain()[0].clone())
    );
    assert_ne!([shown(&before.1), shown(&before.0)], [shown(&after.1), shown(&after.0)]);
    let mut stream = before.0.connection.open_uni().await.unwrap();
    stream.write_all(b"still here").await.unwrap();
    before.1.connection.accept_uni().await.unwrap();
}

#[tokio::test]
async fn a_removed_name_is_refused_by_acceptors_and_by_diallers_and_missed_where_it_is_linked() {
    let scratch = tempfile::tempdir().unwrap();
    let mut ca = ClusterCa::load_or_create(scratch.path()).unwrap();
    let good = settled(&ca, scratch.path(), "good");
    // It has no list, and trusts everybody.
    let bad = member(&ca, "bad");
    let before = linked(&bad.0, &good).await;
    ca.remove("bad").unwrap();
    ca.save_removed(scratch.path()).unwrap();
    good.0.removed(&before.1).await;
    let (there, here) = link(&bad.0, &good).await;
    let (there, here) = (there.unwrap_err(), here.unwrap_err());
    assert!(matches!(there, LinkError::RemovedByPeer { peer } if peer == good.1), "{there}");
    assert!(matches!(here, LinkError::Removed { peer } if peer == bad.1), "{here}");
    let (there, here) = link(&good.0, &bad).await;
    let (there, here) = (there.unwrap_err(), here.unwrap_err());
    assert!(matches!(there, LinkError::Removed { peer } if peer == bad.1), "{there}");
    assert!(matches!(here, LinkError::RemovedByPeer { peer } if peer == good.1), "{here}");
    for error in [there, here] {
        assert!(error.to_string().contains("removed from the cluster"), "{error}");
    }
    let again = member(&ca, "bad");
    linked(&again.0, &good).await;
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_on_both_sides() {
    let ca = ClusterCa::new().unwrap();
    let (good, late) = (member(&ca, "good"), open(&ca.issue_ended("late", Role::Node)));
    for (dialler, acceptor) in [(&late, &good), (&good, &late)] {
        let (there, here) = link(&dialler.0, acceptor).await;
        let (refusing, refused) = if dialler.1 == late.1 { (here, there) } else { (there, here) };
        let (refusing, refused) = (refusing.unwrap_err(), refused.unwrap_err());
        assert!(matches!(&refusing, LinkError::Ended { peer, .. } if *peer == late.1), "{refusing}");
        assert!(matches!(refused, LinkError::EndedByPeer { peer } if peer == good.1), "{refused}");
        assert!(refused.to_string().contains("--renew"), "{refused}");
    }
}

#[tokio::test]
async fn a_member_of_another_role_is_not_taken_for_the_one_dialled() {
    let ca = ClusterCa::new().unwrap();
    let dialler = open(&ca.issue("me", Role::Client).unwrap());
    let acceptor = open(&ca.issue("head", Role::Coordinator).unwrap());
    let (there, here) = link(&dialler.0, &acceptor).await;
    let there = there.unwrap_err();
    assert!(
        matches!(&there, LinkError::Certificate { reason, .. } if reason.contains("node.railyard")),
        "{there}"
    );
    assert!(here.is_err());
    let (there, here) = tokio::join!(dialler.0.dial(acceptor.1, Role::Coordinator), async {
        acceptor.0.accept().await.unwrap().establish().await
    });
    assert_eq!(there.unwrap().name, "head");
    assert_eq!(here.unwrap().role, Role::Client);
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let ca = ClusterCa::new().unwrap();
    let (_first, address) = member(&ca, "a");
    let identity = ca.issue("b", Role::Node).unwrap();
    let error = Endpoint::bind(address, &identity, TransportOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::Busy { address: busy } if busy == address));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let ca = ClusterCa::new().unwrap();
    let (endpoint, _) = member(&ca, "a");
    let silent = std::net::UdpSocket::bind(ANY).unwrap();
    let address = silent.local_addr().unwrap();
    let error = endpoint.dial_within(address, Role::Node, Duration::from_millis(100)).await.unwrap_err();
    assert!(
        error.to_string().contains(&address.to_string()) && error.to_string().contains("6500 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn more_dials_than_turns_all_succeed() {
    let ca = ClusterCa::new().unwrap();
    let (a, b) = (member(&ca, "a"), member(&ca, "b"));
    let all = 3 * DIALS_MAX;
    let acceptor = b.0.clone();
    let accepted = tokio::spawn(async move {
        let mut peers = Vec::new();
        for _ in 0..all {
            peers.push(acceptor.accept().await.unwrap().establish().await.unwrap());
        }
        peers
    });
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..all {
        let dialler = a.0.clone();
        dials.spawn(async move { dialler.dial(b.1, Role::Node).await });
    }
    let peers: Vec<_> = dials.join_all().await.into_iter().map(|peer| peer.unwrap().name).collect();
    assert_eq!(peers, vec!["b"; all]);
    assert_eq!(accepted.await.unwrap().len(), all);
    b.0.expect_peers(64);
    assert_eq!(b.0.window.bytes(), 64 * 1024);
}

#[tokio::test]
async fn a_flood_of_first_packets_is_nobody_and_keeps_nobody_out() {
    let ca = ClusterCa::new().unwrap();
    let (dialler, acceptor) = (member(&ca, "a"), member(&ca, "b"));
    // What a process says first, as anybody could record it.
    let ear = tokio::net::UdpSocket::bind(ANY).await.unwrap();
    let address = ear.local_addr().unwrap();
    let calling = dialler.0.clone();
    let call = tokio::spawn(async move { calling.dial(address, Role::Node).await.map(drop) });
    let mut first = vec![0; 2 * usize::from(transport::DATAGRAM_BYTES_MAX)];
    let bytes = ear.recv(&mut first).await.unwrap();
    call.abort();
    let mut voices = Vec::new();
    for _ in 0..64 {
        voices.push(tokio::net::UdpSocket::bind(ANY).await.unwrap());
    }
    for _ in 0..50 {
        for voice in &voices {
            // The port's buffer may be full.
            let _ = voice.try_send_to(&first[..bytes], acceptor.1);
        }
    }
    let (there, here) = linked(&dialler.0, &acceptor).await;
    assert_eq!([there.name.as_str(), here.name.as_str()], ["b", "a"]);
}
