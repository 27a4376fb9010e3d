//! The shell with scripted nodes on real connections.

use super::*;
use crate::error::RunError;
use crate::run::StepRecord;
use crate::run::run_steps;
use crate::testing::request;
use node::control::{FromNode, Machine, PhaseReport, ToNode};
use node::net::{ClusterCa, Role, recv_message, send_message};
use node::trace::PhaseTrace;
use node::wire::Phase;
use quinn::{RecvStream, SendStream};
use topology::Picos;

struct Yard {
    authority: ClusterCa,
    handle: ClusterHandle,
    clients: Clients,
    news: broadcast::Receiver<CoordinatorEvent>,
}

async fn run(yard: &Yard, request: &RunRequest, steps: u32) -> Result<Vec<StepRecord>, RunError> {
    run_steps(&mut yard.handle.runner(), request, steps).await
}

/// A node that does what the test says.
struct Puppet {
    _endpoint: Endpoint,
    peer: Peer,
    send: SendStream,
    recv: RecvStream,
}

fn bind(authority: &ClusterCa, name: &str, role: Role) -> Endpoint {
    let identity = authority.issue(name, role).unwrap();
    Endpoint::bind(([127, 0, 0, 1], 0).into(), &identity, TransportOptions::default()).unwrap()
}

fn config(authority: &ClusterCa, port: u16) -> ServerConfig {
    ServerConfig {
        bind: ([127, 0, 0, 1], port).into(),
        identity: authority.issue("yard", Role::Coordinator).unwrap(),
        transport: TransportOptions::default(),
        limits: Limits { beat_ms: 0, return_ns: 0, ..Limits::default() },
    }
}

impl Yard {
    fn new() -> Self {
        let authority = ClusterCa::new().unwrap();
        let (handle, clients) = start(config(&authority, 0)).unwrap();
        let news = handle.subscribe();
        Self { authority, handle, clients, news }
    }

    async fn puppet(&self, name: &str) -> Puppet {
        let endpoint = bind(&self.authority, name, Role::Node);
        let peer = endpoint.dial(self.handle.address(), Role::Coordinator).await.unwrap();
        let (mut send, recv) = peer.connection.open_bi().await.unwrap();
        let address = ([0, 0, 0, 0], 7).into();
        let machine = Machine { id: "m".to_owned(), cores: 2 };
        send_message(&mut send, &FromNode::Register { name: name.to_owned(), address, machine })
            .await
            .unwrap();
        Puppet { _endpoint: endpoint, peer, send, recv }
    }

    /// The reason of the next refusal.
    async fn refusal(&mut self) -> String {
        loop {
            if let CoordinatorEvent::Refused { reason } = self.news.recv().await.unwrap() {
                return reason;
            }
        }
    }
}

impl Puppet {
    async fn hear(&mut self) -> Option<ToNode> {
        recv_message(&mut self.recv).await.unwrap()
    }

    async fn say(&mut self, message: FromNode) {
        send_message(&mut self.send, &message).await.unwrap();
    }

    /// Answers as a worker of `ranks` ranks does, until told to leave.
    async fn obey(mut self) -> Vec<ToNode> {
        let mut heard = Vec::new();
        while let Some(message) = self.hear().await {
            match &message {
                ToNode::Configure { setup, .. } => self.say(FromNode::Configured { run: setup.run }).await,
                ToNode::Prepare { run, step, .. } => {
                    self.say(FromNode::Prepared { run: *run, step: *step }).await
                }
                ToNode::Begin { run, step, stop, .. } => {
                    let report = report(stop.phase);
                    self.say(FromNode::Closed { run: *run, step: *step, half: 0, report }).await;
                    if stop.phase == Phase::Combine {
                        self.say(FromNode::Finished { run: *run, step: *step, half: 0, digests: vec![1; 4] })
                            .await;
                    }
                }
                _ => {}
            }
            let last = message == ToNode::Shutdown;
            heard.push(message);
            if last {
                self.peer.connection.close(0u32.into(), b"bye");
                break;
            }
        }
        heard
    }
}

fn report(phase: Phase) -> PhaseReport {
    PhaseReport {
        phase,
        measured: Picos::ZERO,
        stamped: Picos::ZERO,
        frames: 0,
        overtaken: 0,
        lateness_ns: Vec::new(),
        sent_bytes: Vec::new(),
        cpu_ns: 0,
        udp_bytes: 0,
        faults: 0,
        trace: PhaseTrace::default(),
    }
}

#[tokio::test]
async fn nodes_register_run_and_are_told_to_leave() {
    let yard = Yard::new();
    let nodes = [yard.puppet("b").await, yard.puppet("a").await].map(|puppet| tokio::spawn(puppet.obey()));
    yard.handle.wait_for_nodes(2, Duration::from_secs(5)).await.unwrap();
    let records = run(&yard, &request(&[1, 1]), 2).await.unwrap();
    assert_eq!((records.len(), &records[1].digests), (2, &vec![vec![1; 4]; 2]));
    yard.handle.shutdown().await;
    for (name, node) in ["b", "a"].into_iter().zip(nodes) {
        let heard = node.await.unwrap();
        assert!(
            matches!(heard[..3], [ToNode::Welcome { .. }, ToNode::Ping { .. }, ToNode::Configure { .. }]),
            "{name}"
        );
        let Some(ToNode::Configure { seats, .. }) = heard.get(2) else { panic!("{name} was not configured") };
        assert_eq!(
            seats.seats[1].address,
            ([127, 0, 0, 1], 7).into(),
            "an unspecified address becomes the one seen"
        );
        assert_eq!(heard.last(), Some(&ToNode::Shutdown));
    }
    assert!(matches!(run(&yard, &request(&[2]), 1).await, Err(RunError::Closed)));
}

