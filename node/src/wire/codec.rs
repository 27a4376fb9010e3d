//! Frames to bytes and back: one copy of nothing but metadata, and no trust in any length.

use super::frame::{Flow, Frame, ORIGIN_BYTES, Origin, Phase, Row, RowData, Rows, TrafficClass};
use super::header::{
    FLAG_LAST, HEADER_BYTES, MAGIC, MAX_BODY_BYTES, MAX_ROWS, RawHeader, VERSION, WireError,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use moe::SlotId;
use moe::plan::Target;
use topology::{Picos, RankId};
use zerocopy::{FromBytes, IntoBytes};

const TARGET_BYTES: usize = 8;
const COUNT_BYTES: usize = 4;

/// Encodes a frame as a list of buffers: header and metadata, then each row's values uncopied.
///
/// # Panics
/// On rows without bytes, or more rows than a frame may carry: the sender's own state machine made the frame.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<Bytes> {
    assert!(frame.rows.len() <= MAX_ROWS as usize, "a frame carries at most {MAX_ROWS} rows");
    let meta_bytes: usize =
        frame.rows.iter().map(|row| ORIGIN_BYTES + COUNT_BYTES + TARGET_BYTES * row.targets.len()).sum();
    let mut head = BytesMut::with_capacity(HEADER_BYTES + meta_bytes);
    head.put_bytes(0, HEADER_BYTES);
    let mut buffers = Vec::with_capacity(1 + frame.rows.len());
    let mut data_bytes = 0;
    for row in &frame.rows {
        head.put_u32_le(row.origin.source.0);
        head.put_u32_le(row.origin.token);
        head.put_u32_le(row.origin.sequence);
        head.put_u32_le(row.origin.position);
        head.put_u32_le(u32::try_from(row.targets.len()).expect("a row has at most top-k targets"));
        for target in &row.targets {
            head.put_u32_le(target.slot.0);
            head.put_f32_le(target.weight);
        }
        let RowData::Bytes(bytes) = &row.data else { panic!("a row without payload can't go on the wire") };
        data_bytes += bytes.len();
        buffers.push(bytes.as_ref().clone());
    }
    let narrow = |value: usize| u32::try_from(value).expect("frame sizes are bounded by the chunk size");
    let mut header = RawHeader {
        magic: MAGIC,
        version: VERSION,
        class: code(&CLASSES, &frame.class),
        phase: code(&PHASES, &frame.phase),
        flags: if frame.last.is_some() { FLAG_LAST } else { 0 },
        cluster: frame.flow.cluster.into(),
        run: frame.flow.run.into(),
        epoch: frame.flow.epoch.into(),
        step: frame.flow.step.into(),
        micro_batch: frame.flow.micro_batch.into(),
        layer: frame.flow.layer.into(),
        source: frame.source.0.into(),
        destination: frame.destination.0.into(),
        sequence: frame.sequence.into(),
        arrive_ps: frame.arrive.0.into(),
        credit_bytes: frame.credit_bytes.into(),
        flow_rows: frame.last.unwrap_or(0).into(),
        rows: narrow(frame.rows.len()).into(),
        meta_bytes: narrow(meta_bytes).into(),
        row_bytes: narrow(buffers.first().map_or(0, Bytes::len)).into(),
        data_bytes: narrow(data_bytes).into(),
        crc32c: 0.into(),
    };
    let mut crc = crc32c::crc32c(header.as_bytes());
    crc = crc32c::crc32c_append(crc, &head[HEADER_BYTES..]);
    for buffer in &buffers {
        crc = crc32c::crc32c_append(crc, buffer);
    }
    header.crc32c = crc.into();
    head[..HEADER_BYTES].copy_from_slice(header.as_bytes());
    if frame.damaged {
        // A bit of the checksum itself: what it covers is then another.
        let last = HEADER_BYTES - 1;
        head[last] ^= 1;
    }
    buffers.insert(0, head.freeze());
    buffers
}

/// How many bytes follow a header, after checking all that the header alone can show.
///
/// # Errors
/// A [`WireError`] that names the field.
pub fn body_bytes(header: &[u8; HEADER_BYTES]) -> Result<usize, WireError> {
    let raw = parse(header)?;
    Ok((raw.meta_bytes.get() + raw.data_bytes.get()) as usize)
}

/// Sender and charged phase of a header, for error messages before the body is read.
#[must_use]
pub fn peek(header: &[u8; HEADER_BYTES]) -> (RankId, RankId) {
    let raw = RawHeader::read_from_bytes(header).expect("a header of the right size");
    (RankId(raw.source.get()), RankId(raw.destination.get()))
}

