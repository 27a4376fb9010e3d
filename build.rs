//! Gives the command its version: a release build's with the commit, where git or `RAILYARD_COMMIT` knows it.
//!
//! A build for development has the version alone, so that a commit doesn't make everything be built again.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RAILYARD_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = env::var("RAILYARD_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(commit);
    let known = commit.map_or_else(String::new, |commit| format!(" ({})", short(&commit)));
    println!("cargo::rustc-env=RAILYARD_VERSION={version}{known}");
}

/// The commit that a release is built of.
fn commit() -> Option<String> {
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    // Changes whenever HEAD does, in a linked work tree too.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "HEAD"])
}

/// What git says of this folder; a repository around it is another's.
fn git(args: &[&str]) -> Option<String> {
    let above = env::current_dir().ok()?.parent()?.to_owned();
    let output = Command::new("git").args(args).env("GIT_CEILING_DIRECTORIES", above).output();
    let output = output.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn short(commit: &str) -> String {
    commit.chars().take(9).collect()
}
