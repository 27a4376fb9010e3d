//! Control messages over a QUIC stream: a length, a version, and the message in bincode's fixed-width
//! encoding.
//!
//! ```text
//! offset  bytes  what
//!      0      4  length of the body in bytes, u32 little-endian, at most MESSAGE_BYTES_MAX
//!      4      1  version of the encoding, VERSION
//!      5      n  body: bincode 2, `config::legacy()` (little-endian, integers at full width, u64 lengths, u32 enum variants)
//! ```
//!
//! Tensor rows never come this way: they have their own fixed header.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest body in bytes, for the sender and the receiver alike.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Version of the encoding, the fifth byte of every message.
pub const VERSION: u8 = 8;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 5;

/// Why a control message could not be sent or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The body is longer than a message may be.
    #[error(
        "a control message of {bytes} bytes: at most {MESSAGE_BYTES_MAX} are allowed; split what it carries"
    )]
    TooLarge {
        /// Length of the body in bytes, as made or as announced.
        bytes: usize,
    },
    /// The peer's messages are encoded in another way.
    #[error(
        "the peer's control messages have version {found}, ours {VERSION}; run one build of railyard everywhere"
    )]
    Version {
        /// The peer's version.
        found: u8,
    },
    /// The stream ended within a message.
    #[error(
        "the stream ended within a control message, after {got} of {expected} bytes; the peer stopped or failed"
    )]
    Truncated {
        /// Bytes received of the header or the body.
        got: usize,
        /// Bytes that the header or the body has.
        expected: usize,
    },
    /// The body is not the expected message.
    #[error("malformed control message of {bytes} bytes: {source}; run one build of railyard everywhere")]
    Malformed {
        /// Length of the body in bytes.
        bytes: usize,
        /// What the decoder said.
        source: DecodeError,
    },
    /// The body holds more than the expected message.
    #[error(
        "control message of {bytes} bytes, but only {used} belong to it; run one build of railyard everywhere"
    )]
    Trailing {
        /// Length of the body in bytes.
        bytes: usize,
        /// Bytes that the message took.
        used: usize,
    },
    /// The message cannot be encoded, for instance a sequence of unknown length.
    #[error("cannot encode a control message: {0}")]
    Encode(#[from] EncodeError),
    /// The stream or its connection failed while reading.
    #[error("cannot receive a control message: {0}")]
    Read(#[from] ReadError),
    /// The stream or its connection failed while writing.
    #[error("cannot send a control message: {0}")]
    Write(#[from] WriteError),
}

/// Sends one message. It leaves the stream open; `SendStream::finish` ends it cleanly.
///
/// Not cancel safe: a message may be cut in the middle, and the stream is then of no more use.
///
/// # Errors
/// [`MessageError::TooLarge`], [`MessageError::Encode`] (nothing is sent then) or [`MessageError::Write`].
pub async fn send_message<T: Serialize>(stream: &mut SendStream, message: &T) -> Result<(), MessageError> {
    let bytes = encode(message)?;
    Ok(stream.write_chunk(Bytes::from(bytes)).await?)
}

/// Receives one message, or `None` where the peer has finished the stream after the last one.
///
/// Not cancel safe: a message may be read in part, and the stream is then of no more use.
///
/// # Errors
/// Any [`MessageError`] but those of sending. After an error the stream is of no more use.
pub async fn recv_message<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<Option<T>, MessageError> {
    let mut header = [0; HEADER_BYTES];
    match stream.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(cut(error, HEADER_BYTES)),
    }
    let mut body = vec![0; body_bytes(header)?];
    stream.read_exact(&mut body).await.map_err(|error| cut(error, body.len()))?;
    decode(&body).map(Some)
}

/// The wire format's encoding, with the decoder's budget.
fn config() -> Configuration<LittleEndian, Fixint, Limit<MESSAGE_BYTES_MAX>> {
    bincode::config::legacy().with_limit::<MESSAGE_BYTES_MAX>()
}

/// Header and body of a message.
///
/// # Errors
/// [`MessageError::TooLarge`] or [`MessageError::Encode`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::serde::encode_into_std_write(message, &mut bytes, config())?;
    let body = bytes.len() - HEADER_BYTES;
    let length = u32::try_from(body).ok().filter(|_| body <= MESSAGE_BYTES_MAX);
    let length = length.ok_or(MessageError::TooLarge { bytes: body })?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = VERSION;
    Ok(bytes)
}

