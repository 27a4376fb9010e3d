//! One value of a key: as TOML writes it, as a flag takes it, as JSON records it.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The first of equals each.
pub fn distinct<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut kept, item| {
        if !kept.contains(&item) {
            kept.push(item);
        }
        kept
    })
}

/// A value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A word.
    Text(String),
    /// Several that make one value, such as the ranks of each rack.
    List(Vec<Self>),
    /// Keys with values that make one value, such as a tier.
    Table(Ordered<Self>),
}

impl Value {
    /// Reads a TOML value; `Err` is what is wrong with it.
    pub(crate) fn read(value: &DeValue<'_>) -> Result<Self, &'static str> {
        match value {
            DeValue::String(text) => Ok(Self::Text(text.to_string())),
            DeValue::Boolean(flag) => Ok(Self::Flag(*flag)),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map(Self::Integer)
                .map_err(|_| "a whole number beyond 64 bits"),
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Self::Number(number)),
                _ => Err("not a finite number"),
            },
            DeValue::Array(items) => items
                .iter()
                .map(|item: &Spanned<DeValue<'_>>| Self::read(item.get_ref()))
                .collect::<Result<_, _>>()
                .map(Self::List),
            DeValue::Datetime(_) => Err("a date; no option takes one"),
            DeValue::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                let read = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    Ok((AsRef::<str>::as_ref(key.get_ref()).to_owned(), Self::read(value.get_ref())?))
                };
                entries.into_iter().map(read).collect::<Result<_, _>>().map(Ordered).map(Self::Table)
            }
        }
    }

    /// As TOML has it.
    #[must_use]
    pub fn toml(&self) -> toml::Value {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::Integer(integer) => (*integer).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
            Self::List(items) => items.iter().map(Self::toml).collect::<Vec<_>>().into(),
            Self::Table(entries) => {
                let entries = entries.0.iter().map(|(key, value)| (key.clone(), value.toml()));
                entries.collect::<toml::Table>().into()
            }
        }
    }

    /// As `--set` takes it: a text without quotes where it can't be taken for another value.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Text(text) if DeTable::parse(&format!("value = {text}")).is_err() => text.clone(),
            other => other.toml().to_string(),
        }
    }

    /// The number that it is, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// As a flag takes it: lists with commas; tables as `preset hbm`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.pad(&flag.to_string()),
            Self::Integer(integer) => f.pad(&integer.to_string()),
            Self::Number(number) => f.pad(&number.to_string()),
            Self::Text(text) => f.pad(text),
            Self::List(items) => {
                let each = |item: &Self| {
                    if matches!(item, Self::List(_)) { format!("[{item}]") } else { item.to_string() }
                };
                f.pad(&items.iter().map(each).collect::<Vec<_>>().join(","))
            }
            Self::Table(entries) => {
                let entries = entries.0.iter().map(|(key, value)| format!("{key} {value}"));
                f.pad(&entries.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// Keys with a value each, in a given order; a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<V>(pub Vec<(String, V)>);

/// Values of an experiment's keys.
pub type Settings = Ordered<Value>;

impl<V> Ordered<V> {
    /// The value of `key`, the last of several.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().rfind(|(known, _)| known == key).map(|(_, value)| value)
    }
}

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// `throttle = 8, scheme = flat`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key} = {value}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}
