//! Arrays as NumPy saves them: vLLM's `routed_experts`, `[len, moe_layers, topk]` of int16, int32 or int64, or counts,
//! `[layers, experts]` of these or of floats.

use std::io::BufRead;

use super::counts::Table;
use super::picks::{Gathered, PickedRow};
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES};

/// The first bytes of an `.npy` file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is read, bytes.
const MAX_HEADER_BYTES: usize = 4096;

/// Reads an array (the format of `numpy.lib.format`, versions 1 to 3).
pub(super) fn parse(mut reader: impl BufRead, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |problem: String| LoadError::Npy { origin: origin.to_owned(), problem };
    let read = |reader: &mut dyn BufRead, bytes: usize| {
        let mut read = vec![0; bytes];
        match reader.read_exact(&mut read) {
            Ok(()) => Ok(read),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(wrong("it ends before its array does".to_owned()))
            }
            Err(error) => Err(LoadError::Io { origin: origin.to_owned(), error }),
        }
    };
    let version = read(&mut reader, MAGIC.len() + 2)?[MAGIC.len()];
    let length = read(&mut reader, if version == 1 { 2 } else { 4 })?;
    let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    if !(1..=3).contains(&version) || length > MAX_HEADER_BYTES {
        return Err(wrong(format!("version {version} with a header of {length} bytes")));
    }
    let header = String::from_utf8_lossy(&read(&mut reader, length)?).into_owned();
    let descr = value(&header, "descr").map_or("unknown", |text| text.trim_matches('\''));
    let width = match descr {
        "<i2" => 2,
        "<i4" | "<f4" => 4,
        "<i8" | "<f8" => 8,
        other => return Err(wrong(format!("elements of type {other}"))),
    };
    if value(&header, "fortran_order") != Some("False") {
        return Err(wrong("it is not in C order".to_owned()));
    }
    let shape = shape(&header).ok_or_else(|| wrong("it has no shape".to_owned()))?;
    let size = shape.iter().try_fold(width, |size: usize, &length| size.checked_mul(length));
    let Some(size) = size.filter(|size| (1..=MAX_LOAD_BYTES).contains(size)) else {
        return Err(wrong(format!("shape {shape:?} is empty or of more than {MAX_LOAD_BYTES} bytes")));
    };
    let body = read(&mut reader, size)?;
    if !reader.fill_buf().map_err(|error| LoadError::Io { origin: origin.to_owned(), error })?.is_empty() {
        return Err(wrong("it goes on after its array".to_owned()));
    }
    if let [_, experts] = shape[..] {
        let count = |bytes: &[u8]| float(descr, bytes);
        let layers =
            body.chunks_exact(width * experts).map(|layer| layer.chunks_exact(width).map(count).collect());
        return ExpertLoad::of_table(Table::of_layers(layers.collect()), origin);
    }
    let [_, layers, top_k] = shape[..] else {
        return Err(wrong(format!("it has {} dimensions", shape.len())));
    };
    if descr.contains('f') {
        return Err(wrong(format!("picks of type {descr}")));
    }
    let (mut gathered, mut experts) = (Gathered::default(), Vec::with_capacity(top_k));
    for (at, row) in body.chunks_exact(width * top_k).enumerate() {
        experts.clear();
        experts.extend(row.chunks_exact(width).map(integer));
        let (token, layer) = (at / layers, at % layers);
        let row = PickedRow { experts: &experts, ..PickedRow::default() };
        let pushed = u32::try_from(layer).map_err(|_| "too many layers".to_owned());
        pushed
            .and_then(|layer| gathered.push((0, layer), &row))
            .map_err(|problem| wrong(format!("token {token}, layer {layer}: {problem}")))?;
    }
    gathered.finish(None, origin)
}

/// The text of a value of the header's dictionary, up to the next comma.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    Some(rest.split([',', '}']).next()?.trim())
}

/// A signed integer, lowest byte first.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xFF } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

fn float(descr: &str, bytes: &[u8]) -> f64 {
    match descr {
        "<f4" => f32::from_bits(integer(bytes) as u32).into(),
        "<f8" => f64::from_bits(integer(bytes) as u64),
        _ => integer(bytes) as f64,
    }
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let (_, rest) = header.split_once("'shape':")?;
    let (list, _) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    list.trim_end_matches(',').split(',').map(|size| size.trim().parse().ok()).collect()
}
