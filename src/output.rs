//! Writing to stdout, where a reader that has gone is no failure, and to stderr.

use crate::failure::Failure;
use std::io::{self, IsTerminal, Write};
use study::text_table::wrapped;

/// Writes `text` to stdout and flushes it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::BrokenPipe),
        Err(error) => Err(Failure::failed(anyhow::Error::new(error).context("cannot write to stdout"))),
    }
}

/// Characters of a line on the terminal that stdout is; `None` with every column: where `wide` asks for it, or where it is none.
pub(crate) fn width(wide: bool) -> Option<usize> {
    let terminal = io::stdout().is_terminal() && !wide;
    terminal.then(|| terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0).max(40)))
}

/// `text` with lines that fit [`width`], what is broken off standing `indent` spaces in.
pub(crate) fn fitted(text: &str, indent: usize) -> String {
    let (width, indent) = (width(false), " ".repeat(indent));
    text.lines().map(|line| wrapped(line, width, &indent)).collect()
}

/// Writes one line to stderr; where nobody reads it, nothing is lost.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The one line that tells why the command failed.
pub(crate) fn complain(failure: &Failure) {
    if !matches!(failure, Failure::BrokenPipe) {
        say(&format!("railyard: {failure}"));
    }
}

/// Colour on a terminal, unless `NO_COLOR` is set to anything.
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
