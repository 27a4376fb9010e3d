//! Writing to stdout, where a reader that has gone is no failure, and to stderr.

use crate::failure::Failure;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use study::text_table::wrapped;

/// `text` without what would steer a terminal: control characters, and those that turn the direction of writing. Files of others have words
/// that are printed.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t' | '\r')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(steers) { text.replace(steers, "\u{fffd}").into() } else { text.into() }
}

/// Writes `text` to stdout and flushes it; what would steer a terminal is replaced.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()) {
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
    let _ = writeln!(io::stderr().lock(), "{}", harmless(line));
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

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn words_of_others_do_not_steer_the_terminal() {
        assert_eq!(harmless("a \u{1b}[2J b\u{7}\u{202e}\n\tc"), "a \u{fffd}[2J b\u{fffd}\u{fffd}\n\tc");
        assert_eq!(harmless("plain µs ± ─"), "plain µs ± ─");
    }
}
