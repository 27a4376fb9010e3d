//! A frame as it comes from a peer: a header, and as long a body as it promises.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use node::wire::{HEADER_BYTES, body_bytes, decode, encode, peek};

/// Where it begins: the header's last field.
const CHECKSUM: usize = HEADER_BYTES - 4;

fuzz_target!(|data: &[u8]| {
    let Some((header, rest)) = data.split_first_chunk::<HEADER_BYTES>() else { return };
    let _ = peek(header);
    let Ok(promised) = body_bytes(header) else { return };
    // What the stream does not have makes the link break.
    let body = Bytes::copy_from_slice(&rest[..promised.min(rest.len())]);
    // Whoever lies has a checksum for it.
    let mut header = *header;
    header[CHECKSUM..].fill(0);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header), &body);
    header[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
    if let Ok(frame) = decode(&header, &body) {
        assert_eq!(promised, body.len(), "a frame of another length than was promised");
        assert_eq!(
            encode(&frame).concat(),
            [&header[..], &body].concat(),
            "another frame was read than was sent"
        );
    }
});
