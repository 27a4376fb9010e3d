//! Which format a file of loads has, told from its content.

use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::constant::not_json;
use super::format::Format;
use super::lines::Lines;
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES, csv, megatron, moe_balance, npy, simllm, tables, vllm};

/// Every format; an object with keys of several is of the first.
pub(super) const FORMATS: &[Format] =
    &[tables::FORMAT, megatron::FORMAT, vllm::FORMAT, moe_balance::FORMAT, simllm::FORMAT];

const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads the loads in a file, in whichever of the [`formats`].
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
pub fn parse_loads(reader: impl BufRead, origin: &str) -> Result<ExpertLoad, LoadError> {
    parse_as(FORMATS, reader, origin)
}

/// The same with a table of formats.
pub(super) fn parse_as(
    formats: &[Format],
    mut reader: impl BufRead,
    origin: &str,
) -> Result<ExpertLoad, LoadError> {
    let io = |error| LoadError::Io { origin: origin.to_owned(), error };
    let unknown = |found: &str| unknown(origin, found);
    let no_text = |found: &str| LoadError::Broken { origin: origin.to_owned(), problem: found.to_owned() };
    let start = reader.fill_buf().map_err(io)?;
    if start.starts_with(npy::MAGIC) {
        return npy::parse(reader, origin);
    }
    // A zip archive, or a pickle.
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80") {
        return Err(no_text("a binary dump, as of torch.save; only JSON is read, so convert it"));
    }
    if start.starts_with(b"\x1F\x8B") {
        return Err(no_text("a gzip file; unpack it first"));
    }
    if start.starts_with(UTF8_BOM) {
        reader.consume(UTF8_BOM.len());
    }
    let mut head = first_line(&mut reader, origin)?;
    let more = goes_on(&mut head, &mut reader).map_err(io)?;
    match head.trim_ascii().first() {
        None => return Err(unknown("nothing in it")),
        Some(b'{') => {}
        Some(b'[') if more && serde_json::from_slice::<IgnoredAny>(&head).is_ok() => {
            return tables::parse_lines(Lines::new(Cursor::new(head).chain(reader), origin));
        }
        Some(b'[') => {
            let text = rest(head, reader, origin)?;
            let parse = tables::FORMAT.document.expect("lists are documents");
            return match serde_json::from_str::<IgnoredAny>(&text) {
                Ok(_) => parse(&text, origin),
                Err(error) => Err(broken(origin, text.as_bytes(), &error)),
            };
        }
        Some(_) => return csv::parse(&rest(head, reader, origin)?, origin),
    }
    match serde_json::from_slice::<Keys>(&head) {
        Ok(keys) => match find(formats, &keys) {
            Some(Format { lines: Some(parse), document, .. }) if more || document.is_none() => {
                parse(Lines::new(Cursor::new(head).chain(reader), origin))
            }
            Some(Format { document: Some(parse), .. }) => parse(&rest(head, reader, origin)?, origin),
            _ => Err(unknown("JSON without the key of a format")),
        },
        // One document over many lines.
        Err(error) if error.is_eof() => {
            let text = rest(head, reader, origin)?;
            let keys: Keys =
                serde_json::from_str(&text).map_err(|error| broken(origin, text.as_bytes(), &error))?;
            match find(formats, &keys).and_then(|format| format.document) {
                Some(parse) => parse(&text, origin),
                None => Err(unknown("one JSON document that is of no format")),
            }
        }
        Err(error) => Err(broken(origin, &head, &error)),
    }
}

/// Every format that is read, for people.
#[must_use]
pub fn formats() -> String {
    let words: Vec<_> = FORMATS.iter().map(|format| format.words).collect();
    let (last, others) = words.split_last().expect("there are formats");
    format!("{} or {last}", others.join(", "))
}

/// The keys of a JSON object.
type Keys = BTreeMap<String, IgnoredAny>;

fn find<'a>(formats: &'a [Format], keys: &Keys) -> Option<&'a Format> {
    let known = formats.iter().find(|format| format.keys.iter().any(|&key| keys.contains_key(key)));
    let layers = || !keys.is_empty() && tables::are_layers(keys.keys());
    known.or_else(|| layers().then_some(&tables::FORMAT))
}

fn unknown(origin: &str, found: &str) -> LoadError {
    LoadError::Unknown { origin: origin.to_owned(), found: found.to_owned(), known: formats() }
}

fn broken(origin: &str, text: &[u8], error: &serde_json::Error) -> LoadError {
    LoadError::Broken { origin: origin.to_owned(), problem: not_json(text, error) }
}

/// Whether anything but blanks comes after `head`, which gets the blanks.
fn goes_on(head: &mut Vec<u8>, reader: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let next = reader.fill_buf()?;
        let (blanks, all) = (next.iter().take_while(|byte| byte.is_ascii_whitespace()).count(), next.len());
        head.extend(&next[..blanks]);
        reader.consume(blanks);
        if blanks < all || all == 0 || head.len() > MAX_LOAD_BYTES {
            return Ok(all > 0);
        }
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
    String::from_utf8(head).map_err(|_| unknown(origin, "not UTF-8"))
}

fn too_long(origin: &str) -> LoadError {
    LoadError::Size { origin: origin.to_owned(), problem: format!("more than {MAX_LOAD_BYTES} bytes") }
}
