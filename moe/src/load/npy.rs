//! vLLM's `routed_experts` as NumPy saves it: an array `[len, moe_layers, topk]` of int16, int32 or int64.

use std::io::BufRead;

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
    let width = match value(&header, "descr").map(|text| text.trim_matches('\'')) {
        Some("<i2") => 2,
        Some("<i4") => 4,
        Some("<i8") => 8,
        other => return Err(wrong(format!("elements of type {}", other.unwrap_or("unknown")))),
    };
    if value(&header, "fortran_order") != Some("False") {
        return Err(wrong("it is not in C order".to_owned()));
    }
    let [len, layers, top_k] =
        shape(&header).ok_or_else(|| wrong("it has not three dimensions".to_owned()))?;
    let size = [len, layers, top_k, width].into_iter().try_fold(1_usize, usize::checked_mul);
    let Some(size) = size.filter(|size| (1..=MAX_LOAD_BYTES).contains(size)) else {
        return Err(wrong(format!(
            "shape [{len}, {layers}, {top_k}] is empty or of more than {MAX_LOAD_BYTES} bytes"
        )));
    };
    let body = read(&mut reader, size)?;
    if !reader.fill_buf().map_err(|error| LoadError::Io { origin: origin.to_owned(), error })?.is_empty() {
        return Err(wrong("it goes on after its array".to_owned()));
    }
    let (mut gathered, mut experts) = (Gathered::default(), Vec::with_capacity(top_k));
    for (at, row) in body.chunks_exact(width * top_k).enumerate() {
        experts.clear();
        experts.extend(row.chunks_exact(width).map(|bytes| {
            let mut wide = [if bytes[width - 1] & 0x80 == 0 { 0 } else { 0xFF }; 8];
            wide[..width].copy_from_slice(bytes);
            i64::from_le_bytes(wide)
        }));
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

fn shape(header: &str) -> Option<[usize; 3]> {
    let (_, rest) = header.split_once("'shape':")?;
    let (list, _) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    let sizes = list.split(',').map(|size| size.trim().parse().ok()).collect::<Option<Vec<_>>>()?;
    sizes.try_into().ok()
}
