//! `railyard board --html`: the claims as a page, with the experiments that they name.

use crate::cli::BoardArgs;
use crate::failure::Failure;
use crate::output;
use anyhow::Context;
use lecture::claims::{Claim, Preset};
use std::path::Path;
use study::scenario::quoted;
use view::board::{Lecture, page};

/// Experiment files by the paths that commands name, so that the page has them where the project is not.
macro_rules! examples {
    ($($name:literal),* $(,)?) => {
        [$((concat!("examples/", $name, ".toml"), include_str!(concat!("../../../examples/", $name, ".toml")))),*]
    };
}

const EXAMPLES: [(&str, &str); 14] = examples![
    "batch-curve",
    "cache-tiers",
    "context-step",
    "expert-vs-pipeline",
    "fast-slow",
    "one-rack-vs-two",
    "pipeline",
    "pipeline-idle",
    "prefill-decode",
    "rack-size",
    "redundancy",
    "throttle",
    "train-wait",
    "two-h100-nodes",
];

/// Writes the page and prints its path.
pub(super) fn write(file: &Path, args: &BoardArgs, claims: &[Claim], record: &str) -> Result<(), Failure> {
    let lecture = Lecture { claims, record, command: &command(args), examples: &EXAMPLES };
    std::fs::write(file, page(&lecture))
        .with_context(|| format!("cannot write {}; give a file that can be written", file.display()))
        .map_err(Failure::Failed)?;
    output::print(&format!("{}\n", file.display()))
}

/// The command that has the page's inputs.
fn command(args: &BoardArgs) -> String {
    let mut command = "railyard board".to_owned();
    if let Some(selection) = &args.selection {
        command.push_str(&format!(" {}", quoted(selection)));
    }
    if args.preset == Preset::Dsv3 {
        command.push_str(" --preset dsv3");
    }
    for set in &args.set {
        command.push_str(&format!(" --set {}", quoted(set)));
    }
    command
}
