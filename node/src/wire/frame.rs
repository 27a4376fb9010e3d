//! Frames and rows as the state machines see them, before and after the wire.

use bytes::Bytes;
use moe::plan::Targets;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use topology::{Picos, RankId};

/// The part of a layer that a frame or a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Token rows travel from their source to the ranks that host their experts.
    Dispatch,
    /// Experts compute; nothing travels.
    Expert,
    /// Expert outputs travel back and are summed.
    Combine,
    /// In a run of a whole model: each rank computes for its own tokens, attention and what every token uses; nothing travels.
    Local,
    /// In a run of several pipeline stages: states go to the next stage, answers to the first.
    Hop,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dispatch, Self::Expert, Self::Combine, Self::Local, Self::Hop];

    /// Whether ranks compute in it; otherwise rows are on their way.
    #[must_use]
    pub fn computes(self) -> bool {
        matches!(self, Self::Local | Self::Expert)
    }

    /// Bytes of a row's origin that count as payload in this phase (see the module's first paragraph).
    #[must_use]
    pub fn charged_origin_bytes(self) -> u64 {
        if self == Self::Dispatch { ORIGIN_BYTES as u64 } else { 0 }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dispatch => "dispatch",
            Self::Expert => "expert phase",
            Self::Combine => "combine",
            Self::Local => "local phase",
            Self::Hop => "hop",
        })
    }
}

/// Size of a row's origin on the wire.
pub(crate) const ORIGIN_BYTES: usize = 16;

/// Queues of a port, served chunk by chunk in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrafficClass {
    /// Credits: a few bytes, never queued behind rows.
    Control,
    /// Dispatch and combine rows.
    Tokens,
    /// Activations between pipeline stages.
    Activations,
    /// Weight moves and other transfers that can wait.
    Bulk,
}

/// What a frame belongs to: the same five numbers on every frame of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// Random number of the cluster, from its formation: frames of another cluster are refused.
    pub cluster: u64,
    /// Number of the run (one configuration at one dilation).
    pub run: u64,
    /// Membership epoch in which the run's ranks were seated.
    pub epoch: u32,
    /// Step within the run, warm-up steps included.
    pub step: u32,
    /// Micro-batch within the step.
    pub micro_batch: u16,
    /// Layer of the model.
    pub layer: u16,
}

/// Where a row comes from. Stays with the row through every hop and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Rank that holds the token.
    pub source: RankId,
    /// Index of the token in its source's batch.
    pub token: u32,
    /// Stable identity: the sequence that the token belongs to.
    pub sequence: u32,
    /// Stable identity: the token's position in its sequence.
    pub position: u32,
}

/// A row's values: bytes in the phase's wire dtype, or a length only (payload-free simulation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowData {
    /// Real bytes; boxed so that a million rows without take 16 B each.
    Bytes(Box<Bytes>),
    /// Only their number.
    Len(u32),
}

impl From<Bytes> for RowData {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Box::new(bytes))
    }
}

impl RowData {
    /// Number of bytes, real or not.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Len(len) => u64::from(*len),
        }
    }

    /// True for a row of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One token copy on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whose token this is.
    pub origin: Origin,
    /// Dispatch: the slots to compute with their weights. Combine: the one slot (flat) or none (sums).
    pub targets: Targets,
    /// The values.
    pub data: RowData,
}

impl Row {
    /// Bytes charged to the ports for this row in `phase`.
    #[must_use]
    pub fn charged_bytes(&self, phase: Phase) -> u64 {
        self.data.len() + phase.charged_origin_bytes()
    }
}

/// Rows of one sender for one receiver, stamped by the sender's port.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Step that the frame belongs to.
    pub flow: Flow,
    /// Dispatch, combine or hop.
    pub phase: Phase,
    /// Queue that the frame travels in.
    pub class: TrafficClass,
    /// Sender of this hop.
    pub source: RankId,
    /// Receiver of this hop; rows name their final destinations in their targets and origin.
    pub destination: RankId,
    /// Counts the frames of this (source, destination, phase) from 0.
    pub sequence: u32,
    /// Emulated time at which the last byte enters the receiver's port, since the phase's start.
    pub arrive: Picos,
    /// Set on the final frame of the flow, which then says how many rows the flow had.
    pub last: Option<u32>,
    /// Bytes that the sender of this frame allows its receiver to send again.
    pub credit_bytes: u64,
    /// The rows, in canonical order of the flow.
    pub rows: Rows,
    /// A fault turns a bit of it on its way. It is not on the wire: the checksum tells.
    pub damaged: bool,
}

/// The rows of a frame; a single one takes no memory of its own.
pub type Rows = SmallVec<[Row; 1]>;

impl Frame {
    /// Bytes charged to the ports.
    #[must_use]
    pub fn charged_bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.charged_bytes(self.phase)).sum()
    }
}
