//! The lines of a trace, counted and bounded, whatever ends them.

use std::io::{BufRead, Read};

use crate::arrivals::ArrivalError;

/// Most bytes of a line: a prompt of 2^24 tokens in blocks of 16 has 2^20 ids.
pub(super) const MAX_LINE_BYTES: usize = 32 << 20;

/// Most bytes of a list, or of an object over several lines.
const MAX_TEXT_BYTES: usize = 512 << 20;

const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads one line after the other into one buffer.
pub(super) struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    origin: &'a str,
    line: u64,
    text: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: &'a mut dyn BufRead, origin: &'a str) -> Self {
        Self { reader, origin, line: 0, text: Vec::new() }
    }

    /// The line that was read last, with what ends it.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Its number, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// An error of that line.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> ArrivalError {
        self.wrong_at(self.line, problem)
    }

    pub(super) fn wrong_at(&self, line: u64, problem: impl Into<String>) -> ArrivalError {
        ArrivalError::Line { origin: self.origin.to_owned(), line, problem: problem.into() }
    }

    /// Reads the next line; `false` at the end.
    pub(super) fn next(&mut self) -> Result<bool, ArrivalError> {
        self.text.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = { &mut *self.reader }.take(limit).read_until(b'\n', &mut self.text);
        self.line += 1;
        let read = read.map_err(|error| self.wrong(format!("can't be read: {error}; give another copy")))?;
        if read > MAX_LINE_BYTES {
            return Err(self.wrong(format!("longer than {MAX_LINE_BYTES} bytes; give one request a line")));
        }
        if self.line == 1 && self.text.starts_with(UTF8_BOM) {
            self.text.drain(..UTF8_BOM.len());
        }
        Ok(read > 0)
    }

    /// Reads the next line that is neither blank nor a comment; `false` at the end.
    pub(super) fn next_filled(&mut self) -> Result<bool, ArrivalError> {
        while self.next()? {
            if !self.skippable() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is left of the file, from the current line on.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, ArrivalError> {
        let mut bytes = std::mem::take(&mut self.text);
        let left = (MAX_TEXT_BYTES - bytes.len()) as u64 + 1;
        let read = { &mut *self.reader }.take(left).read_to_end(&mut bytes);
        read.map_err(|error| self.wrong(format!("can't be read: {error}; give another copy")))?;
        if bytes.len() > MAX_TEXT_BYTES {
            let remedy = "give JSON lines, one object a line (`jq -c '.[]'` makes them)";
            return Err(self.wrong(format!("a list of more than {MAX_TEXT_BYTES} bytes; {remedy}")));
        }
        Ok(bytes)
    }

    /// Whether the line is blank or a comment.
    pub(super) fn skippable(&self) -> bool {
        matches!(self.text.trim_ascii_start().first(), None | Some(b'#'))
    }

    /// What to add to an error of a line that the file's end may have cut.
    pub(super) fn cut_hint(&self) -> &'static str {
        if self.text.ends_with(b"\n") { "" } else { "; the file ends in this line: was it cut?" }
    }
}

/// What a file is by its first bytes, where it is no text in UTF-8.
pub(super) fn not_text(start: &[u8]) -> Option<&'static str> {
    let magics: [(&[u8], &str); 7] = [
        (b"\x1F\x8B", "a gzip file: unpack it first"),
        (b"\x28\xB5\x2F\xFD", "a zstd file: unpack it first"),
        (b"BZh", "a bzip2 file: unpack it first"),
        (b"PK\x03\x04", "a zip file: unpack it first"),
        (b"PAR1", "a Parquet file: convert it first"),
        (b"\xFF\xFE", "UTF-16: save it as UTF-8"),
        (b"\xFE\xFF", "UTF-16: save it as UTF-8"),
    ];
    magics.into_iter().find_map(|(magic, what)| start.starts_with(magic).then_some(what))
}
