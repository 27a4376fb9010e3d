//! SGLang's expert distribution record: `{"logical_count": [layers][experts]}`, or `[steps][layers][experts]`.

use serde::Deserialize;

use super::format::Format;
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES, MAX_LOAD_LAYERS};
use crate::shape::MAX_EXPERTS;

/// How it is told, and what reads it.
pub(super) const FORMAT: Format = Format {
    words: "SGLang's JSON (`logical_count`)",
    keys: &["logical_count"],
    document: Some(ExpertLoad::from_sglang),
    lines: None,
};

#[derive(Deserialize)]
struct Record<T> {
    logical_count: Vec<T>,
}

impl ExpertLoad {
    /// Reads an SGLang record; `origin` names it in errors. Other keys are passed over.
    ///
    /// # Errors
    /// [`LoadError`] names the layer and the remedy.
    pub fn from_sglang(text: &str, origin: &str) -> Result<Self, LoadError> {
        if text.len() > MAX_LOAD_BYTES {
            let problem = format!("{} bytes, more than {MAX_LOAD_BYTES}", text.len());
            return Err(LoadError::Size { origin: origin.to_owned(), problem });
        }
        let json = |source| LoadError::Json { origin: origin.to_owned(), source };
        let source = match serde_json::from_str::<Record<Vec<u64>>>(text) {
            Ok(Record { logical_count }) => {
                check(&logical_count, origin)?;
                return Ok(Self::of_counts(logical_count));
            }
            Err(error) => error,
        };
        let steps = match serde_json::from_str::<Record<Vec<Vec<u64>>>>(text) {
            Ok(Record { logical_count }) => logical_count,
            // The reading that came further is the one that was meant.
            Err(error) if (error.line(), error.column()) > (source.line(), source.column()) => {
                return Err(json(error));
            }
            Err(_) => return Err(json(source)),
        };
        let size = |counts: &[Vec<u64>]| (counts.len(), counts.first().map_or(0, Vec::len));
        let first = steps.first().map_or((0, 0), |counts| size(counts));
        for (step, counts) in steps.iter().enumerate() {
            check(counts, origin)?;
            if size(counts) != first {
                let (layers, experts) = size(counts);
                let problem = format!(
                    "step {step} has {layers} layers of {experts} experts, the first {} of {}",
                    first.0, first.1
                );
                return Err(LoadError::Size { origin: origin.to_owned(), problem });
            }
        }
        Ok(Self::of_steps(steps))
    }
}

/// As many experts in each layer, and neither none nor too many of both.
fn check(counts: &[Vec<u64>], origin: &str) -> Result<(), LoadError> {
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
