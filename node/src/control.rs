//! Control messages between the coordinator, its nodes and its clients: serde types, bincode on the wire.
//!
//! No message carries token values: nodes send digests and counts, the coordinator sends commands.

use crate::program::Stop;
use crate::setup::Setup;
use crate::trace::PhaseTrace;
use crate::wire::Phase;
use moe::stack::Column;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use topology::{Picos, RankId};

/// Application error code of a connection that the coordinator turns away for now.
pub const TRY_AGAIN: u32 = 3;

/// A process in the cluster. A seat in an epoch is a [`topology::RankId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// The machine that a node runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The same for all nodes of one boot of one machine, containers included.
    pub id: String,
    /// Cores that the node may use.
    pub cores: u32,
}

/// Who sits where: index = rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatPlan {
    /// The node of each rank, `[num_ranks]`.
    pub seats: Vec<Occupant>,
}

/// The node on a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupant {
    /// Its number.
    pub node: NodeId,
    /// The name that its certificate shows.
    pub name: String,
    /// Where its peers dial it.
    pub address: SocketAddr,
}

/// How emulated time maps to the wall clock. Only the QUIC shell reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacing {
    /// Wall nanoseconds of a phase = emulated nanoseconds times this, for dispatch and combine.
    pub network_dilation: u64,
    /// The same for the expert phase, and for the local phases of a whole model.
    pub compute_dilation: u64,
    /// Wall time, ns, within which frames may swap turns at an ingress port (see [`crate::nic::NicConfig::resolution`]).
    pub resolution_ns: u64,
}

impl Default for Pacing {
    /// Undilated, with the resolution that a busy host's scheduler has: 3 ms.
    fn default() -> Self {
        Self { network_dilation: 1, compute_dilation: 1, resolution_ns: 3_000_000 }
    }
}

/// To a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToNode {
    /// Answer to a registration.
    Welcome {
        /// The node's number from now on.
        node: NodeId,
        /// How often both ends say [`Self::Beat`] and [`FromNode::Beat`], ms; 0 for never.
        beat_ms: u32,
    },
    /// The coordinator is alive.
    Beat,
    /// Take a seat in a run; answer [`FromNode::Configured`] once all peers are connected.
    Configure {
        /// The run, as the ranks of the node's stage are told it ([`Setup::for_stage`]).
        setup: Arc<Setup>,
        /// All seats.
        seats: Arc<SeatPlan>,
        /// Clock of the run.
        pacing: Pacing,
    },
    /// Take up a step; answer [`FromNode::Prepared`] once all halves are.
    Prepare {
        /// Run of the step.
        run: u64,
        /// The step.
        step: u32,
        /// What enters a whole model's first stage in the node's column, `[halves]`; empty where a step's tokens are always the same.
        columns: Vec<Column>,
    },
    /// Open a stop at a common instant; answer [`FromNode::Closed`], and where the program ends ([`crate::program::Program::finishes_at`])
    /// also [`FromNode::Finished`].
    Begin {
        /// Run of the step.
        run: u64,
        /// The step.
        step: u32,
        /// The stop.
        stop: Stop,
        /// When, by the node's own CLOCK_MONOTONIC, ns.
        start_at_ns: u64,
    },
    /// Forget the run.
    Abort {
        /// The run.
        run: u64,
    },
    /// Read the clock; answer [`FromNode::Pong`].
    Ping {
        /// The coordinator's clock when it asked, ns.
        sent_ns: u64,
    },
    /// Leave.
    Shutdown,
    /// Answer to [`FromNode::AskHealth`], and the end.
    Health {
        /// Whether a node of the asker's name is there.
        there: bool,
        /// Nodes that are there.
        nodes: u32,
    },
}

