//! The wire format of token data: a fixed little-endian header, row metadata, raw row bytes.
//!
//! A frame carries rows of one (sender, receiver, step, phase). Only row bytes are charged to the emulated ports: in dispatch
//! the 16-byte origin counts as part of a row (DeepEP's low-latency row is 7168 + 56*4 + 16 = 7,408 bytes), in combine a
//! row is its BF16 values alone (14,336 bytes). Headers, target lists and combine origins are counted apart.

mod codec;
mod frame;
mod header;

pub use codec::{body_bytes, decode, encode, peek};
pub use frame::{Flow, Frame, Origin, Phase, Row, RowData, Rows, TrafficClass};
pub use header::{HEADER_BYTES, WireError};