/// Length of the body that follows `header`.
fn body_bytes(header: [u8; HEADER_BYTES]) -> Result<usize, MessageError> {
    let [a, b, c, d, found] = header;
    if found != VERSION {
        return Err(MessageError::Version { found });
    }
    let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
    if bytes > MESSAGE_BYTES_MAX { Err(MessageError::TooLarge { bytes }) } else { Ok(bytes) }
}

/// The message that `body` is, all of it.
///
/// # Errors
/// [`MessageError::Malformed`] or [`MessageError::Trailing`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, MessageError> {
    let bytes = body.len();
    let (message, used) = bincode::serde::decode_from_slice(body, config())
        .map_err(|source| MessageError::Malformed { bytes, source })?;
    if used == bytes { Ok(message) } else { Err(MessageError::Trailing { bytes, used }) }
}

fn cut(error: ReadExactError, expected: usize) -> MessageError {
    match error {
        ReadExactError::FinishedEarly(got) => MessageError::Truncated { got, expected },
        ReadExactError::ReadError(error) => MessageError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        epoch: u32,
        start_at_ns: u64,
        name: String,
        seats: Vec<u16>,
        kind: Kind,
        factor: f64,
        note: Option<bool>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Idle,
        Run { ranks: u8 },
    }

    fn sample() -> Sample {
        Sample {
            epoch: 7,
            start_at_ns: 1 << 40,
            name: "n0".to_owned(),
            seats: vec![1, 258],
            kind: Kind::Run { ranks: 16 },
            factor: 1.5,
            note: Some(true),
        }
    }

    /// The bytes that every later build, and any other encoder, must produce.
    const GOLDEN: &[u8] = &[
        0x31, 0, 0, 0, // length 49
        8, // version
        7, 0, 0, 0, // epoch
        0, 0, 0, 0, 0, 1, 0, 0, // start_at_ns
        2, 0, 0, 0, 0, 0, 0, 0, b'n', b'0', // name
        2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, // seats
        1, 0, 0, 0, 16, // kind
        0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // factor
        1, 1, // note
    ];

    fn header(bytes: &[u8]) -> [u8; HEADER_BYTES] {
        bytes[..HEADER_BYTES].try_into().unwrap()
    }

    #[test]
    fn the_bytes_of_a_message_are_fixed() {
        assert_eq!(encode(&sample()).unwrap(), GOLDEN);
        assert_eq!(body_bytes(header(GOLDEN)).unwrap(), GOLDEN.len() - HEADER_BYTES);
        assert_eq!(decode::<Sample>(&GOLDEN[HEADER_BYTES..]).unwrap(), sample());
    }

    #[test]
    fn what_is_too_large_is_neither_sent_nor_awaited() {
        let exact = "x".repeat(MESSAGE_BYTES_MAX - 8);
        let bytes = encode(&exact).unwrap();
        assert_eq!(decode::<String>(&bytes[HEADER_BYTES..]).unwrap(), exact);
        let error = encode(&"x".repeat(MESSAGE_BYTES_MAX - 7)).unwrap_err();
        assert!(matches!(error, MessageError::TooLarge { bytes } if bytes == MESSAGE_BYTES_MAX + 1));
        assert!(matches!(
            body_bytes([1, 0, 0, 4, VERSION]),
            Err(MessageError::TooLarge { bytes: 0x0400_0001 })
        ));
        assert_eq!(body_bytes([0, 0, 0, 4, VERSION]).unwrap(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn another_version_is_named_whatever_follows() {
        assert!(matches!(body_bytes([255, 255, 255, 255, 1]), Err(MessageError::Version { found: 1 })));
    }

    #[test]
    fn a_body_is_one_message_and_nothing_else() {
        let body = &GOLDEN[HEADER_BYTES..];
        assert!(matches!(
            decode::<Sample>(&body[..body.len() - 1]),
            Err(MessageError::Malformed { bytes: 48, .. })
        ));
        let longer = [body, &[0]].concat();
        assert!(matches!(decode::<Sample>(&longer), Err(MessageError::Trailing { bytes: 50, used: 49 })));
        let variant = [&body[..34], &[9], &body[35..]].concat();
        assert!(matches!(decode::<Sample>(&variant), Err(MessageError::Malformed { .. })));
        // A length that no body could hold must fail, not allocate.
        assert!(matches!(decode::<Vec<u64>>(&[255; 8]), Err(MessageError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_by_name(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = decode::<Sample>(&body) {
                prop_assert_eq!(decode::<Sample>(&encode(&message).unwrap()[HEADER_BYTES..]).is_ok(), true);
            }
        }
    }
}
