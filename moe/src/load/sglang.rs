//! SGLang's expert distribution record: `{"logical_count": [layers][experts]}`, or `[steps][layers][experts]`.

use serde::Deserialize;

use super::format::Format;
use super::{ExpertLoad, LoadError, MAX_LOAD_BYTES};

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
            Ok(Record { logical_count }) => return Self::of_counts(logical_count, origin),
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
        Self::of_steps(steps, origin)
    }
}
