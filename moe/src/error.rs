//! Why a model cannot be used: always with its origin, the field and the remedy.

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No preset of that name.
    #[error("no model preset named '{name}'{hint}; known presets: {known}")]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// The nearest known name as a question, or nothing.
        hint: String,
        /// All canonical names, comma-separated.
        known: String,
    },
    /// The text is not JSON, or not an object.
    #[error("{origin}: not a JSON object: {reason}; give a Hugging Face config.json")]
    Json {
        /// The file or whatever the text came from.
        origin: String,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The text is no TOML of a model.
    #[error("{origin}:{line}: {reason}")]
    Toml {
        /// The file or whatever the text came from.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A field that the model type needs is absent.
    #[error("{origin}: field '{field}' is missing; {remedy}")]
    Missing {
        /// File that it was read from.
        origin: String,
        /// The field, or the alternatives that would do.
        field: String,
        /// What to write there.
        remedy: String,
    },
    /// A field has a value that no model can have.
    #[error("{origin}: {field} = {value} is not possible; give {remedy}")]
    Invalid {
        /// The file or preset.
        origin: String,
        /// Name of the field, as in config.json.
        field: &'static str,
        /// Its value as found.
        value: String,
        /// Which values are possible.
        remedy: String,
    },
    /// The configuration describes a dense model.
    #[error(
        "{origin}: model type '{model_type}' has no routed experts; give the config.json of a mixture-of-experts model"
    )]
    NotMoe {
        /// File that it was read from.
        origin: String,
        /// `model_type` as found.
        model_type: String,
    },
}
