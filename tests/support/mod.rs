//! The built command as tests from outside run it: told nothing by the environment, and what it says as text.
#![allow(dead_code, reason = "a test takes what it needs")]

pub(crate) mod process;

use std::process::{Command, Stdio};

/// Variables that the command reads.
const ENVIRONMENT: [&str; 8] = [
    "RUST_LOG",
    "SLURM_ARRAY_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "RAILYARD_CLUSTER",
    "RAILYARD_CERTS",
    "RAILYARD_DATAGRAM_BYTES",
    "RAILYARD_GAUGE",
    "RAILYARD_UI_TOKEN",
];

/// `railyard` with `args`.
pub(crate) fn railyard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
    command.args(args).stdin(Stdio::null());
    for variable in ENVIRONMENT {
        command.env_remove(variable);
    }
    // What other tests, or the user, have kept is nothing to rely on.
    command.env("RAILYARD_CACHE", "");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What a command that succeeds prints.
#[track_caller]
pub(crate) fn works(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert_eq!(output.status.code(), Some(0), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command that ends with `code` has to say, on stderr.
#[track_caller]
pub(crate) fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("the command starts");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {error}");
    error
}
