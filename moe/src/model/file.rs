//! A model as TOML: the file of one's own that `--model` takes, a preset, what `railyard model NAME` prints.
//!
//! The keys are the fields of [`Model`]: kinds of layers, and which layer is of which kind. A file may leave out what most models have
//! none of: windows, shared experts, groups, published totals, formats of storage.

use super::{Model, ModelError};

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;

impl Model {
    /// Reads the text of a model file; `origin` names it in errors and, where the file doesn't say, is name and source.
    ///
    /// # Errors
    /// [`ModelError`] with the line of what is no TOML, no key or no value of its type, or with the field that is not possible.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ModelError> {
        let refused = |line, reason| ModelError::Toml { origin: origin.to_owned(), line, reason };
        if text.len() > MAX_FILE_BYTES {
            return Err(refused(1, format!("{} bytes, more than {MAX_FILE_BYTES}", text.len())));
        }
        let model = toml::from_str::<Self>(text).map_err(|error| {
            let before = &text.as_bytes()[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            // What the reader says of a table that stands for one of several things.
            let message = match error.message() {
                "wanted exactly 1 element, found 0 elements" | "wanted exactly 1 element, more than 1 element" => {
                    "a part is one thing with its keys, as in { grouped = { heads = 4 } } or span = { window = 128 }; give each a table of its own"
                }
                message => message,
            };
            refused(line, message.to_owned())
        })?;
        model.read_from(origin)
    }

    /// This model as a file that [`Model::from_toml`] reads as the same.
    ///
    /// # Errors
    /// None for a model that [`Model::validate`] passes.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The model with what follows from what its file says, checked.
    pub(crate) fn read_from(mut self, origin: &str) -> Result<Self, ModelError> {
        for unsaid in [&mut self.name, &mut self.source].into_iter().filter(|text| text.is_empty()) {
            origin.clone_into(unsaid);
        }
        self.validate_as(origin)?;
        self.validate_kinds(origin)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_read_back_as_it_was_written() {
        for model in Model::presets() {
            let text = model.to_toml().unwrap();
            assert_eq!(&Model::from_toml(&text, "copied.toml").unwrap(), model, "{text}");
        }
    }

    #[test]
    fn a_file_may_leave_out_what_most_models_have_none_of_and_faults_are_told_with_their_line() {
        let text = "hidden = 64\nvocab = 100\norder = { layers = 4, runs = [[0, 1]] }\n[[kinds]]\n\
                    mixers = [{ grouped = { heads = 4, kv_heads = 2, head_dim = 16 } }]\n\
                    [[kinds.blocks]]\nrouted = { experts = 8, top_k = 2, inter = 32, gate.kind.softmax = { norm_topk = true } }\n";
        let model = Model::from_toml(text, "own.toml").unwrap();
        assert_eq!((model.name.as_str(), model.moe_layers(), model.layer().gate.n_group), ("own.toml", 4, 1));
        let error = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Model::from_toml(&text.replace(from, to), "own.toml").unwrap_err().to_string()
        };
        for (from, to, said) in [
            ("top_k = 2", "top_k = 9", "own.toml: top_k = 9 is not possible"),
            ("top_k = 2, ", "", "own.toml:7: missing field `top_k`"),
            ("top_k = 2", "topk = 2", "own.toml:7: unexpected keys in table: topk, available keys: "),
            (
                "softmax = {",
                "softmex = {",
                "own.toml:7: no gate is called `softmex`, did you mean `softmax`?",
            ),
            ("norm_topk", "norm", "own.toml:7: gate `softmax` has no option `norm`; it has norm_topk"),
            ("hidden = 64", "hidden = -1", "own.toml:1: "),
            (
                "grouped = { heads = 4, kv_heads = 2, head_dim = 16 }",
                "",
                "own.toml:5: a part is one thing with its keys",
            ),
            (
                "[[kinds]]",
                "[[kinds]]\nblocks = [{ dense = { inter = 8 } }]\n[[kinds]]",
                "own.toml: unused kind in kinds = 1",
            ),
            ("layers = 4", "layers = 0", "own.toml: order.layers = 0 is not possible"),
            ("layers = 4", "layers = 4000000000", "own.toml: order.layers = 4000000000 is not possible"),
            ("[[0, 1]]", "[[1, 1]]", "own.toml: kind in order.runs = 1 is not possible"),
            ("[[0, 1]]", "[[0, 0]]", "own.toml: layers in order.runs = 0 is not possible"),
            ("[[0, 1]]", "[[0, 3], [0, 2]]", "own.toml: layers of all order.runs = 5 is not possible"),
        ] {
            let error = error(from, to);
            assert!(error.starts_with(said), "{to}: {error}");
        }
    }
}
