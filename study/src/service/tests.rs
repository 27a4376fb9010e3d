//! Clients of a real coordinator with real workers, all tasks of this process, over QUIC.

use super::*;
use crate::layer::testing::small_spec;
use crate::layer::{BackendKind, CompareSpec, Dilation, LatencyChoice, Progress, Wanted};
use crate::placing::PlacementChoice;
use coordinator::machine::{CoordinatorEvent, Limits};
use coordinator::pace::Host;
use coordinator::server::{self, ServerConfig};
use moe::DispatchScheme;
use node::net::{ClusterCa, Identity, Role, TransportOptions};
use node::worker::{WorkerConfig, run_worker};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_secs(30);

/// A cluster of `nodes` nodes, which misses clients for `absent`; returns its authority and address.
async fn cluster(
    nodes: u32,
    memory_limit_bytes: Option<u64>,
    absent: Duration,
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
    let options =
        ServiceOptions { out: None, state: None, memory_limit_bytes, host: Host::bridged(), forming: LIMIT };
    let service = Service::start_with(handle.clone(), options, absent).expect("a service");
    tokio::spawn(Arc::clone(&service).serve(clients));
    let address = handle.address().to_string();
    for node in 0..nodes {
        let name = format!("node{node}");
        let worker = WorkerConfig {
            coordinator: address.clone(),
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            advertise: None,
            identity: issue(&name, Role::Node),
            name,
            connect_timeout: Duration::from_secs(10),
            rejoin: None,
            transport: TransportOptions::default(),
            mortal: false,
            tally: Arc::default(),
        };
        tokio::spawn(run_worker(worker, std::future::pending()));
    }
    handle.wait_for_nodes(nodes, LIMIT).await.expect("all nodes");
    (authority, address, handle)
}

