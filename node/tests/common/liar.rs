//! A worker and the coordinator's end of its line, which says what it likes.

use moe::stack::Column;
use node::control::{FromNode, NodeId, Pacing, SeatPlan, ToNode};
use node::net::{ClusterCa, Endpoint, Peer, Role, TransportOptions, recv_message, send_message};
use node::program::Stop;
use node::setup::Setup;
use node::worker::{WorkerConfig, WorkerError, run_worker};
use quinn::{RecvStream, SendStream};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const RUN: u64 = 7;

/// The coordinator's end of one worker.
pub(crate) struct Liar {
    /// Who issues certificates of the cluster.
    pub(crate) authority: ClusterCa,
    _endpoint: Endpoint,
    _peer: Peer,
    pub(crate) send: SendStream,
    recv: RecvStream,
    pub(crate) worker: JoinHandle<Result<(), WorkerError>>,
}

impl Liar {
    pub(crate) async fn new() -> Self {
        let authority = ClusterCa::new().unwrap();
        let identity = authority.issue("yard", Role::Coordinator).unwrap();
        let endpoint = Endpoint::bind((HERE, 0).into(), &identity, TransportOptions::default()).unwrap();
        let config = WorkerConfig {
            coordinator: endpoint.local_address().to_string(),
            bind: (HERE, 0).into(),
            advertise: None,
            identity: authority.issue("w", Role::Node).unwrap(),
            name: "w".to_owned(),
            connect_timeout: Duration::from_secs(10),
            rejoin: None,
            transport: TransportOptions::default(),
            mortal: false,
            tally: Arc::default(),
        };
        let worker = tokio::spawn(run_worker(config, std::future::pending()));
        let peer = endpoint.accept().await.unwrap().establish().await.unwrap();
        let (send, recv) = peer.connection.accept_bi().await.unwrap();
        let mut liar = Self { authority, _endpoint: endpoint, _peer: peer, send, recv, worker };
        assert!(matches!(liar.hear().await, FromNode::Register { .. }));
        liar.say(&ToNode::Welcome { node: NodeId(1), beat_ms: 0 }).await;
        liar
    }

    /// What the worker says next, but for whom it waits for.
    pub(crate) async fn hear(&mut self) -> FromNode {
        loop {
            let message = timeout(Duration::from_secs(20), recv_message(&mut self.recv)).await;
            let message = message.expect("an answer in time").unwrap().expect("the worker is there");
            if !matches!(message, FromNode::Waits(_)) {
                return message;
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &ToNode) {
        send_message(&mut self.send, message).await.unwrap();
    }

    pub(crate) async fn configure(&mut self, setup: Setup, seats: SeatPlan) {
        let setup = Arc::new(Setup { run: RUN, epoch: 3, ..setup });
        self.say(&ToNode::Configure { setup, seats: Arc::new(seats), pacing: Pacing::default() }).await;
    }

    pub(crate) async fn prepare(&mut self, step: u32, columns: Vec<Column>) {
        self.say(&ToNode::Prepare { run: RUN, step, columns }).await;
    }

    pub(crate) async fn begin(&mut self, step: u32, stop: Stop) {
        self.say(&ToNode::Begin { run: RUN, step, stop, start_at_ns: 0 }).await;
    }

    /// The error that the worker answers; it is then still there.
    pub(crate) async fn error(&mut self) -> String {
        let error = loop {
            match self.hear().await {
                FromNode::Failed { run: RUN, error, .. } => break error,
                FromNode::Failed { .. } => panic!("of another run"),
                _ => {}
            }
        };
        self.say(&ToNode::Ping { sent_ns: 5 }).await;
        while !matches!(self.hear().await, FromNode::Pong { sent_ns: 5, .. }) {}
        error
    }

    pub(crate) async fn leave(mut self) {
        self.say(&ToNode::Shutdown).await;
        self.worker.await.unwrap().unwrap();
    }
}