/// Decodes a frame whose rows are slices of `body`.
///
/// # Errors
/// A [`WireError`] for every way in which the bytes are not a frame that [`encode`] makes.
pub fn decode(header: &[u8; HEADER_BYTES], body: &Bytes) -> Result<Frame, WireError> {
    let raw = parse(header)?;
    let (meta_bytes, data_bytes) = (raw.meta_bytes.get() as usize, raw.data_bytes.get() as usize);
    if body.len() != meta_bytes + data_bytes {
        return Err(WireError::Length(format!(
            "the header says {meta_bytes} + {data_bytes} bytes, the body has {}",
            body.len()
        )));
    }
    let mut unsigned = raw;
    unsigned.crc32c = 0.into();
    let computed = crc32c::crc32c_append(crc32c::crc32c(unsigned.as_bytes()), body);
    if computed != raw.crc32c.get() {
        let (from, to, carried) = (raw.source.get(), raw.destination.get(), raw.crc32c.get());
        return Err(WireError::Crc { from, to, computed, carried });
    }
    let row_bytes = raw.row_bytes.get() as usize;
    let mut meta = body.slice(..meta_bytes);
    let mut rows = Rows::with_capacity(raw.rows.get() as usize);
    for index in 0..raw.rows.get() as usize {
        let short = || {
            WireError::Length(format!("row {index}'s metadata runs past the {meta_bytes} bytes announced"))
        };
        if meta.remaining() < ORIGIN_BYTES + COUNT_BYTES {
            return Err(short());
        }
        let origin = Origin {
            source: RankId(meta.get_u32_le()),
            token: meta.get_u32_le(),
            sequence: meta.get_u32_le(),
            position: meta.get_u32_le(),
        };
        let count = meta.get_u32_le() as usize;
        if meta.remaining() / TARGET_BYTES < count {
            return Err(short());
        }
        let targets = (0..count)
            .map(|_| Target { slot: SlotId(meta.get_u32_le()), weight: meta.get_f32_le() })
            .collect();
        let start = meta_bytes + index * row_bytes;
        rows.push(Row { origin, targets, data: body.slice(start..start + row_bytes).into() });
    }
    if meta.has_remaining() {
        return Err(WireError::Length(format!("{} bytes of metadata are left over", meta.remaining())));
    }
    Ok(Frame {
        flow: Flow {
            cluster: raw.cluster.get(),
            run: raw.run.get(),
            epoch: raw.epoch.get(),
            step: raw.step.get(),
            micro_batch: raw.micro_batch.get(),
            layer: raw.layer.get(),
        },
        phase: phase_of(raw.phase)?,
        class: class_of(raw.class)?,
        source: RankId(raw.source.get()),
        destination: RankId(raw.destination.get()),
        sequence: raw.sequence.get(),
        arrive: Picos(raw.arrive_ps.get()),
        last: (raw.flags & FLAG_LAST != 0).then_some(raw.flow_rows.get()),
        credit_bytes: raw.credit_bytes.get(),
        rows,
        damaged: false,
    })
}

fn parse(header: &[u8; HEADER_BYTES]) -> Result<RawHeader, WireError> {
    let raw = RawHeader::read_from_bytes(header).expect("a header of the right size");
    if raw.magic != MAGIC {
        return Err(WireError::Magic(raw.magic));
    }
    if raw.version != VERSION {
        return Err(WireError::Version(raw.version));
    }
    let field = |field, value: u64, allowed| Err(WireError::Field { field, value, allowed });
    class_of(raw.class)?;
    phase_of(raw.phase)?;
    if raw.flags & !FLAG_LAST != 0 {
        return field("flags", raw.flags.into(), "0 or 1 (last)");
    }
    if raw.flags & FLAG_LAST == 0 && raw.flow_rows.get() != 0 {
        return field("flow_rows", raw.flow_rows.get().into(), "0 but for the last frame of a flow");
    }
    if raw.rows.get() == 0 && raw.row_bytes.get() != 0 {
        return field("row_bytes", raw.row_bytes.get().into(), "0 in a frame without rows");
    }
    if raw.rows.get() > MAX_ROWS {
        return field("rows", raw.rows.get().into(), "at most 4096");
    }
    let body = u64::from(raw.meta_bytes.get()) + u64::from(raw.data_bytes.get());
    if body > MAX_BODY_BYTES {
        return field("meta_bytes + data_bytes", body, "at most 64 MiB");
    }
    let rows = u64::from(raw.rows.get()) * u64::from(raw.row_bytes.get());
    if rows != u64::from(raw.data_bytes.get()) {
        return Err(WireError::Length(format!(
            "{} rows of {} bytes are not {} bytes",
            raw.rows, raw.row_bytes, raw.data_bytes
        )));
    }
    Ok(raw)
}

