//! Counts by layer and expert, as rows name them by whatever words.

use std::collections::BTreeMap;

use super::counts::Table;
use super::{MAX_LOAD_BYTES, MAX_LOAD_LAYERS};
use crate::shape::MAX_EXPERTS;

/// Names of columns, but for case, blanks, `_` and `-`.
pub(super) type Names = &'static [&'static str];

pub(super) const LAYER: Names = &["layer", "layerid", "layeridx", "layerindex", "moelayer", "moelayerid"];
pub(super) const EXPERT: Names =
    &["expert", "expertid", "expertidx", "expertindex", "logicalexpert", "logicalexpertid"];
pub(super) const COUNT: Names = &[
    "count",
    "counts",
    "tokens",
    "tokencount",
    "numtokens",
    "load",
    "logicalcount",
    "expertcount",
    "value",
    "meancount",
];
pub(super) const STEP: Names = &["step", "iteration", "iter", "batch", "batchid", "window", "windowid"];
const RANK: Names = &["rank", "rankid", "eprank"];

/// Counts by step, layer and rank, then expert; a pair that has no row counts nothing, and ranks are summed.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(u32, u32, u32), BTreeMap<u32, f64>>);

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field with one of the names of `names`.
    pub(super) fn field<'a, T>(names: Names, fields: impl IntoIterator<Item = (&'a String, T)>) -> Option<T> {
        fields.into_iter().find(|(name, _)| is_called(name, names)).map(|(_, field)| field)
    }

    /// Step, layer and rank, of which `field` tells the value by its names; the layer must be there.
    pub(super) fn place(field: impl Fn(Names) -> Result<Option<f64>, String>) -> Result<[u32; 3], String> {
        let or_0 = |names| if field(names)?.is_some() { whole(&field, names, u32::MAX) } else { Ok(0) };
        Ok([or_0(STEP)?, whole(&field, LAYER, u32::MAX)?, or_0(RANK)?])
    }

    /// A row of which `field` tells the value by its names.
    pub(super) fn push_fields(
        &mut self,
        field: impl Fn(Names) -> Result<Option<f64>, String>,
    ) -> Result<(), String> {
        let [step, layer, rank] = Self::place(&field)?;
        let expert = whole(&field, EXPERT, MAX_EXPERTS - 1)?;
        let count = field(COUNT)?.ok_or("no `count`")?;
        self.push([step, layer, rank], expert, count)
    }

    /// All experts of a layer, from 0.
    pub(super) fn push_layer(
        &mut self,
        step: u32,
        layer: u32,
        rank: u32,
        counts: Vec<f64>,
    ) -> Result<(), String> {
        (0..).zip(counts).try_for_each(|(expert, count)| self.push([step, layer, rank], expert, count))
    }

    /// A count at a step, layer and rank.
    pub(super) fn push(&mut self, at: [u32; 3], expert: u32, count: f64) -> Result<(), String> {
        if expert >= MAX_EXPERTS {
            return Err(format!("expert {expert}; give ids below {MAX_EXPERTS}"));
        }
        let [step, layer, rank] = at;
        match self.0.entry((step, layer, rank)).or_default().insert(expert, count) {
            Some(_) => {
                Err(format!("layer {layer}, expert {expert} has a row already; give one for each step"))
            }
            None => Ok(()),
        }
    }

    /// As many experts as the largest id says; steps are numbered from 0, in their order.
    pub(super) fn finish(self) -> Result<Table, String> {
        let mut ids: Vec<u32> = self.0.keys().map(|&(_, layer, _)| layer).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut steps: Vec<u32> = self.0.keys().map(|&(step, ..)| step).collect();
        steps.dedup();
        let experts =
            self.0.values().flat_map(BTreeMap::keys).max().map_or(0, |&largest| largest as usize + 1);
        let size = steps.len().saturating_mul(ids.len()).saturating_mul(experts);
        if ids.len() > MAX_LOAD_LAYERS || size > MAX_LOAD_BYTES / size_of::<f64>() {
            return Err(format!(
                "{} steps of {} layers of {experts} experts; give fewer",
                steps.len(),
                ids.len()
            ));
        }
        let layer = |step, layer| {
            let mut counts = vec![0.0; experts];
            let ranks = self.0.range((step, layer, 0)..=(step, layer, u32::MAX));
            for (&expert, &count) in ranks.flat_map(|(_, counts)| counts) {
                counts[expert as usize] += count;
            }
            counts
        };
        if ids.is_empty() {
            return Err("no rows; give one for each layer and expert that has tokens".to_owned());
        }
        let by_step = steps.len() > 1;
        let steps = steps.iter().map(|&step| ids.iter().map(|&id| layer(step, id)).collect()).collect();
        Ok(Table { ids, by_step, ..Table::of_steps(steps) })
    }
}

/// A number of `field` that must be there.
fn whole(
    field: impl Fn(Names) -> Result<Option<f64>, String>,
    names: Names,
    most: u32,
) -> Result<u32, String> {
    match field(names)? {
        None => Err(format!("no `{}`", names[0])),
        Some(value) if value.fract() == 0.0 && (0.0..=most.into()).contains(&value) => Ok(value as u32),
        Some(value) => Err(format!("`{}` is {value}: give a whole number from 0 to {most}", names[0])),
    }
}

/// Whether a column's name is one of `names` but for case, blanks, `_` and `-`.
pub(super) fn is_called(name: &str, names: Names) -> bool {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    names.iter().any(|known| plain.eq_ignore_ascii_case(known))
}
