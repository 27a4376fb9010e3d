//! Worker processes: started with pipes to their stdin and stderr, their last words kept, started anew, killed when dropped.

use super::error::LocalError;
use crate::error::RunError;
use node::net::{ClusterCa, Role};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines of stderr that are kept.
const LINES_MAX: usize = 20;
/// Longest part of a line that is kept, bytes.
const LINE_BYTES_MAX: u64 = 2000;
/// How long a dead process's stderr may take to come to its end: a grandchild could hold it open.
const STDERR_LIMIT: Duration = Duration::from_millis(500);
const SIGINT: i32 = 2;

type Lines = Arc<Mutex<VecDeque<String>>>;

#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    lines: Lines,
    reader: JoinHandle<()>,
    /// Held open for as long as this process lives.
    _stdin: Option<ChildStdin>,
}

impl Process {
    fn spawn(program: &Path, coordinator: &str, certs: &Path, name: &str) -> Result<Self, LocalError> {
        let mut command = Command::new(program);
        command.args(["node", "--coordinator", coordinator, "--certs"]).arg(certs);
        command.args(["--name", name, "--leave-with-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let failed =
            |source| LocalError::Spawn { name: name.to_owned(), program: program.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let lines = Lines::default();
        let stderr = child.stderr.take().expect("stderr is piped");
        let reader = tokio::spawn(keep_lines(name.to_owned(), stderr, Arc::clone(&lines)));
        // Waiting for a child would close its stdin.
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, lines, reader, _stdin: stdin })
    }

    /// Why it ended, once it has.
    async fn obituary(&mut self, status: io::Result<ExitStatus>) -> RunError {
        // Ctrl-C goes to the whole group, and a worker may be faster than we are.
        if status.as_ref().is_ok_and(|status| status.signal() == Some(SIGINT)) {
            return RunError::Interrupted;
        }
        if !self.reader.is_finished() {
            let _ = timeout(STDERR_LIMIT, &mut self.reader).await;
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // A panic ends with a note on backtraces, which explains nothing.
        let telling = lines.iter().rev().find(|line| !line.trim().is_empty() && !line.starts_with("note: "));
        let last_line = Some(telling.cloned().unwrap_or_default());
        RunError::Worker { name: self.name.clone(), status: status_text(status), last_line }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// All worker processes of a cluster, and what it takes to start one anew.
#[derive(Debug)]
pub(super) struct Processes {
    program: PathBuf,
    coordinator: String,
    authority: ClusterCa,
    /// Certificates are read when a worker starts, so that they can go once all have registered; mode 0700, as tempfile makes it.
    certificates: Option<TempDir>,
    running: Vec<Process>,
}

impl Processes {
    /// Starts a worker a name.
    pub(super) fn start(
        program: PathBuf,
        coordinator: String,
        authority: ClusterCa,
        names: &[String],
    ) -> Result<Self, LocalError> {
        let running = Vec::with_capacity(names.len());
        let mut processes = Self { program, coordinator, authority, certificates: None, running };
        for name in names {
            let process = processes.spawn(name)?;
            processes.running.push(process);
        }
        Ok(processes)
    }

    fn spawn(&mut self, name: &str) -> Result<Process, LocalError> {
        let directory = match self.certificates.take() {
            Some(directory) => directory,
            None => tempfile::Builder::new().prefix("railyard-").tempdir().map_err(LocalError::Directory)?,
        };
        self.authority.issue(name, Role::Node)?.save(directory.path())?;
        let process = Process::spawn(&self.program, &self.coordinator, directory.path(), name);
        self.certificates = Some(directory);
        process
    }

    pub(super) fn name(&self, at: usize) -> &str {
        &self.running[at].name
    }

    /// Starts a worker that has ended anew. The certificates that it reads stay until the next is started, or all are gone.
    pub(super) fn restart(&mut self, at: usize) -> Result<(), LocalError> {
        let name = self.running[at].name.clone();
        self.running[at] = self.spawn(&name)?;
        Ok(())
    }

    /// All have registered.
    pub(super) fn forget_certificates(&mut self) {
        self.certificates = None;
    }

    /// Process ids, in the order of names.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.running.iter().filter_map(|process| process.child.id()).collect()
    }

    pub(super) async fn all_end(&mut self) {
        for process in &mut self.running {
            let _ = process.child.wait().await;
        }
    }

    /// The first process that ends: which one, and how. Cancel safe.
    pub(super) async fn first_end(&mut self) -> (usize, RunError) {
        let (at, status) = {
            let mut waits: Vec<_> =
                self.running.iter_mut().map(|process| Box::pin(process.child.wait())).collect();
            poll_fn(|context| {
                let ended =
                    waits.iter_mut().enumerate().find_map(|(at, wait)| match wait.as_mut().poll(context) {
                        Poll::Ready(status) => Some((at, status)),
                        Poll::Pending => None,
                    });
                ended.map_or(Poll::Pending, Poll::Ready)
            })
            .await
        };
        (at, self.running[at].obituary(status).await)
    }
}

/// The exit status in words.
fn status_text(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| format!("its status is unknown, {error}"), |status| status.to_string())
}

/// Reads stderr to its end, keeps the last lines and logs all of them.
async fn keep_lines(name: String, stderr: impl AsyncRead, lines: Lines) {
    let mut stderr = pin!(BufReader::new(stderr));
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stderr).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::debug!(worker = name, "{text}");
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}
