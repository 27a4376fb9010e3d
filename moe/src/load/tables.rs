//! Tables of counts as JSON: lists by layer and expert, alone, under a key such as SGLang's `logical_count`, or under each
//! layer's number.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

use super::counts::{Table, place};
use super::format::Format;
use super::rows::Rows;
use super::{ExpertLoad, LoadError};

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "SGLang's JSON (`logical_count`), or lists of counts",
    keys: &KEYS,
    document: Some(parse),
    lines: None,
};

/// What a table is called by those who write one.
const KEYS: [&str; 6] =
    ["logical_count", "expert_counts", "expert_count", "tokens_per_expert", "counts", "loads"];

/// JSON as far as it can be a table.
enum Nested {
    Number(f64),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
    /// In words.
    Other(&'static str),
}

/// Reads `[experts]`, `[layers][experts]` or `[steps][layers][experts]`, or objects with layers' numbers as keys. What else
/// stands beside a table's key is passed over.
pub(super) fn parse(text: &str, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |line, problem| LoadError::Line { origin: origin.to_owned(), line, problem };
    let nested = serde_json::from_str(text).map_err(|error| wrong(error.line(), error.to_string()))?;
    let table = match nested {
        Nested::List(records) if records.iter().any(|record| matches!(record, Nested::Map(_))) => {
            of_records(records)
        }
        Nested::Map(mut map) => match KEYS.iter().find_map(|&key| map.remove(key)) {
            Some(table) => of_table(table),
            None => of_layers(map),
        },
        table => of_table(table),
    };
    ExpertLoad::of_table(table.map_err(|problem| wrong(1, problem))?, origin)
}

/// Whether the keys of an object are layers' numbers: `3`, `layer_3`, `model.layers.3`.
pub(super) fn are_layers<'a>(mut keys: impl Iterator<Item = &'a String>) -> bool {
    keys.all(|key| number(key).is_some())
}

/// The number at the end of a key.
fn number(key: &str) -> Option<u32> {
    let digits = key.len() - key.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    key[key.len() - digits..].parse().ok()
}

/// A list for each layer, for each step, or of one layer.
fn of_table(table: Nested) -> Result<Table, String> {
    let depth = depth(&table);
    let list = match table {
        Nested::List(list) => list,
        Nested::Map(layers) => return of_layers(layers),
        Nested::Number(_) | Nested::Other(_) => {
            return Err("one value; give lists of counts, one for each layer".to_owned());
        }
    };
    match depth {
        1 if list.is_empty() => Ok(Table::of_layers(Vec::new())),
        1 => Ok(Table::of_layers(vec![experts(list, &[0])?])),
        2 => Ok(Table::of_layers(layers(list, &[])?)),
        3 => {
            let step = |(step, list): (usize, Nested)| layers(items(list, "step", step)?, &[step]);
            Ok(Table {
                by_step: true,
                ..Table::of_steps(list.into_iter().enumerate().map(step).collect::<Result<_, _>>()?)
            })
        }
        depth => Err(format!("{depth} levels of lists; give [layers][experts], or [steps][layers][experts]")),
    }
}

/// Levels of lists and objects above the first value.
fn depth(nested: &Nested) -> usize {
    match nested {
        Nested::List(list) => 1 + list.first().map_or(0, depth),
        Nested::Map(map) => 1 + map.values().next().map_or(0, depth),
        Nested::Number(_) | Nested::Other(_) => 0,
    }
}

fn layers(list: Vec<Nested>, step: &[usize]) -> Result<Vec<Vec<f64>>, String> {
    let layer = |(layer, list)| {
        let at = [step, &[layer]].concat();
        experts(items(list, "layer", layer)?, &at)
    };
    list.into_iter().enumerate().map(layer).collect()
}

fn items(nested: Nested, name: &str, index: usize) -> Result<Vec<Nested>, String> {
    match nested {
        Nested::List(list) => Ok(list),
        _ => Err(format!("{name} {index} is no list; give a list of counts for each layer")),
    }
}

fn experts(list: Vec<Nested>, at: &[usize]) -> Result<Vec<f64>, String> {
    let count = |(expert, nested): (usize, Nested)| value(&nested, || place(&[at, &[expert]].concat()));
    list.into_iter().enumerate().map(count).collect()
}

fn value(nested: &Nested, place: impl Fn() -> String) -> Result<f64, String> {
    match nested {
        Nested::Number(number) => Ok(*number),
        Nested::Other(what) => Err(format!("{} is {what}, not a number; give counts of tokens", place())),
        Nested::List(_) | Nested::Map(_) => {
            Err(format!("{} is a list, not a number; give as many levels everywhere", place()))
        }
    }
}

/// An object of layers, by number: a list of experts each, or an object of experts by number.
fn of_layers(map: BTreeMap<String, Nested>) -> Result<Table, String> {
    let mut rows = Rows::default();
    for (key, nested) in map {
        let layer = number(&key)
            .ok_or_else(|| format!("`{key}`: no number of a layer; give one at the key's end"))?;
        let counts: Vec<(u32, Nested)> = match nested {
            Nested::List(list) => (0..).zip(list).collect(),
            Nested::Map(map) => {
                let expert = |(key, nested): (String, Nested)| Some((number(&key)?, nested));
                let counts: Option<_> = map.into_iter().map(expert).collect();
                counts.ok_or_else(|| format!("layer {layer}: give experts by number"))?
            }
            _ => return Err(format!("layer {layer} is no list; give a list of counts for each layer")),
        };
        for (expert, nested) in counts {
            let count = value(&nested, || format!("layer {layer}, expert {expert}"))?;
            rows.push(0, layer, expert, count)?;
        }
    }
    rows.finish()
}

/// A list of objects: a table each, one a step, or a row each.
fn of_records(records: Vec<Nested>) -> Result<Table, String> {
    let (mut steps, mut rows) = (Vec::new(), Rows::default());
    for (at, record) in records.into_iter().enumerate() {
        let Nested::Map(mut map) = record else {
            return Err(format!("entry {at} is no object; give one kind of entries"));
        };
        if let Some(table) = KEYS.iter().filter(|_| rows.is_empty()).find_map(|&key| map.remove(key)) {
            steps.push(layers(items(table, "entry", at)?, &[at])?);
            continue;
        }
        if !steps.is_empty() {
            return Err(format!("entry {at} has no table; give one in each"));
        }
        let field = |names| {
            Rows::field(names, map.iter()).map(|nested| value(nested, || format!("entry {at}"))).transpose()
        };
        rows.push_fields(field).map_err(|problem| format!("entry {at}: {problem}"))?;
    }
    if steps.is_empty() { rows.finish() } else { Ok(Table { by_step: true, ..Table::of_steps(steps) }) }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NestedVisitor)
    }
}

struct NestedVisitor;

impl<'de> Visitor<'de> for NestedVisitor {
    type Value = Nested;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Nested, E> {
        Ok(Nested::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Nested, E> {
        Ok(Nested::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Nested, E> {
        Ok(Nested::Number(value))
    }

    fn visit_unit<E>(self) -> Result<Nested, E> {
        Ok(Nested::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Nested, E> {
        Ok(Nested::Other("true or false"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Nested, E> {
        Ok(Nested::Other("text"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Nested, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Nested::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Nested, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, _>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` twice; give it once")));
            }
            map.insert(key, value);
        }
        Ok(Nested::Map(map))
    }
}
