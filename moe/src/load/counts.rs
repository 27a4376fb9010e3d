//! Tables of counts from whichever format: as written, then as whole tokens.

use super::{ExpertLoad, LoadError, MAX_LOAD_LAYERS};
use crate::shape::MAX_EXPERTS;

/// The largest count that is taken for one: 2^53, up to which a float holds every whole number.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;
/// Counts with fractions are taken so many times that the largest has this many or more.
const FRACTIONS_UP_TO: f64 = 1e9;

/// Counts as a source has them, whole or not.
#[derive(Debug)]
pub(super) struct Table {
    /// The number that each layer has in the source, `[layers]`.
    pub(super) ids: Vec<u32>,
    /// `[steps][layers][experts]`.
    pub(super) steps: Vec<Vec<Vec<f64>>>,
    /// Whether the source tells steps apart.
    pub(super) by_step: bool,
}

impl Table {
    /// Layers numbered from 0.
    pub(super) fn of_layers(layers: Vec<Vec<f64>>) -> Self {
        Self::of_steps(vec![layers])
    }

    /// Steps of layers numbered from 0, not told apart.
    pub(super) fn of_steps(steps: Vec<Vec<Vec<f64>>>) -> Self {
        let ids = (0..).take(steps.first().map_or(0, Vec::len)).collect();
        Self { ids, steps, by_step: false }
    }

    /// The power of ten that makes whole numbers of all counts, or leaves nine digits of the largest; 1 where they are whole.
    fn scale(&self) -> f64 {
        let counts = || self.steps.iter().flatten().flatten().copied();
        let largest = counts().fold(0.0, f64::max);
        let mut scale = 1.0;
        while largest * scale < FRACTIONS_UP_TO && counts().any(|count| !is_whole(count * scale)) {
            scale *= 10.0;
        }
        scale
    }
}

/// Whether a count is a whole number but for what floats do to one.
fn is_whole(count: f64) -> bool {
    (count - count.round()).abs() <= 1e-9 * count
}

/// Where in a table something is: its indices, expert last.
pub(super) fn place(at: &[usize]) -> String {
    let names = &["step", "layer", "expert"][if at.len() < 3 { 1 } else { 0 }..];
    let words: Vec<String> = names.iter().zip(at).map(|(name, index)| format!("{name} {index}")).collect();
    words.join(", ")
}

impl ExpertLoad {
    /// The record of a table, which `origin` names in errors. Windows' means and other fractions become whole by a power of ten
    /// that [`Self::warnings`] tells.
    ///
    /// # Errors
    /// As [`Self::of_steps`], and a count that is none, by its layer and expert.
    pub(super) fn of_table(table: Table, origin: &str) -> Result<Self, LoadError> {
        for (step, layers) in table.steps.iter().enumerate() {
            for (layer, counts) in layers.iter().enumerate() {
                let wrong = |&(_, count): &(usize, &f64)| !(0.0..=MAX_COUNT).contains(count);
                if let Some((expert, count)) = counts.iter().enumerate().find(wrong) {
                    let id = table.ids.get(layer).map_or(layer, |&id| id as usize);
                    let at = [step, id, expert];
                    let place = place(&at[usize::from(!table.by_step)..]);
                    return Err(LoadError::Count { origin: origin.to_owned(), place, count: *count });
                }
            }
        }
        let scale = table.scale();
        let whole =
            |counts: Vec<f64>| counts.into_iter().map(|count| (count * scale).round() as u64).collect();
        let layers = |layers: Vec<Vec<f64>>| layers.into_iter().map(whole).collect();
        let mut steps: Vec<Vec<Vec<u64>>> = table.steps.into_iter().map(layers).collect();
        let load = if table.by_step || steps.len() != 1 {
            Self::of_steps(steps, origin)?
        } else {
            Self::of_counts(steps.remove(0), origin)?
        };
        Ok(Self { layer_ids: table.ids, scale, ..load })
    }
}

/// As many experts in each layer, and neither none nor too many of both.
pub(super) fn check(counts: &[Vec<u64>], origin: &str) -> Result<(), LoadError> {
    if counts.is_empty() || counts.len() > MAX_LOAD_LAYERS {
        let problem = format!("{} layers", counts.len());
        return Err(LoadError::Size { origin: origin.to_owned(), problem });
    }
    let experts = counts[0].len();
    for (layer, counts) in counts.iter().enumerate() {
        let found = counts.len();
        let expected = if found != experts {
            format!("the first layer {experts}: give as many in each")
        } else if found == 0 || found > MAX_EXPERTS as usize {
            format!("possible are 1 to {MAX_EXPERTS}")
        } else {
            continue;
        };
        return Err(LoadError::Layer { origin: origin.to_owned(), layer, found, expected });
    }
    Ok(())
}

/// As many layers and experts in each step, of which there is one at least.
pub(super) fn check_steps(steps: &[Vec<Vec<u64>>], origin: &str) -> Result<(), LoadError> {
    let size = |counts: &[Vec<u64>]| (counts.len(), counts.first().map_or(0, Vec::len));
    let wrong = |problem| LoadError::Size { origin: origin.to_owned(), problem };
    let first = size(steps.first().ok_or_else(|| wrong("0 steps".to_owned()))?);
    for (step, counts) in steps.iter().enumerate() {
        check(counts, origin)?;
        let (layers, experts) = size(counts);
        if (layers, experts) != first {
            return Err(wrong(format!(
                "step {step} has {layers} layers of {experts} experts, the first {} of {}",
                first.0, first.1
            )));
        }
    }
    Ok(())
}
