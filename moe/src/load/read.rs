//! Which format a file of loads has, told from its content.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::lines::Lines;
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES, megatron, moe_balance, npy, simllm, vllm};

/// Reads the loads in a file, in whichever of the [`super::FORMATS`].
///
/// # Errors
/// [`LoadError`] names the file, the line and the remedy.
pub fn read_loads(path: &Path) -> Result<ExpertLoad, LoadError> {
    let origin = path.display().to_string();
    match File::open(path) {
        Ok(file) => parse_loads(BufReader::new(file), &origin),
        Err(error) => Err(LoadError::Io { origin, error }),
    }
}

/// Reads loads from any reader (a `&[u8]` is one); `origin` names it in errors.
///
/// # Errors
/// As [`read_loads`].
pub fn parse_loads(mut reader: impl BufRead, origin: &str) -> Result<ExpertLoad, LoadError> {
    let io = |error| LoadError::Io { origin: origin.to_owned(), error };
    let unknown = |found: &str| LoadError::Unknown { origin: origin.to_owned(), found: found.to_owned() };
    let start = reader.fill_buf().map_err(io)?;
    if start.starts_with(npy::MAGIC) {
        return npy::parse(reader, origin);
    }
    // A zip archive, or a pickle.
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80") {
        return Err(unknown("a binary dump, as of torch.save; only JSON is read, so convert it"));
    }
    let head = first_line(&mut reader, origin)?;
    let keys = match serde_json::from_slice::<Keys>(&head) {
        Ok(keys) => keys,
        // One document over many lines.
        Err(error) if error.is_eof() && !head.trim_ascii().is_empty() => {
            let text = rest(head, reader, origin)?;
            let keys: Keys =
                serde_json::from_str(&text).map_err(|error| unknown(&format!("not JSON: {error}")))?;
            return match keys.format() {
                Some(Format::Sglang) => ExpertLoad::from_sglang(&text, origin),
                Some(Format::Vllm) => vllm::parse_document(&text, origin),
                _ => Err(unknown("one JSON document without `logical_count` or `routed_experts`")),
            };
        }
        Err(_) if head.trim_ascii().is_empty() => return Err(unknown("nothing in it")),
        Err(error) => return Err(unknown(&format!("not JSON: {error}"))),
    };
    let Some(format) = keys.format() else {
        return Err(unknown("JSON without the key of a format in its first line"));
    };
    if format == Format::Sglang {
        return ExpertLoad::from_sglang(&rest(head, reader, origin)?, origin);
    }
    let whole = Cursor::new(head).chain(reader);
    match format {
        Format::Simllm => simllm::parse(whole, origin),
        Format::Megatron => megatron::parse(Lines::new(whole, origin)),
        Format::MoeBalance => moe_balance::parse(Lines::new(whole, origin)),
        Format::Sglang | Format::Vllm => vllm::parse(Lines::new(whole, origin)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Sglang,
    Megatron,
    MoeBalance,
    Vllm,
    Simllm,
}

/// The keys by which formats are told apart.
#[derive(Deserialize)]
struct Keys {
    logical_count: Option<IgnoredAny>,
    top_indices: Option<IgnoredAny>,
    topk_experts: Option<IgnoredAny>,
    routed_experts: Option<IgnoredAny>,
    routing: Option<IgnoredAny>,
    provenance: Option<IgnoredAny>,
    row_type: Option<IgnoredAny>,
}

impl Keys {
    fn format(&self) -> Option<Format> {
        [
            (&self.logical_count, Format::Sglang),
            (&self.top_indices, Format::Megatron),
            (&self.topk_experts, Format::MoeBalance),
            (&self.routed_experts, Format::Vllm),
            (&self.routing, Format::Simllm),
            (&self.provenance, Format::Simllm),
            (&self.row_type, Format::Simllm),
        ]
        .into_iter()
        .find_map(|(key, format)| key.is_some().then_some(format))
    }
}

/// The first line that is not blank, with the blank ones before it.
fn first_line(reader: &mut impl BufRead, origin: &str) -> Result<Vec<u8>, LoadError> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let left = (MAX_LOAD_BYTES + 1).saturating_sub(before) as u64;
        let read = reader.by_ref().take(left).read_until(b'\n', &mut head);
        let read = read.map_err(|error| LoadError::Io { origin: origin.to_owned(), error })?;
        if head.len() > MAX_LOAD_BYTES {
            return Err(too_long(origin));
        }
        if read == 0 || !head[before..].trim_ascii().is_empty() {
            return Ok(head);
        }
    }
}

/// The whole text, of which `head` was read.
fn rest(mut head: Vec<u8>, reader: impl BufRead, origin: &str) -> Result<String, LoadError> {
    let left = (MAX_LOAD_BYTES + 1).saturating_sub(head.len()) as u64;
    let read = reader.take(left).read_to_end(&mut head);
    read.map_err(|error| LoadError::Io { origin: origin.to_owned(), error })?;
    if head.len() > MAX_LOAD_BYTES {
        return Err(too_long(origin));
    }
    String::from_utf8(head)
        .map_err(|_| LoadError::Unknown { origin: origin.to_owned(), found: "not UTF-8".to_owned() })
}

fn too_long(origin: &str) -> LoadError {
    LoadError::Size { origin: origin.to_owned(), problem: format!("more than {MAX_LOAD_BYTES} bytes") }
}