#[tokio::test]
async fn a_connection_that_closes_ends_the_run_by_name() {
    let yard = Yard::new();
    let survivor = tokio::spawn(yard.puppet("a").await.obey());
    let mut victim = yard.puppet("b").await;
    yard.handle.wait_for_nodes(2, Duration::from_secs(5)).await.unwrap();
    let asked = request(&[2]);
    let dies = async {
        while !matches!(victim.hear().await, Some(ToNode::Configure { .. })) {}
        victim.peer.connection.close(1u32.into(), b"out of memory");
    };
    let (result, ()) = tokio::join!(run(&yard, &asked, 1), dies);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("b (rank 1) was lost during the configuration of run 1"), "{error}");
    assert!(error.contains("out of memory"), "{error}");
    assert_eq!(yard.handle.num_nodes(), 1);
    yard.handle.shutdown().await;
    assert!(survivor.await.unwrap().contains(&ToNode::Abort { run: 1 }));
}

#[tokio::test]
async fn dropping_the_future_of_a_run_aborts_it() {
    let yard = Yard::new();
    let mut puppet = yard.puppet("a").await;
    yard.handle.wait_for_nodes(1, Duration::from_secs(5)).await.unwrap();
    let asked = request(&[1]);
    {
        let mut first = Box::pin(run(&yard, &asked, 1));
        tokio::select! {
            _ = &mut first => panic!("nobody answered"),
            () = async { while !matches!(puppet.hear().await, Some(ToNode::Configure { .. })) {} } => {}
        }
        assert!(matches!(run(&yard, &asked, 1).await, Err(RunError::Busy { run: 1 })));
    }
    assert_eq!(puppet.hear().await, Some(ToNode::Abort { run: 1 }));
    let obeys = tokio::spawn(puppet.obey());
    run(&yard, &asked, 1).await.unwrap();
    drop(yard.handle);
    assert_eq!(
        obeys.await.unwrap().last(),
        Some(&ToNode::Shutdown),
        "the last handle shuts the coordinator down"
    );
}

#[tokio::test]
async fn strangers_and_liars_are_turned_away_and_the_cluster_goes_on() {
    let mut yard = Yard::new();
    let foreign = bind(&ClusterCa::new().unwrap(), "a", Role::Node);
    let error = foreign.dial(yard.handle.address(), Role::Coordinator).await.unwrap_err();
    assert!(error.to_string().contains("another cluster"), "{error}");
    assert!(yard.refusal().await.contains("another cluster"));

    let rival = bind(&yard.authority, "other", Role::Coordinator);
    let peer = rival.dial(yard.handle.address(), Role::Coordinator).await.unwrap();
    let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
    send_message(&mut send, &FromNode::Beat).await.unwrap();
    assert!(yard.refusal().await.contains("one coordinator"));

    let liar = bind(&yard.authority, "liar", Role::Node);
    let peer = liar.dial(yard.handle.address(), Role::Coordinator).await.unwrap();
    let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
    send.write_all(&[255, 255, 255, 255, node::net::frames::VERSION]).await.unwrap();
    let reason = yard.refusal().await;
    assert!(reason.starts_with("node liar at 127.0.0.1") && reason.contains("4294967295 bytes"), "{reason}");

    let hasty = bind(&yard.authority, "hasty", Role::Node);
    let peer = hasty.dial(yard.handle.address(), Role::Coordinator).await.unwrap();
    let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
    send_message(&mut send, &FromNode::Configured { run: 1 }).await.unwrap();
    assert!(yard.refusal().await.contains("no registration"));

    let nameless = yard.puppet("nameless").await;
    drop(nameless);
    let obeys = tokio::spawn(yard.puppet("a").await.obey());
    yard.handle.wait_for_nodes(1, Duration::from_secs(5)).await.unwrap();
    drop(yard.handle);
    obeys.await.unwrap();
}

#[tokio::test]
async fn nodes_may_ask_how_the_cluster_is_and_whether_they_are_there() {
    let yard = Yard::new();
    let obeys = tokio::spawn(yard.puppet("a").await.obey());
    yard.handle.wait_for_nodes(1, Duration::from_secs(5)).await.unwrap();
    let address = yard.handle.address().to_string();
    for (name, role, there) in
        [("a", Role::Node, true), ("b", Role::Node, false), ("other", Role::Coordinator, false)]
    {
        let identity = yard.authority.issue(name, role).unwrap();
        let health = node::health::ask(&address, &identity, TransportOptions::default()).await.unwrap();
        assert_eq!((health.there, health.nodes), (there, 1), "{name}");
    }
    drop(yard.handle);
    obeys.await.unwrap();
}

#[tokio::test]
async fn clients_are_passed_on_or_turned_away() {
    let mut yard = Yard::new();
    let client = bind(&yard.authority, "cli", Role::Client);
    let here = client.dial(yard.handle.address(), Role::Coordinator).await.unwrap();
    let there = yard.clients.recv().await.unwrap();
    assert_eq!((there.role, there.name.as_str()), (Role::Client, "cli"));
    drop(here);
    drop(std::mem::replace(&mut yard.clients, mpsc::channel(1).1));
    let _ = client.dial(yard.handle.address(), Role::Coordinator).await;
    assert!(yard.refusal().await.contains("serves no clients"));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let yard = Yard::new();
    let error = start(config(&yard.authority, yard.handle.address().port())).unwrap_err();
    assert!(error.to_string().contains("is taken"), "{error}");
}

#[tokio::test]
async fn waiting_for_nodes_ends() {
    let yard = Yard::new();
    let error = yard.handle.wait_for_nodes(2, Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, RunError::TooFewNodes { there: 0, needed: 2 }));
}