/// Phases in which rows travel; a phase's code is its place.
const PHASES: [Phase; 3] = [Phase::Dispatch, Phase::Combine, Phase::Hop];
/// Classes by code.
const CLASSES: [TrafficClass; 4] =
    [TrafficClass::Control, TrafficClass::Tokens, TrafficClass::Activations, TrafficClass::Bulk];

fn code<T: PartialEq>(all: &[T], value: &T) -> u8 {
    let at = all.iter().position(|known| known == value);
    at.and_then(|at| u8::try_from(at).ok()).expect("nothing travels while ranks compute")
}

fn phase_of(code: u8) -> Result<Phase, WireError> {
    let allowed = "0 (dispatch), 1 (combine) or 2 (hop)";
    let wrong = WireError::Field { field: "phase", value: code.into(), allowed };
    PHASES.get(usize::from(code)).copied().ok_or(wrong)
}

fn class_of(code: u8) -> Result<TrafficClass, WireError> {
    let wrong = WireError::Field { field: "class", value: code.into(), allowed: "0 to 3" };
    CLASSES.get(usize::from(code)).copied().ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(rows: usize, width: usize) -> Frame {
        Frame {
            flow: Flow { cluster: 7, run: 3, epoch: 1, step: 9, micro_batch: 2, layer: 5 },
            phase: Phase::Dispatch,
            class: TrafficClass::Tokens,
            source: RankId(4),
            destination: RankId(11),
            sequence: 6,
            arrive: Picos(123_456_789),
            last: Some(17),
            credit_bytes: 0,
            rows: (0..rows)
                .map(|i| Row {
                    origin: Origin {
                        source: RankId(4),
                        token: i as u32,
                        sequence: 40 + i as u32,
                        position: 1,
                    },
                    targets: (0..i % 3).map(|t| Target { slot: SlotId(t as u32), weight: 0.25 }).collect(),
                    data: Bytes::from(vec![i as u8; width]).into(),
                })
                .collect(),
            damaged: false,
        }
    }

    fn flat(frame: &Frame) -> ([u8; HEADER_BYTES], Vec<u8>) {
        let all = encode(frame).concat();
        (all[..HEADER_BYTES].try_into().unwrap(), all[HEADER_BYTES..].to_vec())
    }

    #[test]
    fn the_header_is_88_bytes_and_starts_with_its_name() {
        let (header, _) = flat(&sample(0, 0));
        assert_eq!(HEADER_BYTES, 88);
        assert_eq!(&header[..8], b"RYRD\x01\x01\x00\x01");
    }

    #[test]
    fn a_header_that_lies_about_its_lengths_is_refused() {
        let (mut header, body) = flat(&sample(3, 16));
        header[68] = 200; // the row count's first byte
        assert!(matches!(decode(&header, &Bytes::from(body)), Err(WireError::Length(_))));
        let (header, body) = flat(&sample(3, 16));
        let error = decode(&header, &Bytes::from(body[1..].to_vec())).unwrap_err();
        assert!(matches!(error, WireError::Length(_)), "{error}");
    }

    #[test]
    fn a_field_that_would_be_dropped_is_refused() {
        // Found by fuzzing: such a frame was read as another one than was sent.
        for (at, to, named) in [(7, 0, "flow_rows"), (76, 8, "row_bytes")] {
            let (mut header, body) = flat(&sample(0, 0));
            header[at] = to;
            let error = decode(&header, &Bytes::from(body)).unwrap_err();
            assert!(matches!(error, WireError::Field { field, .. } if field == named), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(rows in 0usize..20, width in 0usize..300) {
            let frame = sample(rows, width);
            let (header, body) = flat(&frame);
            prop_assert_eq!(decode(&header, &Bytes::from(body)).unwrap(), frame);
        }

        #[test]
        fn any_flipped_bit_is_seen(bit in 0usize..(88 + 5 * 20 + 4 * 8 + 5 * 32) * 8) {
            let (mut header, mut body) = flat(&sample(5, 32));
            let byte = bit / 8;
            prop_assume!(byte < HEADER_BYTES + body.len());
            if byte < HEADER_BYTES { header[byte] ^= 1 << (bit % 8) } else { body[byte - HEADER_BYTES] ^= 1 << (bit % 8) }
            prop_assert!(decode(&header, &Bytes::from(body)).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 88..400)) {
            let mut header: [u8; HEADER_BYTES] = bytes[..HEADER_BYTES].try_into().unwrap();
            let _ = decode(&header, &Bytes::from(bytes[HEADER_BYTES..].to_vec()));
            header[..8].copy_from_slice(b"RYRD\x01\x01\x00\x01");
            let _ = decode(&header, &Bytes::from(bytes[HEADER_BYTES..].to_vec()));
        }
    }
}
