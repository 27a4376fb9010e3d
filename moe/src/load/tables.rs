//! Tables of counts as JSON: lists by layer and expert, alone, under a key such as SGLang's `logical_count`, or under each
//! layer's number; and records of which each has a table, a layer or one count.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

use super::counts::{Table, place};
use super::format::Format;
use super::lines::Lines;
use super::rows::{LAYER, Rows};
use super::{ExpertLoad, LoadError};

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "counts (`logical_count`, lists, CSV)",
    keys: &[
        "logical_count",
        "expert_counts",
        "expert_count",
        "tokens_per_expert",
        "counts",
        "loads",
        "count",
        "load",
        "expert",
        "expert_id",
        "expert_idx",
        "expert_index",
    ],
    document: Some(parse),
    lines: Some(parse_lines),
};

/// How many of the keys are what a table is called by those who write one.
const TABLES: usize = 8;

/// JSON as far as it can be a table.
enum Nested {
    Number(f64),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
    /// In words.
    Other(&'static str),
}

/// Reads `[experts]`, `[layers][experts]` or `[steps][layers][experts]`, or objects with layers' numbers as keys, or a list of
/// records. What else stands beside a table's key is passed over.
fn parse(text: &str, origin: &str) -> Result<ExpertLoad, LoadError> {
    let wrong = |line, problem| LoadError::Line { origin: origin.to_owned(), line, problem };
    let nested = serde_json::from_str(text).map_err(|error| wrong(error.line(), error.to_string()))?;
    ExpertLoad::of_table(of_document(nested).map_err(|problem| wrong(1, problem))?, origin)
}

fn of_document(nested: Nested) -> Result<Table, String> {
    let mut records = Records::default();
    match nested {
        Nested::List(list) if list.iter().any(|record| matches!(record, Nested::Map(_))) => {
            for (at, record) in list.into_iter().enumerate() {
                records.push(record).map_err(|problem| format!("entry {at}: {problem}"))?;
            }
        }
        Nested::Map(_) => records.push(nested)?,
        table => return of_table(table),
    }
    records.finish()
}

/// Reads lines of which each is a record.
pub(super) fn parse_lines(mut lines: Lines<'_>) -> Result<ExpertLoad, LoadError> {
    let mut records = Records::default();
    loop {
        let next = lines.next(r#"counts, as {"layer": 3, "counts": [120, 80]}"#);
        let next = next.map_err(|error| lines.wrong_constant().unwrap_or(error))?;
        let Some(record) = next else { break };
        records.push(record).map_err(|problem| lines.wrong(problem))?;
    }
    ExpertLoad::of_table(records.finish().map_err(|problem| lines.wrong(problem))?, lines.origin)
}

/// What records say, all of one kind: a table each, one a step; or a layer or one count each.
#[derive(Default)]
struct Records {
    tables: Option<Table>,
    rows: Rows,
    /// Layers without a number.
    lists: u32,
}

impl Records {
    fn push(&mut self, record: Nested) -> Result<(), String> {
        match record {
            Nested::Map(map) => self.push_map(map)?,
            list if depth(&list) == 1 => {
                self.rows.push_layer(0, self.lists, 0, experts(items(list, "entry", 0)?, &[0])?)?;
                self.lists += 1;
            }
            table => self.push_table(table)?,
        }
        let mixed = self.tables.is_some() && !self.rows.is_empty();
        if mixed { Err("another kind than before; give one kind of records".to_owned()) } else { Ok(()) }
    }

    fn push_map(&mut self, mut map: BTreeMap<String, Nested>) -> Result<(), String> {
        let holds = |key: &&str| matches!(map.get(*key), Some(Nested::List(_) | Nested::Map(_)));
        let Some(table) = FORMAT.keys[..TABLES].iter().copied().find(holds) else {
            return if are_layers(map.keys()) {
                self.push_table(Nested::Map(map))
            } else {
                self.push_row(&map)
            };
        };
        let table = map.remove(table).expect("it was found");
        if Rows::field(LAYER, map.keys().map(|key| (key, ()))).is_none() {
            return self.push_table(table);
        }
        let place =
            |names| Rows::field(names, map.iter()).map(|nested| value(nested, String::new)).transpose();
        let [step, layer, rank] = Rows::place(place)?;
        let counts = match table {
            Nested::List(list) => experts(list, &[layer as usize])?,
            table => {
                let layers = BTreeMap::from([(layer.to_string(), table)]);
                of_layers(layers)?.steps.remove(0).remove(0)
            }
        };
        self.rows.push_layer(step, layer, rank, counts)
    }

    fn push_row(&mut self, map: &BTreeMap<String, Nested>) -> Result<(), String> {
        self.rows.push_fields(|names| {
            let field = Rows::field(names, map);
            field.map(|nested| value(nested, || format!("`{}`", names[0]))).transpose()
        })
    }

    fn push_table(&mut self, table: Nested) -> Result<(), String> {
        let table = of_table(table)?;
        match &mut self.tables {
            None => self.tables = Some(table),
            Some(before) if before.ids != table.ids => {
                return Err(format!("layers {:?} where others have {:?}", table.ids, before.ids));
            }
            Some(before) => {
                before.steps.extend(table.steps);
                before.by_step = true;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Table, String> {
        self.tables.map_or_else(|| self.rows.finish(), Ok)
    }
}

/// Whether the keys of an object are layers' numbers: `3`, `layer_3`, `model.layers.3`.
pub(super) fn are_layers<'a>(mut keys: impl Iterator<Item = &'a String>) -> bool {
    keys.all(|key| number(key).is_some())
}

/// The number at the end of a key.
pub(super) fn number(key: &str) -> Option<u32> {
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
            rows.push([0, layer, 0], expert, count)?;
        }
    }
    rows.finish()
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
