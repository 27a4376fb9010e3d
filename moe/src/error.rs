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
    /// A configuration that can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is understood of a model, and not run here.
    #[error(
        "{origin}: {what}: understood, and not built here yet; `railyard model {origin}` has what can be said of it"
    )]
    NotBuilt {
        /// The file or preset.
        origin: String,
        /// What the model has.
        what: String,
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
    /// The model is a dense one.
    #[error("{origin}: {name} has no routed experts; give a mixture-of-experts model")]
    NotMoe {
        /// File that it was read from.
        origin: String,
        /// Its name or type.
        name: String,
    },
}

/// Why a configuration can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// The file or whatever the text came from.
    pub origin: String,
    /// The field that is missing, impossible or not understood; none where the text as a whole can't be read.
    pub field: Option<String>,
    /// What is wrong, with the remedy.
    pub problem: String,
}
