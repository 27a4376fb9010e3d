//! The file's lines: an event each, no more than there may be, and what had no room counted.

use serde_json::Value;
use std::fmt::Display;
use std::io::{self, Write};
use topology::Picos;

/// A lane of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) process: u32,
    pub(super) thread: u32,
}

/// A time in microseconds, to the picosecond.
struct Micros(Picos);

impl Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0.0 / 1_000_000, self.0.0 % 1_000_000)
    }
}

/// Text in quotation marks.
fn quoted(text: &str) -> Value {
    Value::from(text)
}

/// Events on their way to a file.
#[derive(Debug)]
pub(super) struct Events<W> {
    out: W,
    written: u64,
    most: u64,
    left_out: u64,
    arrows: u64,
}

impl<W: Write> Events<W> {
    pub(super) fn new(mut out: W, most: u64) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, written: 0, most: most.max(1), left_out: 0, arrows: 0 })
    }

    /// How many more there may be; the last is kept for the end.
    pub(super) fn room(&self) -> u64 {
        self.most.saturating_sub(self.written).saturating_sub(1)
    }

    /// Counts what was not even tried.
    pub(super) fn leave_out(&mut self, events: u64) {
        self.left_out += events;
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn line(&mut self, event: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.room() == 0 {
            self.left_out += 1;
            return Ok(());
        }
        self.written += 1;
        let before = if self.written == 1 { "\n " } else { "\n," };
        write!(self.out, "{before}{{{event}}}")
    }

    /// What a process or a thread is called, and where it stands.
    pub(super) fn about(
        &mut self,
        process: u32,
        thread: Option<u32>,
        what: &str,
        args: &Value,
    ) -> io::Result<()> {
        let thread = thread.unwrap_or(0);
        self.line(format_args!(r#""name":"{what}","ph":"M","pid":{process},"tid":{thread},"args":{args}"#))
    }

    /// Something that lasts.
    pub(super) fn slice(
        &mut self,
        place: Place,
        (name, category): (&str, &str),
        (start, end): (Picos, Picos),
        args: &Value,
    ) -> io::Result<()> {
        let (name, lasts) = (quoted(name), Micros(end.saturating_sub(start)));
        let (Place { process, thread }, start) = (place, Micros(start));
        self.line(format_args!(
            r#""name":{name},"cat":"{category}","ph":"X","ts":{start},"dur":{lasts},"pid":{process},"tid":{thread},"args":{args}"#
        ))
    }

    /// Something that takes no time.
    pub(super) fn instant(&mut self, place: Place, name: &str, at: Picos, args: &Value) -> io::Result<()> {
        let (name, at, Place { process, thread }) = (quoted(name), Micros(at), place);
        self.line(format_args!(
            r#""name":{name},"ph":"i","s":"t","ts":{at},"pid":{process},"tid":{thread},"args":{args}"#
        ))
    }

    /// From a slice that begins at one place to one that begins at another. Both ends or neither.
    pub(super) fn arrow(
        &mut self,
        (from, left): (Place, Picos),
        (to, came): (Place, Picos),
    ) -> io::Result<()> {
        if self.room() < 2 {
            self.left_out += 2;
            return Ok(());
        }
        self.arrows += 1;
        let (id, left, came) = (self.arrows, Micros(left), Micros(came));
        let Place { process, thread } = from;
        self.line(format_args!(
            r#""name":"frame","cat":"frame","ph":"s","id":{id},"ts":{left},"pid":{process},"tid":{thread}"#
        ))?;
        let Place { process, thread } = to;
        self.line(format_args!(
            r#""name":"frame","cat":"frame","ph":"f","bp":"e","id":{id},"ts":{came},"pid":{process},"tid":{thread}"#
        ))
    }

    /// A number from now on.
    pub(super) fn counter(
        &mut self,
        process: u32,
        (name, unit): (&str, &str),
        at: Picos,
        value: u64,
    ) -> io::Result<()> {
        let at = Micros(at);
        self.line(format_args!(
            r#""name":"{name}","ph":"C","ts":{at},"pid":{process},"tid":0,"args":{{"{unit}":{value}}}"#
        ))
    }

    /// The last event and the end of the array; returns how many there are.
    pub(super) fn end(&mut self, place: Place, at: Picos, args: &Value) -> io::Result<u64> {
        self.most += 1;
        self.instant(place, "end", at, args)?;
        self.out.write_all(b"\n]\n")?;
        self.out.flush()?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Lane;
    use super::*;
    use serde_json::json;

    fn written(most: u64, events: impl FnOnce(&mut Events<&mut Vec<u8>>)) -> String {
        let mut bytes = Vec::new();
        let mut all = Events::new(&mut bytes, most).unwrap();
        events(&mut all);
        all.end(Lane::Phases.of(0), Picos(5), &json!({ "left_out": all.left_out() })).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_an_event_and_picoseconds_come_back() {
        let text = written(9, |events| {
            let times = (Picos(1_234_567_890_123), Picos(1_234_567_890_124));
            events.slice(Lane::Jobs.of(3), ("a \"b\"\n", "job"), times, &json!({})).unwrap();
            let (from, to) = (Lane::SendOut.of(3), Lane::ReceiveOut.of(4));
            events.arrow((from, Picos(7)), (to, Picos(8))).unwrap();
            events.counter(3, ("queue", "bytes"), Picos(9), 4).unwrap();
        });
        let expected = r#"[
 {"name":"a \"b\"\n","cat":"job","ph":"X","ts":1234567.890123,"dur":0.000001,"pid":3,"tid":6,"args":{}}
,{"name":"frame","cat":"frame","ph":"s","id":1,"ts":0.000007,"pid":3,"tid":3}
,{"name":"frame","cat":"frame","ph":"f","bp":"e","id":1,"ts":0.000008,"pid":4,"tid":5}
,{"name":"queue","ph":"C","ts":0.000009,"pid":3,"tid":0,"args":{"bytes":4}}
,{"name":"end","ph":"i","s":"t","ts":0.000005,"pid":0,"tid":1,"args":{"left_out":0}}
]
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn there_are_no_more_than_asked_for_and_no_half_arrow() {
        for most in 1..8 {
            let text = written(most, |events| {
                for at in 0..4 {
                    let (from, to) = (Lane::SendUp.of(0), Lane::ReceiveUp.of(1));
                    events.arrow((from, Picos(at)), (to, Picos(at))).unwrap();
                }
            });
            let events: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert!(events.len() as u64 <= most, "{text}");
            let of = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
            assert_eq!(of("s"), of("f"));
            let left_out = events.last().unwrap()["args"]["left_out"].as_u64().unwrap();
            assert_eq!(left_out as usize + of("s") + of("f"), 8);
        }
    }
}
