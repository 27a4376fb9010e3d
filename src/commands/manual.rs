//! `railyard completions` and `railyard man`: what shells and `man` know of the command, made of its own flags.

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "railyard", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::failed)?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))
        .map_err(Failure::Failed)
}
