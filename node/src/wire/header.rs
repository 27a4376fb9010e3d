//! The fixed header: 88 bytes, little endian, read in place.

use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const MAGIC: [u8; 4] = *b"RYRD";
pub(crate) const VERSION: u8 = 1;
pub(crate) const FLAG_LAST: u8 = 1;

/// Size of the header on the wire.
pub const HEADER_BYTES: usize = size_of::<RawHeader>();
/// Most rows that one frame may carry.
pub(crate) const MAX_ROWS: u32 = 4096;
/// Most bytes of metadata and row values together that one frame may carry.
pub(crate) const MAX_BODY_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u8,
    pub(crate) class: u8,
    pub(crate) phase: u8,
    pub(crate) flags: u8,
    pub(crate) cluster: U64,
    pub(crate) run: U64,
    pub(crate) epoch: U32,
    pub(crate) step: U32,
    pub(crate) micro_batch: U16,
    pub(crate) layer: U16,
    pub(crate) source: U32,
    pub(crate) destination: U32,
    pub(crate) sequence: U32,
    pub(crate) arrive_ps: U64,
    pub(crate) credit_bytes: U64,
    pub(crate) flow_rows: U32,
    pub(crate) rows: U32,
    pub(crate) meta_bytes: U32,
    pub(crate) row_bytes: U32,
    pub(crate) data_bytes: U32,
    /// CRC32C of the header with this field zero, then of the body.
    pub(crate) crc32c: U32,
}

/// A frame that can't be what a correct peer sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not the start of a frame.
    #[error("not a Railyard frame (magic {0:02x?}): is another program writing to this port?")]
    Magic([u8; 4]),
    /// Another wire version.
    #[error("frame version {0}, this build speaks {VERSION}: run the same build on every node")]
    Version(u8),
    /// A field outside its range.
    #[error("frame field {field} is {value}, allowed is {allowed}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What the frame says.
        value: u64,
        /// What it may say.
        allowed: &'static str,
    },
    /// The lengths in the header contradict each other or the body.
    #[error("frame lengths disagree: {0}")]
    Length(String),
    /// The bytes changed on the way.
    #[error(
        "frame from rank {from} to rank {to} fails its CRC32C: computed {computed:08x}, carried {carried:08x}"
    )]
    Crc {
        /// Sender named in the header.
        from: u32,
        /// Receiver named in the header.
        to: u32,
        /// CRC of what arrived.
        computed: u32,
        /// CRC that the frame carries.
        carried: u32,
    },
}
