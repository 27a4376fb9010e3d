//! Words of flags and files: read by the parser of a command, written as the command that repeats a run.

use super::{Ordered, Scenario, Settings, Value};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches, Parser};
use serde::Serialize;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Who takes some of a scenario's words.
pub trait Takes: Debug {
    /// Those that mean nothing to it.
    const LEFT_OUT: &'static [&'static str];
}

/// A scenario of which `T` takes its words; the others have their defaults, and are no flags of its command.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Words<T>(pub Scenario, #[serde(skip)] PhantomData<T>);

impl<T> Words<T> {
    /// The same with other words.
    #[must_use]
    pub fn with(&self, words: Scenario) -> Self {
        Self(words, PhantomData)
    }
}

impl<T> Deref for Words<T> {
    type Target = Scenario;

    fn deref(&self) -> &Scenario {
        &self.0
    }
}

impl<T> DerefMut for Words<T> {
    fn deref_mut(&mut self) -> &mut Scenario {
        &mut self.0
    }
}

impl<T: Takes> Args for Words<T> {
    fn augment_args(command: Command) -> Command {
        let all = Scenario::augment_args(Command::new(""));
        command.args(all.get_arguments().filter(|arg| !T::LEFT_OUT.contains(&arg.get_id().as_str())))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Takes> FromArgMatches for Words<T> {
    /// Reads the words that were given once more, as those of a whole scenario.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let words = keys::<Self>(&[]);
        let given = |word: &&String| matches.value_source(word) == Some(ValueSource::CommandLine);
        let flags = words.iter().filter(given).flat_map(|word| {
            let values = matches.get_raw(word).into_iter().flatten();
            values.map(move |value| {
                let mut flag = OsString::from(format!("--{}=", word.replace('_', "-")));
                flag.push(value);
                flag
            })
        });
        Flags::<Scenario>::try_parse_from(flags).map(|flags| Self(flags.args, PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Default for Scenario {
    /// Nothing is said.
    fn default() -> Self {
        read(&[]).expect("every word has a default")
    }
}

/// Flags alone; of two for one value the last counts.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, args_override_self = true)]
struct Flags<A: Args> {
    #[command(flatten)]
    args: A,
}

/// The keys of all flags but those of `others`.
#[must_use]
pub fn keys<A: Args>(others: &[&str]) -> Vec<String> {
    let command = Flags::<A>::command();
    let flags = command.get_arguments().filter_map(Arg::get_long);
    let flags = flags.filter(|flag| !others.contains(flag) && !["help", "version"].contains(flag));
    flags.map(|flag| flag.replace('-', "_")).collect()
}

/// Whether the flag of `key` takes several values.
#[must_use]
pub fn takes_several<A: Args>(key: &str) -> bool {
    let command = Flags::<A>::command();
    let several =
        |arg: &Arg| matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
    argument(&command, key).is_some_and(several)
}

/// What flags say.
///
/// # Errors
/// What is wrong with one of them, in one line.
pub fn read<A: Args>(flags: &[String]) -> Result<A, String> {
    Flags::try_parse_from(flags).map(|flags| flags.args).map_err(|error| problem(&error))
}

/// A parser's words without those of the flag, which whoever reads them knows.
fn problem(error: &Error) -> String {
    if let (Some(source), Some(ContextValue::String(value))) =
        (error.source(), error.get(ContextKind::InvalidValue))
    {
        let source = source.to_string();
        return if source.contains('`') { source } else { format!("`{value}`: {source}") };
    }
    let text = error.to_string();
    let problem = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    problem.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The flags of settings but `other` ones; of two for one key the last. A switch that is off has none.
pub fn flags<A: Args>(settings: &Settings, other: impl Fn(&str) -> bool) -> Vec<String> {
    if settings.0.iter().all(|(key, _)| other(key)) {
        return Vec::new();
    }
    let command = Flags::<A>::command();
    let last = |at: usize, key: &str| settings.0[at + 1..].iter().all(|(later, _)| later != key);
    let counts = settings.0.iter().enumerate().filter(|(at, (key, _))| !other(key) && last(*at, key));
    counts.flat_map(|(_, (key, value))| flag(argument(&command, key), key, value)).collect()
}

/// The flags that `args` say, without those that have their default.
///
/// # Panics
/// If `args` are no struct of words and numbers.
pub fn said<A: Args + Serialize>(args: &A) -> Vec<String> {
    // Through text, which keeps the order of fields.
    let fields =
        serde_json::to_string(args).and_then(|text| serde_json::from_str::<Ordered<Option<Value>>>(&text));
    let command = Flags::<A>::command();
    let flags = fields.expect("words and numbers").0.into_iter().flat_map(|(key, value)| {
        let (arg, value) = (argument(&command, &key)?, value?);
        let default = arg.get_default_values().join(",".as_ref());
        let nothing =
            matches!(&value, Value::List(items) if items.is_empty()) || *value.to_string() == *default;
        (!nothing).then(|| flag(Some(arg), &key, &value))
    });
    flags.flatten().collect()
}

fn argument<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let (long, mut arguments) = (key.replace('_', "-"), command.get_arguments());
    arguments.find(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(&long) || aliases.contains(&long.as_str())
    })
}

/// One setting as words of a command line.
fn flag(arg: Option<&Arg>, key: &str, value: &Value) -> Vec<String> {
    let name = format!("--{}", key.replace('_', "-"));
    let switch = arg.is_some_and(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    let bare =
        switch || arg.is_some_and(|arg| arg.get_num_args().is_some_and(|range| range.min_values() == 0));
    let with = |text: String| {
        if text.starts_with('-') { vec![format!("{name}={text}")] } else { vec![name.clone(), text] }
    };
    match value {
        Value::Flag(false) if switch => Vec::new(),
        Value::Flag(true) if bare => vec![name],
        Value::List(items) if arg.is_some_and(|arg| arg.get_value_delimiter().is_none()) => {
            items.iter().flat_map(|item| with(item.to_string())).collect()
        }
        _ => with(value.to_string()),
    }
}

/// `words` as a command for a shell.
#[must_use]
pub fn command(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("railyard {}", words.join(" "))
}

/// A word as a shell takes it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
