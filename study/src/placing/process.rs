//! Runs a command of the user's with a question on its stdin: bounded in time, in what it prints, and in what it leaves behind.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// What of its stderr stands in an error, bytes.
const ERROR_BYTES_MAX: u64 = 2_000;

/// The processes of one command: a group that ends with this value, or with this process.
struct Group(Child);

impl Group {
    /// The group's first process waits for the end of its stdin, which is ours, and ends the others then.
    fn new() -> io::Result<Self> {
        let mut first = Command::new("sh");
        first.args(["-c", "read gone; kill -KILL 0"]).stdin(Stdio::piped());
        first.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        first.spawn().map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing is left to be told.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

enum Event {
    Answer(io::Result<Vec<u8>>),
    Complaint(Vec<u8>),
}

/// What `command`, run by `sh`, prints when it is given `question`.
///
/// # Errors
/// One line: it could not be started, ended with an error (and its stderr), took longer than `limit`, or printed too much.
pub(super) fn answer(command: &str, question: &str, limit: Duration) -> Result<String, String> {
    let started = |error: io::Error| format!("can't be started: {error}");
    let group = Group::new().map_err(started)?;
    let mut program = Command::new("sh");
    program.args(["-c", command]).process_group(Pid::from_child(&group.0).as_raw_nonzero().get());
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().map_err(started)?;
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("has no pipes".to_owned());
    };
    let question = format!("{question}\n");
    // A program need not read the question.
    thread::spawn(move || drop(stdin.write_all(question.as_bytes())));
    let (send, events) = mpsc::channel();
    let complaints = send.clone();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = (&mut stderr).take(ERROR_BYTES_MAX).read_to_end(&mut kept);
        let _ = complaints.send(Event::Complaint(kept));
        io::copy(&mut stderr, &mut io::sink())
    });
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut text);
        send.send(Event::Answer(read.map(|_| text)))
    });
    let until = Instant::now() + limit;
    let (mut text, mut complaint) = (None, None);
    while text.is_none() || complaint.is_none() {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::Answer(read)) => {
                let read = read.map_err(|error| format!("can't be read: {error}"))?;
                if read.len() as u64 > ANSWER_BYTES_MAX {
                    return Err(format!("printed more than {ANSWER_BYTES_MAX} bytes: print one placement"));
                }
                text = Some(read);
            }
            Ok(Event::Complaint(kept)) => complaint = Some(kept),
            Err(RecvTimeoutError::Timeout) => return Err(too_slow(limit)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let (ended, status) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    let status = status.recv_timeout(until.saturating_duration_since(Instant::now()));
    let status = status.map_err(|_| too_slow(limit))?.map_err(started)?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint.unwrap_or_default()).into_owned();
        let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = if complaint.is_empty() { "nothing".to_owned() } else { complaint };
        return Err(format!("ended with {status}; it said: {said}"));
    }
    String::from_utf8(text.unwrap_or_default()).map_err(|_| "printed no text".to_owned())
}

fn too_slow(limit: Duration) -> String {
    format!("gave no answer within {} s; RAILYARD_EXEC_LIMIT_S sets another limit", limit.as_secs())
}
