//! A family of things that users name: one table, from which names, errors and documentation follow.

use std::fmt;
use thiserror::Error;
use topology::did_you_mean;

/// What a registry knows of each of its entries.
pub trait Entry {
    /// The name that users type: lower case, `-` or, in keys of files, `_` between words.
    fn name(&self) -> &str;

    /// What it is, one line without a full stop.
    fn help(&self) -> &str;
}

/// A table of entries, in the order in which they are listed everywhere.
pub struct Registry<T: ?Sized + 'static> {
    family: &'static str,
    entries: &'static [&'static T],
}

/// A name that no entry of a family has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no {family} is called `{name}`{hint}; there are {known}")]
pub struct NameError {
    family: &'static str,
    name: String,
    hint: String,
    known: String,
}

impl<T: ?Sized + Entry> Registry<T> {
    /// The `entries` of a `family`, whose word stands in errors: `placement policy`.
    #[must_use]
    pub const fn new(family: &'static str, entries: &'static [&'static T]) -> Self {
        Self { family, entries }
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &'static T> + use<T> {
        self.entries.iter().copied()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<T> {
        self.iter().map(Entry::name)
    }

    /// The entry called `name`.
    ///
    /// # Errors
    /// [`NameError`] with the nearest name.
    pub fn named(&self, name: &str) -> Result<&'static T, NameError> {
        self.iter().find(|entry| entry.name() == name).ok_or_else(|| NameError {
            family: self.family,
            name: name.chars().take(80).collect(),
            hint: did_you_mean(name, self.names()),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// The entries as a table in Markdown, a line each, as the documentation has it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} | |\n| --- | --- |\n", self.family);
        for entry in self.iter() {
            text.push_str(&format!("| `{}` | {} |\n", entry.name(), entry.help()));
        }
        text
    }
}

impl<T: ?Sized + Entry> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.family).field(&self.names().collect::<Vec<_>>()).finish()
    }
}
