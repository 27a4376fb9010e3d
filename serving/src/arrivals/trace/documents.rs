//! JSON objects one after the other: a line each, or over several lines, in a list or not.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::lines::Lines;
use crate::arrivals::ArrivalError;

/// Where the next object is from.
pub(super) enum Documents {
    /// A line each; whether the current line was read.
    Lines { read: bool },
    /// A text in memory.
    Text(Text),
}

pub(super) struct Text {
    bytes: Vec<u8>,
    /// What was read of it.
    at: usize,
    /// The line of that place, from 1.
    line: u64,
    /// Whether the list that it is has not ended.
    open: bool,
}

impl Documents {
    /// Those from the current line on.
    pub(super) fn new(lines: &mut Lines<'_>) -> Result<Self, ArrivalError> {
        let text = lines.text().trim_ascii_start();
        let many = serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof());
        if text.starts_with(b"[") || many {
            let line = lines.line();
            return Ok(Self::Text(Text { bytes: lines.rest()?, at: 0, line, open: false }));
        }
        Ok(Self::Lines { read: false })
    }

    /// The next object with its line; `None` at the end.
    pub(super) fn next<T: for<'de> Deserialize<'de>>(
        &mut self,
        lines: &mut Lines<'_>,
    ) -> Result<Option<(u64, T)>, ArrivalError> {
        match self {
            Self::Text(text) => text.next(lines),
            Self::Lines { read } => {
                if std::mem::replace(read, true) && !lines.next_filled()? {
                    return Ok(None);
                }
                // An array would be taken for the fields in their order.
                if !lines.text().trim_ascii_start().starts_with(b"{") {
                    return Err(lines.wrong("no JSON object; give one a line"));
                }
                let object = serde_json::from_slice(lines.text()).map_err(|error| {
                    let problem = without_line(&error);
                    lines.wrong(format!("{problem}; give one JSON object a line{}", lines.cut_hint()))
                })?;
                Ok(Some((lines.line(), object)))
            }
        }
    }
}

impl Text {
    fn next<T: for<'de> Deserialize<'de>>(
        &mut self,
        lines: &Lines<'_>,
    ) -> Result<Option<(u64, T)>, ArrivalError> {
        const CUT: &str = "the file ends in a list: was it cut?";
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'{' => break,
                b'[' if self.at == 0 || !self.open => self.open = true,
                b']' if self.open => self.open = false,
                b'\n' => self.line += 1,
                b',' => {}
                _ if byte.is_ascii_whitespace() => {}
                _ => return Err(lines.wrong_at(self.line, "no JSON object; give a list of objects")),
            }
            self.at += 1;
        }
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return if self.open { Err(lines.wrong_at(self.line, CUT)) } else { Ok(None) };
        }
        let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        let object = objects.next().transpose().map_err(|error| {
            let cut = if error.is_eof() { "; the file ends in an object: was it cut?" } else { "" };
            let line = self.line + (error.line() as u64).saturating_sub(1);
            lines.wrong_at(line, format!("{}{cut}", without_line(&error)))
        })?;
        let line = self.line;
        let read = &rest[..objects.byte_offset()];
        self.line += read.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.at += read.len();
        Ok(object.map(|object| (line, object)))
    }
}

/// What is wrong with an object without serde's own number for its line, which counts from the object.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let at = format!(" at line {} column {}", error.line(), error.column());
    let problem = text.strip_suffix(&at).unwrap_or(&text);
    format!("column {}: {problem}", error.column())
}
