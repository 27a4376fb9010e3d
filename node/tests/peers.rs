//! A worker and a peer of the same run that lies, or has no seat: the worker says who it was, at once, and goes on; nothing grows.

mod common;

use common::liar::{HERE, Liar, RUN};
use common::{setup, shape};
use moe::SlotId;
use moe::plan::{DispatchScheme, Target, Targets};
use node::control::{FromNode, NodeId, Occupant, SeatPlan, ToNode};
use node::net::clock::monotonic_ns;
use node::net::{Endpoint, Role, TransportOptions};
use node::program::Stop;
use node::setup::Setup;
use node::wire::{Flow, Frame, Origin, Phase, Row, RowData, Rows, TrafficClass, encode};
use quinn::{Connection, SendStream};
use topology::{Picos, RankId};

/// A seated peer: rank 1 of two, on a machine of its own making.
struct Peer {
    liar: Liar,
    _endpoint: Endpoint,
    connection: Connection,
    control: SendStream,
    rows: SendStream,
    setup: Setup,
}

impl Peer {
    /// In the dispatch of step 0.
    async fn new() -> Self {
        let mut liar = Liar::new().await;
        let identity = liar.authority.issue("w2", Role::Node).unwrap();
        let endpoint = Endpoint::bind((HERE, 0).into(), &identity, TransportOptions::default()).unwrap();
        let setup = setup(&[2], shape(64, 8, 2, 16), DispatchScheme::Dedup, 3);
        let occupant =
            |node, name: &str, address| Occupant { node: NodeId(node), name: name.to_owned(), address };
        let seats = vec![occupant(1, "w", (HERE, 9).into()), occupant(2, "w2", endpoint.local_address())];
        liar.configure(setup.clone(), SeatPlan { seats }).await;
        let link = endpoint.accept().await.unwrap().establish().await.unwrap().connection;
        let control = lane(&link, 2, TrafficClass::Control).await;
        let rows = lane(&link, 2, TrafficClass::Tokens).await;
        assert_eq!(liar.hear().await, FromNode::Configured { run: RUN });
        liar.prepare(0, Vec::new()).await;
        assert_eq!(liar.hear().await, FromNode::Prepared { run: RUN, step: 0 });
        let stop = Stop { half: 0, layer: 0, phase: Phase::Dispatch };
        let start_at_ns = monotonic_ns();
        liar.say(&ToNode::Begin { run: RUN, step: 0, stop, start_at_ns }).await;
        Self { liar, _endpoint: endpoint, connection: link, control, rows, setup }
    }

    /// A frame as rank 1 would send it first.
    fn frame(&self) -> Frame {
        let row = self.setup.row_bytes().dispatch as usize;
        Frame {
            flow: Flow { cluster: 0, run: RUN, epoch: 3, step: 0, micro_batch: 0, layer: 3 },
            phase: Phase::Dispatch,
            class: TrafficClass::Tokens,
            source: RankId(1),
            destination: RankId(0),
            sequence: 0,
            arrive: Picos::ZERO,
            last: None,
            credit_bytes: 0,
            rows: Rows::from_vec(vec![values(row - 16)]),
            damaged: false,
        }
    }

    async fn send(&mut self, frame: &Frame) {
        let lane = if frame.class == TrafficClass::Control { &mut self.control } else { &mut self.rows };
        // The worker may have closed already.
        let _ = lane.write_all_chunks(&mut encode(frame)).await;
    }
}

/// A row of rank 1's first token for the worker's first slot.
fn values(bytes: usize) -> Row {
    Row {
        origin: Origin { source: RankId(1), token: 0, sequence: 1, position: 0 },
        targets: Targets::from_slice(&[Target { slot: SlotId(0), weight: 1.0 }]),
        data: RowData::from(bytes::Bytes::from(vec![0; bytes])),
    }
}

