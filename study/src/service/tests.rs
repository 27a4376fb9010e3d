//! Clients of a real coordinator with real workers, all tasks of this process, over QUIC.

use super::*;
use crate::layer::testing::small_spec;
use crate::layer::{CompareSpec, LatencyChoice, Progress};
use crate::placing::PlacementChoice;
use coordinator::machine::Limits;
use coordinator::server::{self, ServerConfig};
use moe::DispatchScheme;
use node::net::{ClusterCa, Role, TransportOptions};
use node::worker::{WorkerConfig, run_worker};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A cluster of `nodes` nodes; returns its authority and address.
async fn cluster(
    nodes: u32,
    memory_limit_bytes: Option<u64>,
) -> (ClusterCa, String, coordinator::ClusterHandle) {
    let authority = ClusterCa::new().expect("an authority");
    let issue = |name: &str, role| authority.issue(name, role).expect("a certificate");
    let config = ServerConfig {
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        identity: issue("coordinator", Role::Coordinator),
        transport: TransportOptions::default(),
        limits: Limits::default(),
    };
    let (handle, clients) = server::start(config).expect("a port");
    let service = Service::start(handle.clone(), None, memory_limit_bytes);
    tokio::spawn(Arc::clone(&service).serve(clients));
    let address = handle.address().to_string();
    for node in 0..nodes {
        let name = format!("node{node}");
        let worker = WorkerConfig {
            coordinator: address.clone(),
            bind: Ipv4Addr::LOCALHOST.into(),
            advertise: None,
            identity: issue(&name, Role::Node),
            name,
            connect_timeout: Duration::from_secs(10),
            rejoin: None,
            transport: TransportOptions::default(),
        };
        tokio::spawn(run_worker(worker, std::future::pending()));
    }
    handle.wait_for_nodes(nodes, Duration::from_secs(30)).await.expect("all nodes");
    (authority, address, handle)
}

fn quick_spec() -> CompareSpec {
    CompareSpec {
        rack_sizes: vec![2, 2],
        schemes: Some(vec![DispatchScheme::Flat]),
        latencies: vec![LatencyChoice::Zero],
        warmup: 0,
        rounds: 1,
        tokens: 4,
        ..small_spec()
    }
}

#[tokio::test]
async fn two_clients_are_served_one_after_the_other() {
    let (authority, address, handle) = cluster(4, None).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = Client { address: &address, identity: &identity, transport: TransportOptions::default() };
    let status = client.status().await.expect("a status");
    assert_eq!(status.nodes, ["node0", "node1", "node2", "node3"]);
    assert_eq!(status.comparisons, 0);

    // The second regroups the same nodes.
    let (first, second) = (quick_spec(), CompareSpec { rack_sizes: vec![1, 1, 2], ..quick_spec() });
    let (mut waited, mut records) = (0, 0);
    let mut waiting = |ahead| waited = waited.max(ahead);
    // Rows that the host disturbs are news of their own, and how many there are is not ours to say.
    let mut progress = |news| records += usize::from(matches!(news, Progress::Running { .. }));
    let under_way = Notify::new();
    let (mut ignore, mut tell) = (|_| {}, |_| under_way.notify_one());
    let early = client.compare(&first, &mut ignore, &mut tell);
    let late = async {
        under_way.notified().await;
        client.compare(&second, &mut waiting, &mut progress).await
    };
    let (early, late) = tokio::join!(early, late);
    for (report, racks) in [(early.expect("a report"), 2), (late.expect("a report"), 3)] {
        assert_eq!(report.rows.len(), 2 * 3);
        assert!(report.rows.iter().all(|row| row.verified), "{:?}", report.first_failure());
        assert_eq!(report.rows[5].racks, racks);
    }
    assert_eq!(waited, 1);
    assert_eq!(records, 2, "the quic rows");
    handle.shutdown().await;
}

#[tokio::test]
async fn what_can_not_be_run_is_refused_with_the_reason() {
    let (authority, address, handle) = cluster(1, Some(1)).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = Client { address: &address, identity: &identity, transport: TransportOptions::default() };
    let refused = async |spec: CompareSpec| match client.compare(&spec, &mut |_| {}, &mut |_| {}).await {
        Err(ClientError::Refused { error, usage }) => (error, usage),
        other => panic!("{other:?}"),
    };
    let (error, usage) = refused(CompareSpec { rounds: 0, ..quick_spec() }).await;
    assert!(usage && error.contains("at least 1 round"), "{error}");
    // Neither a path nor a program means anything here.
    let (error, usage) =
        refused(CompareSpec { placement: PlacementChoice::named("/etc/passwd"), ..quick_spec() }).await;
    assert!(usage && error.contains("no placement policy is called `/etc/passwd`"), "{error}");
    let program = r#"{"exec": {"origin": "exec:rm -r /", "answers": {}}}"#;
    let placement = serde_json::from_str(program).expect("a placement");
    let (error, usage) = refused(CompareSpec { placement, ..quick_spec() }).await;
    assert!(usage && error.contains("exec:rm -r /: runs where the command is typed"), "{error}");
    // The limit is the coordinator's, whatever the client asks for.
    let (error, usage) = refused(CompareSpec { memory_limit_bytes: Some(u64::MAX), ..quick_spec() }).await;
    assert!(!usage && error.contains("needs about"), "{error}");
    handle.shutdown().await;
}