fn client<'a>(address: &'a str, identity: &'a Identity) -> Client<'a> {
    Client { address, identity, transport: TransportOptions::default(), rejoin: LIMIT }
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
    let (authority, address, handle) = cluster(4, None, LIMIT).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = client(&address, &identity);
    let status = client.status().await.expect("a status");
    assert_eq!(status.nodes, ["node0", "node1", "node2", "node3"]);
    assert_eq!(status.comparisons, 0);

    // The second regroups the same nodes.
    let (first, second) = (quick_spec(), CompareSpec { rack_sizes: vec![1, 1, 2], ..quick_spec() });
    let (mut waited, mut records) = (0, 0);
    // Rows that the host disturbs are news of their own, and how many there are is not ours to say.
    let mut hear = |news| match news {
        News::Waiting(ahead) => waited = waited.max(ahead),
        News::Progress(progress) => records += usize::from(matches!(progress, Progress::Running { .. })),
        News::Gone { .. } | News::Back => {}
    };
    let under_way = Notify::new();
    let mut tell = |news| {
        if matches!(news, News::Progress(_)) {
            under_way.notify_one();
        }
    };
    let early = client.compare(JobId::draw(), &first, Wanted::All, &mut tell);
    let late = async {
        under_way.notified().await;
        client.compare(JobId::draw(), &second, Wanted::All, &mut hear).await
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
    let (authority, address, handle) = cluster(1, Some(1), LIMIT).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = client(&address, &identity);
    let refused = async |spec: CompareSpec| match client
        .compare(JobId::draw(), &spec, Wanted::All, &mut |_| {})
        .await
    {
        Err(ClientError::Refused { error, usage, .. }) => (error, usage),
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

/// A comparison that takes its time.
fn long_spec() -> CompareSpec {
    CompareSpec { rounds: 2_000, dilation: Dilation::Fixed(1_000_000), ..quick_spec() }
}

#[tokio::test]
async fn a_job_is_run_once_however_often_it_is_asked_for() {
    let (authority, address, handle) = cluster(4, None, LIMIT).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let other = authority.issue("other", Role::Client).expect("a certificate");
    let mut runs = handle.subscribe();
    let (client, other) = (client(&address, &identity), client(&address, &other));
    let (job, spec) = (JobId::draw(), quick_spec());
    // Two connections at the same time, and one that comes when all is done.
    let (mut unheard, mut unheard_too) = (|_| {}, |_| {});
    let (first, second) = tokio::join!(
        client.compare(job, &spec, Wanted::All, &mut unheard),
        client.compare(job, &spec, Wanted::All, &mut unheard_too)
    );
    let third = client.compare(job, &spec, Wanted::All, &mut |_| {}).await.expect("a report");
    let first = first.expect("a report");
    assert_eq!(first, second.expect("a report"));
    assert_eq!(first, third, "measured times too");
    let mut formed = 0;
    while let Ok(event) = runs.try_recv() {
        formed += usize::from(matches!(event, CoordinatorEvent::RunStarted { .. }));
    }
    // A row that the host disturbed was repeated by the one run that there was.
    let quic = first.rows.iter().filter(|row| row.backend == BackendKind::Quic);
    assert_eq!(formed, quic.map(|row| 1 + row.retries as usize).sum::<usize>());
    for refused in [
        client.compare(job, &CompareSpec { tokens: 5, ..spec.clone() }, Wanted::All, &mut |_| {}).await,
        other.compare(job, &spec, Wanted::All, &mut |_| {}).await,
    ] {
        let error = refused.expect_err("another request").to_string();
        assert!(error.contains("is another request's"), "{error}");
    }
    handle.shutdown().await;
}

#[tokio::test]
async fn a_job_that_is_withdrawn_says_what_it_has_and_makes_room_at_once() {
    let (authority, address, handle) = cluster(4, None, LIMIT).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = client(&address, &identity);
    let (job, spec) = (JobId::draw(), long_spec());
    let under_way = Notify::new();
    let mut tell = |news| {
        if matches!(news, News::Progress(Progress::Running { .. })) {
            under_way.notify_one();
        }
    };
    let asked = client.compare(job, &spec, Wanted::All, &mut tell);
    tokio::select! {
        ended = asked => panic!("{ended:?}"),
        () = under_way.notified() => {}
    }
    let report = client.withdraw(job).await.expect("an answer").expect("rows that need no nodes");
    assert!(!report.complete && !report.rows.is_empty() && report.rows.len() < 6, "{report:?}");
    assert_eq!(client.status().await.expect("a status").comparisons, 0);
    let error = client.withdraw(job).await.map(|report| report.is_some());
    assert!(!error.expect("an answer"), "it is forgotten");
    client.compare(JobId::draw(), &quick_spec(), Wanted::All, &mut |_| {}).await.expect("the nodes are free");
    handle.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_client_stays_away_is_given_up_and_goes_on_when_it_comes() {
    let (authority, address, handle) = cluster(4, None, Duration::ZERO).await;
    let identity = authority.issue("cli", Role::Client).expect("a certificate");
    let client = client(&address, &identity);
    let (job, spec) = (JobId::draw(), quick_spec());
    let under_way = Notify::new();
    let mut tell = |news| {
        if matches!(news, News::Progress(Progress::Running { done: 1, .. })) {
            under_way.notify_one();
        }
    };
    let asked = client.compare(job, &spec, Wanted::All, &mut tell);
    tokio::select! {
        ended = asked => panic!("{ended:?}"),
        () = under_way.notified() => {}
    }
    // Its connection is closed as it is dropped; the next client has the nodes to itself.
    let mut ahead = 0;
    let mut hear = |news| {
        if let News::Waiting(others) = news {
            ahead = others;
        }
    };
    client.compare(JobId::draw(), &spec, Wanted::All, &mut hear).await.expect("a report");
    assert!(ahead <= 1);
    let report = client.compare(job, &spec, Wanted::All, &mut |_| {}).await.expect("a report");
    assert!(report.complete && report.rows.iter().all(|row| row.verified), "{:?}", report.first_failure());
    handle.shutdown().await;
}
