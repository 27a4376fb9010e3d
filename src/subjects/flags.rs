//! Flags as settings: a key is a flag's name with `_` for `-`, read by the parser of the command, so that a flag that is added there is
//! a key here.

use clap::{ArgAction, Args, CommandFactory, Parser};
use study::experiment::{Settings, Value};

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Flags<A: Args> {
    #[command(flatten)]
    args: A,
}

/// The keys of all flags but those of `others`.
pub(super) fn keys<A: Args>(others: &[&str]) -> Vec<String> {
    let command = Flags::<A>::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let flags = flags.filter(|flag| !others.contains(flag) && !["help", "version"].contains(flag));
    flags.map(|flag| flag.replace('-', "_")).collect()
}

pub(super) fn read<A: Args>(flags: &[String]) -> Result<A, String> {
    let read = Flags::try_parse_from(flags).map_err(|error| {
        let text = error.to_string();
        let problem = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        problem.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    read.map(|flags| flags.args)
}

/// The flags of settings but `other` ones; of two for one key the last. A switch that is off has none.
pub(super) fn flags<A: Args>(settings: &Settings, other: impl Fn(&str) -> bool) -> Vec<String> {
    if settings.0.iter().all(|(key, _)| other(key)) {
        return Vec::new();
    }
    let command = Flags::<A>::command();
    let last = |at: usize, key: &str| settings.0[at + 1..].iter().all(|(later, _)| later != key);
    let counts = settings.0.iter().enumerate().filter(|(at, (key, _))| !other(key) && last(*at, key));
    let flag = |(_, (key, value)): (usize, &(String, Value))| {
        let name = key.replace('_', "-");
        let mut arguments = command.get_arguments();
        let switch = arguments
            .find(|argument| argument.get_long() == Some(&name))
            .is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
        match value {
            Value::Flag(false) if switch => Vec::new(),
            Value::Flag(true) if switch => vec![format!("--{name}")],
            _ => vec![format!("--{name}"), value.to_string()],
        }
    };
    counts.flat_map(flag).collect()
}
