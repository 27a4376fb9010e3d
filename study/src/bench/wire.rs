//! How fast this host makes frames of rows, and rows of frames: one thread, by the wall clock.

use super::host::repeated;
use node::wire::{self, Flow, Frame, HEADER_BYTES, Origin, Phase, Row, TrafficClass};
use std::hint::black_box;
use topology::{Picos, RankId};

/// Encoding and decoding of one kind of frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WireRate {
    /// Bytes of a row's values.
    pub row_bytes: u64,
    /// Rows of a frame.
    pub rows: u32,
    /// Bytes of a frame, header and metadata included.
    pub frame_bytes: u64,
    /// Frames encoded a second: header, metadata and the checksum of all; values are not copied.
    pub encoded_per_s: f64,
    /// Frames decoded a second: checksum checked, rows are slices of what came.
    pub decoded_per_s: f64,
}

/// Measures frames of `rows` rows of `row_bytes` bytes.
///
/// # Panics
/// If a frame is not decoded to what was encoded, which a test of the wire holds.
#[must_use]
pub fn rate(row_bytes: u64, rows: u32) -> WireRate {
    let frame = frame(row_bytes as usize, rows);
    let bytes = wire::encode(&frame).concat();
    let (header, body) = bytes.split_at(HEADER_BYTES);
    let header: [u8; HEADER_BYTES] = header.try_into().expect("a header comes first");
    let body = body.to_vec().into();
    assert!(wire::decode(&header, &body).is_ok_and(|decoded| decoded == frame), "a frame is read back");
    let (time, times) = repeated(|| {
        black_box(wire::encode(black_box(&frame)));
    });
    let encoded_per_s = f64::from(times) / time.as_secs_f64();
    let (time, times) = repeated(|| {
        black_box(wire::decode(black_box(&header), black_box(&body)).is_ok());
    });
    let decoded_per_s = f64::from(times) / time.as_secs_f64();
    WireRate { row_bytes, rows, frame_bytes: bytes.len() as u64, encoded_per_s, decoded_per_s }
}

fn frame(row_bytes: usize, rows: u32) -> Frame {
    let row = |token: u32| Row {
        origin: Origin { source: RankId(1), token, sequence: 7, position: token },
        targets: moe::plan::Targets::default(),
        data: wire::RowData::Bytes(Box::new(vec![token as u8; row_bytes].into())),
    };
    Frame {
        flow: Flow { cluster: 7, run: 3, epoch: 1, step: 9, micro_batch: 0, layer: 0 },
        phase: Phase::Combine,
        class: TrafficClass::Tokens,
        source: RankId(1),
        destination: RankId(2),
        sequence: 6,
        arrive: Picos(123_456),
        last: Some(rows),
        credit_bytes: 0,
        rows: (0..rows).map(row).collect(),
        damaged: false,
    }
}

/// What stands above the data.
#[must_use]
pub fn header() -> String {
    format!(
        "# railyard bench {}: frames of combine rows on one thread of this host, measured by the wall clock\n\
         # encode: header, metadata and CRC-32C of all bytes, values are not copied; decode: the same checked, rows are slices\n\
         # {:>10}  {:>6}  {:>10}  {:>14}  {:>10}  {:>14}  {:>10}\n\
         # {:>10}  {:>6}  {:>10}  {:>14}  {:>10}  {:>14}  {:>10}\n",
        env!("CARGO_PKG_VERSION"),
        "row",
        "rows",
        "frame",
        "encode",
        "encode",
        "decode",
        "decode",
        "(B)",
        "",
        "(B)",
        "(frames/s)",
        "(GB/s)",
        "(frames/s)",
        "(GB/s)",
    )
}

/// A line of data.
#[must_use]
pub fn line(rate: &WireRate) -> String {
    let gigabytes = |frames: f64| frames * rate.frame_bytes as f64 / 1e9;
    format!(
        "  {:>10}  {:>6}  {:>10}  {:>14.0}  {:>10.2}  {:>14.0}  {:>10.2}\n",
        rate.row_bytes,
        rate.rows,
        rate.frame_bytes,
        rate.encoded_per_s,
        gigabytes(rate.encoded_per_s),
        rate.decoded_per_s,
        gigabytes(rate.decoded_per_s),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_made_and_read() {
        let rate = rate(1_024, 8);
        assert!(rate.encoded_per_s > 1.0 && rate.decoded_per_s > 1.0, "{rate:?}");
        assert!(rate.frame_bytes > 8 * 1_024);
        assert_eq!(line(&rate).split_whitespace().count(), 7);
    }
}
