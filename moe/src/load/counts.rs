//! What counts of a record are held to, whichever format they are from.

use super::{LoadError, MAX_LOAD_LAYERS};
use crate::shape::MAX_EXPERTS;

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
