//! The `railyard` command: data to stdout, all else to stderr, exit 0 done, 1 failed, 2 usage.

mod cache;
mod cli;
mod commands;
mod failure;
#[cfg(test)]
mod figures_tests;
mod files;
mod manifest;
mod output;
mod pages;
mod programs;
mod progress;
mod serve_sources;
mod step;
mod subjects;
mod sweep_flag;
mod timeline;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    // `--throttle -3` is a wrong number and no unknown flag.
    let numbers = |arg: clap::Arg| {
        let takes_one = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_one)
    };
    let command = Cli::command().mut_subcommands(|command| command.mut_args(numbers));
    let cli = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => {
            let Some(line) = in_one_line(&error) else { error.exit() };
            output::say(&format!("railyard: {line}"));
            return ExitCode::from(2);
        }
    };
    init_logging(cli.verbose, cli.quiet);
    let result = match cli.command {
        Command::Compare(args) => commands::compare::run(&args, cli.quiet),
        Command::Run(args) => commands::run::run(&args, cli.quiet),
        Command::Report(args) => commands::report::run(&args),
        Command::ServeBench(args) => commands::serve_bench::run(&args, cli.quiet),
        Command::Bench(args) => commands::bench::run(&args, cli.quiet),
        Command::Topology(args) => commands::topology::run(&args),
        Command::Place(args) => commands::place::run(&args),
        Command::Plan(args) => commands::plan::run(&args, cli.quiet),
        Command::Board(args) => commands::board::run(&args),
        Command::Roofline(args) => commands::roofline::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
        Command::Trust(args) => commands::trust::run(&args),
        Command::Certs(args) => commands::certs::run(&args),
        Command::Coordinator(args) => commands::coordinator::run(&args),
        Command::Node(args) => commands::node::run(&args),
        Command::Health(args) => commands::health::run(&args),
        Command::Submit(args) => commands::jobs::submit(&args),
        Command::Runs(args) => commands::jobs::runs(&args),
        Command::Watch(args) => commands::jobs::watch(&args, cli.quiet),
        Command::Cancel(args) => commands::jobs::cancel(&args),
        Command::Drain(args) => commands::health::drain(&args),
        Command::Swarm(args) => commands::swarm::run(&args, cli.quiet),
        Command::Model(args) => commands::presets::models(&args),
        Command::Hardware(args) => commands::presets::hardware(&args),
        Command::Policies { json } => commands::presets::policies(json),
        Command::Completions { shell } => commands::manual::completions(shell),
        Command::Man { dir } => commands::manual::man(dir.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            failure.exit_code()
        }
    }
}

/// What is wrong with a value, and what to give, or where certificates come from, is all there is to say.
fn in_one_line(error: &clap::Error) -> Option<String> {
    if error.kind() == ErrorKind::ValueValidation {
        let text = error.to_string();
        return text.lines().next().map(|line| line.trim_start_matches("error: ").to_owned());
    }
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    let needs_certs = error.kind() == ErrorKind::MissingRequiredArgument
        && missing.iter().any(|argument| argument.starts_with("--certs"));
    let missing = missing.join(", ");
    needs_certs.then(|| {
        format!("no {missing}; `railyard certs DIR` makes certificates, --certs DIR or RAILYARD_CERTS=DIR says where they are")
    })
}

/// Logs to stderr: warnings, with `-v` what happens, with `-q` errors alone; `RUST_LOG` says otherwise.
fn init_logging(verbose: bool, quiet: bool) {
    use tracing_subscriber::EnvFilter;
    let default = if verbose {
        "info"
    } else if quiet {
        "error"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = output::colour_on_stderr();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
}
