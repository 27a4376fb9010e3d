//! Words for people: what tables abbreviate is spelt out, several columns have one name.

use study::layer::BackendKind;

/// What a column's words say shortly, and the whole.
const SPELT_OUT: [(&str, &str); 7] = [
    ("a2a", "all-to-all"),
    ("compute", "expert computation"),
    ("TTFT", "time to the first token"),
    ("TPOT", "time per output token"),
    ("ITL", "time between tokens"),
    ("E2EL", "time of a request"),
    ("copies/token", "copies a token"),
];
/// Units of tables, and those of axes.
const UNITS: [(&str, &str); 3] = [("tok/s", "tokens/s"), ("$/Mtok", "$ a million tokens"), ("/s", "1/s")];

/// The words of a column without abbreviations, word by word.
pub(crate) fn spelt_out(words: &str) -> String {
    let one = |word: &str| {
        let known = SPELT_OUT.iter().find(|(short, _)| *short == word);
        known.map_or_else(|| word.to_owned(), |(_, whole)| (*whole).to_owned())
    };
    words.split(' ').map(one).collect::<Vec<_>>().join(" ").replace('_', " ")
}

/// The unit of a column as an axis has it.
pub(crate) fn unit(unit: &str) -> String {
    UNITS.iter().find(|(short, _)| *short == unit).map_or(unit, |(_, whole)| whole).to_owned()
}

/// Words and unit for all of `names` together: the unit is the first one's.
pub(crate) fn common(names: &[(String, String)]) -> (String, String) {
    let (words, unit) = names.first().cloned().unwrap_or_default();
    let words = match unit.as_str() {
        _ if names.len() < 2 => words,
        "us" | "ms" | "s" => "time".to_owned(),
        "GB" | "bytes" => "memory".to_owned(),
        "tokens/s" => "throughput".to_owned(),
        "$" | "$ a million tokens" => "price".to_owned(),
        _ => names.iter().map(|(words, _)| words.as_str()).collect::<Vec<_>>().join(" and "),
    };
    (words, unit)
}

/// Whether a value says by itself what it is of.
pub(crate) fn tells(word: &str) -> bool {
    let silent = ["none", "full", "true", "false", "default", "zero", "linear"];
    !silent.contains(&word) && word.starts_with(char::is_alphabetic)
}

/// Where a backend's times are from, in a caption.
pub(crate) fn clock(backend: BackendKind) -> &'static str {
    match backend {
        BackendKind::Quic => "measured (quic)",
        BackendKind::Sim => "simulated (sim)",
        BackendKind::Analytic => "computed by closed forms (analytic)",
    }
}
