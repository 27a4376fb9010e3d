//! Lines of JSON, read one at a time and bounded, with their numbers for errors.

use serde::Deserialize;
use std::io::{BufRead, Read};

use super::constant::named;
use super::{LoadError, MAX_LOAD_BYTES};

/// Most bytes of a trace of lines.
const MAX_TRACE_BYTES: u64 = 4 << 30;

/// JSON lines, counted and bounded.
pub(super) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    /// Names the file in errors.
    pub(super) origin: &'a str,
    line: usize,
    bytes: u64,
    text: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// `origin` names the file in errors.
    pub(super) fn new(reader: impl BufRead + 'a, origin: &'a str) -> Self {
        Self { reader: Box::new(reader), origin, line: 0, bytes: 0, text: Vec::new() }
    }

    /// The error of the line read last.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> LoadError {
        LoadError::Line { origin: self.origin.to_owned(), line: self.line, problem: problem.into() }
    }

    /// The error of a constant that JSON doesn't have in the line read last.
    pub(super) fn wrong_constant(&self) -> Option<LoadError> {
        named(&self.text).map(|problem| self.wrong(problem))
    }

    /// The next line that is not blank, as `T`; `expected` says what it must be.
    pub(super) fn next<T: for<'de> Deserialize<'de>>(
        &mut self,
        expected: &str,
    ) -> Result<Option<T>, LoadError> {
        loop {
            self.text.clear();
            let limited = self.reader.by_ref().take(MAX_LOAD_BYTES as u64 + 1);
            let read = { limited }.read_until(b'\n', &mut self.text);
            let read = read.map_err(|error| LoadError::Io { origin: self.origin.to_owned(), error })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.bytes += read as u64;
            if read > MAX_LOAD_BYTES || self.bytes > MAX_TRACE_BYTES {
                return Err(self.wrong("longer than is read; cut the trace"));
            }
            if !self.text.trim_ascii().is_empty() {
                let line = serde_json::from_slice(&self.text);
                let cut = if self.text.ends_with(b"\n") { "" } else { "; was the file cut?" };
                return line
                    .map(Some)
                    .map_err(|error| self.wrong(format!("{error}; expected {expected}{cut}")));
            }
        }
    }
}
