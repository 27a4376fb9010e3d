//! Words of which a registry says what there is: the parser of a flag lists them in its help.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use moe::placement::{POLICIES, PlacementWord};
use std::ffi::OsStr;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacementParser;

impl TypedValueParser for PlacementParser {
    type Value = PlacementWord;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<PlacementWord, Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        text.parse().map_err(|error: String| Error::raw(ErrorKind::ValueValidation, error).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(POLICIES.iter().map(|policy| PossibleValue::new(policy.name()).help(policy.help()))))
    }
}