async fn lane(link: &Connection, node: u32, class: TrafficClass) -> SendStream {
    let mut stream = link.open_uni().await.unwrap();
    let mut preamble = [0; 8];
    preamble[..4].copy_from_slice(&node.to_le_bytes());
    preamble[4] = u8::from(class == TrafficClass::Tokens);
    stream.write_all(&preamble).await.unwrap();
    stream
}

type Lie = fn(&Peer) -> Vec<Frame>;

#[tokio::test]
async fn a_peer_that_lies_is_named_and_the_worker_goes_on() {
    let lies: [(&str, Lie); 12] = [
        ("in the name of rank 0", |peer| vec![Frame { source: RankId(0), ..peer.frame() }]),
        ("came to cluster", |peer| {
            vec![Frame { flow: Flow { cluster: 9, ..peer.frame().flow }, ..peer.frame() }]
        }),
        ("came to run", |peer| vec![Frame { flow: Flow { epoch: 4, ..peer.frame().flow }, ..peer.frame() }]),
        ("frame 1 from rank 1 where 0 was due", |peer| vec![Frame { sequence: 1, ..peer.frame() }]),
        ("a frame of 0 rows", |peer| vec![Frame { rows: Rows::new(), ..peer.frame() }]),
        ("a frame of 1 rows", |peer| vec![Frame { rows: Rows::from_vec(vec![values(0)]), ..peer.frame() }]),
        ("a frame of 5 rows", |peer| vec![Frame { rows: vec![values(64); 5].into(), ..peer.frame() }]),
        ("rank 1 sent a frame stamped", |peer| vec![Frame { arrive: Picos(u64::MAX), ..peer.frame() }]),
        ("says it had 7 rows", |peer| vec![Frame { last: Some(7), ..peer.frame() }]),
        ("rank 1 grants", |peer| {
            let (class, rows) = (TrafficClass::Control, Rows::new());
            vec![Frame { class, rows, credit_bytes: u64::MAX, ..peer.frame() }; 2]
        }),
        ("frames of rank 1", |peer| {
            let phase = Phase::Combine;
            (0..2000).map(|sequence| Frame { phase, sequence, rows: Rows::new(), ..peer.frame() }).collect()
        }),
        ("rank 1", |peer| vec![Frame { rows: Rows::from_vec(vec![values(8)]), ..peer.frame() }]),
    ];
    for (expected, lie) in lies {
        let mut peer = Peer::new().await;
        for frame in lie(&peer) {
            peer.send(&frame).await;
        }
        let error = peer.liar.error().await;
        assert!(error.contains(expected), "{expected}: {error}");
        peer.connection.close(0u8.into(), b"done");
        peer.liar.leave().await;
    }
}

#[tokio::test]
async fn who_has_no_seat_or_another_s_name_is_not_heard() {
    let mut peer = Peer::new().await;
    // A member of the cluster without a seat, and one that says it were the one on it.
    for (name, node) in [("stranger", 2), ("w2", 7), ("w", 2)] {
        let identity = peer.liar.authority.issue(name, Role::Node).unwrap();
        let endpoint = Endpoint::bind((HERE, 0).into(), &identity, TransportOptions::default()).unwrap();
        let address = peer.connection.remote_address();
        let link = endpoint.dial(address, Role::Node).await.unwrap().connection;
        let mut stream = lane(&link, node, TrafficClass::Tokens).await;
        let wrong = Frame { sequence: 9, ..peer.frame() };
        let _ = stream.write_all_chunks(&mut encode(&wrong)).await;
        if node == 2 {
            assert!(link.closed().await.to_string().contains("not the node of a seat"), "{name}");
        }
    }
    // The run is undisturbed: what comes from the seat itself is the first that is noticed.
    let wrong = Frame { sequence: 1, ..peer.frame() };
    peer.send(&wrong).await;
    let error = peer.liar.error().await;
    assert!(error.contains("frame 1 from rank 1 where 0 was due"), "{error}");
    peer.connection.close(0u8.into(), b"done");
    peer.liar.leave().await;
}