/// From a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromNode {
    /// First message: where peers can dial this node.
    Register {
        /// Name for people: host or container, process id.
        name: String,
        /// Data address.
        address: SocketAddr,
        /// Where it runs.
        machine: Machine,
    },
    /// Seated and connected.
    Configured {
        /// The run.
        run: u64,
    },
    /// Ready for dispatch.
    Prepared {
        /// The run.
        run: u64,
        /// The step.
        step: u32,
    },
    /// A phase is complete here.
    Closed {
        /// The run.
        run: u64,
        /// The step.
        step: u32,
        /// The half of the batch, as in [`Stop`].
        half: u16,
        /// What was measured.
        report: PhaseReport,
    },
    /// All tokens are summed.
    Finished {
        /// The run.
        run: u64,
        /// The step.
        step: u32,
        /// The half of the batch, as in [`Stop`].
        half: u16,
        /// XXH3-64 of each token's output bytes, `[tokens]`.
        digests: Vec<u64>,
    },
    /// Something is wrong; the run can't go on.
    Failed {
        /// The run, 0 outside one.
        run: u64,
        /// One line.
        error: String,
        /// The node at the other end of a link that broke.
        peer: Option<NodeId>,
    },
    /// The node is alive, whatever it computes.
    Beat,
    /// While a run is under way, from the loop that takes part in it: whom it waits for.
    Waits(Standing),
    /// Instead of a registration: is the coordinator well, and does it know a node of the name in this certificate?
    AskHealth,
    /// Answer to a ping.
    Pong {
        /// The time in the ping.
        sent_ns: u64,
        /// The node's clock, ns.
        node_ns: u64,
    },
}

/// What a rank that waits says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The run.
    pub run: u64,
    /// Ranks whose flow to this one is still open, [`WAITS_MAX`] of them at most, ascending.
    pub waits_for: Vec<RankId>,
    /// How many there are.
    pub waits: u32,
    /// How long its host last kept its loop from running, ns: later than it was due.
    pub held_ns: u64,
    /// The link on which it has lost most packets so far, if it has lost any.
    pub losses: Option<Losses>,
}

/// Packets that QUIC sent on a link and takes for lost; their rows were sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// The rank at the other end.
    pub to: RankId,
    /// Packets lost.
    pub lost: u64,
    /// Packets sent, lost ones included.
    pub sent: u64,
}

/// Most ranks that a [`Standing`] lists.
pub const WAITS_MAX: usize = 8;

/// One rank's record of one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// From the common start to the last row handed to the rank (or the end of its expert job): the wall clock divided by
    /// the dilation; in the simulator equal to `stamped`.
    pub measured: Picos,
    /// The same by the stamps.
    pub stamped: Picos,
    /// Data frames received.
    pub frames: u64,
    /// Of them physically later than their turn.
    pub overtaken: u64,
    /// How late each delivery was in wall ns: an HdrHistogram in its V2 encoding; empty in the simulator.
    pub lateness_ns: Vec<u8>,
    /// Row bytes sent to each rank that was sent any, ascending by rank.
    pub sent_bytes: Vec<(RankId, u64)>,
    /// CPU time that this process used during the phase, ns. What it did for the other half of a batch meanwhile is in it.
    pub cpu_ns: u64,
    /// Bytes that QUIC put on the network during the phase, for the other half of a batch as well, counted by QUIC; 0 in the simulator.
    pub udp_bytes: u64,
    /// Faults of the run's plan that this rank, or what it sent, has met in the phase.
    pub faults: u32,
    /// What the rank has kept for a timeline; nothing where the setup doesn't ask.
    pub trace: PhaseTrace,
}

impl ToNode {
    /// The instant in a command that opens a stop.
    pub fn start_at_ns_mut(&mut self) -> Option<&mut u64> {
        if let Self::Begin { start_at_ns, .. } = self { Some(start_at_ns) } else { None }
    }
}

impl PhaseReport {
    /// How long a phase lasts: until its slowest rank has its last row.
    #[must_use]
    pub fn slowest(reports: &[Self]) -> Picos {
        reports.iter().map(|report| report.measured).max().unwrap_or(Picos::ZERO)
    }
}
