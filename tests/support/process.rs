//! A process of the command: what it says as it says it, signals, and how it ends.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A process and what it says; killed when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
    said: Vec<String>,
    printed: JoinHandle<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (tell, lines) = mpsc::channel();
        // Whatever is said is read, so that nobody waits for a full pipe.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)))
        });
        let stdout = child.stdout.take().expect("piped");
        let printed = std::thread::spawn(|| std::io::read_to_string(stdout).expect("UTF-8"));
        Self { child, lines, said: Vec::new(), printed }
    }

    /// The first line from now on with `word`.
    #[track_caller]
    pub(crate) fn says(&mut self, word: &str) -> String {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(error) => panic!("`{word}` is not said ({error}): {:#?}", self.said),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// Exit code, stdout, and everything that it said.
    pub(crate) fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let code = self.child.wait().expect("ended").code();
        let nothing = std::thread::spawn(String::new);
        let printed = std::mem::replace(&mut self.printed, nothing).join().expect("read");
        self.said.extend(self.lines.iter());
        (code, printed, std::mem::take(&mut self.said))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
