//! Words of flags and files: which are known, what a misspelt one was meant to be, and that values are written as they are read.

/// Words less alike than this (Jaro-Winkler) are no slip of the pen.
const LIKENESS_MIN: f64 = 0.75;
/// Longer words are not compared: the comparison is quadratic.
const CHARS_MAX: usize = 64;

/// ``, did you mean `x`?`` with the nearest of `known`, or nothing where none is near. Case and `_` for `-` don't matter.
#[must_use]
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let plain =
        |word: &str| word.chars().take(CHARS_MAX).collect::<String>().to_lowercase().replace('_', "-");
    let known: Vec<&str> = known.into_iter().collect();
    if known.contains(&given) {
        return String::new();
    }
    let given = plain(given);
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&given, &plain(known)), known))
        .filter(|&(likeness, _)| likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, known)| format!(", did you mean `{known}`?"))
}

/// The value of `word` among `known`.
///
/// # Errors
/// The nearest word, and all that there are.
pub fn named<T: Copy>(word: &str, known: &[(&'static str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
        let (last, others) = names.split_last().unwrap_or((&"nothing", &[]));
        let all =
            if others.is_empty() { (*last).to_owned() } else { format!("{} or {last}", others.join(", ")) };
        let word: String = word.chars().take(CHARS_MAX).collect();
        format!("`{word}`{}: give {all}", did_you_mean(&word, names))
    })
}

/// Has serde write a type as its `Display` does and read it as its `FromStr` does.
#[macro_export]
macro_rules! serde_as_text {
    ($($text:ty),+) => { $(
        impl serde::Serialize for $text {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $text {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, named};

    #[test]
    fn a_known_word_has_its_value_and_another_is_told_the_nearest() {
        let known = [("max", 1), ("sum", 2)];
        assert_eq!((named("sum", &known), named("MAX", &known)), (Ok(2), Ok(1)));
        assert_eq!(named("summ", &known), Err("`summ`, did you mean `sum`?: give max or sum".to_owned()));
        assert!(named("", &known).is_err());
    }

    #[test]
    fn the_nearest_word_is_named_and_no_word_that_is_not_near() {
        let known = ["flat", "dedup", "hierarchical"];
        assert_eq!(did_you_mean("hier", known), ", did you mean `hierarchical`?");
        assert_eq!(did_you_mean("DEDUPE", known), ", did you mean `dedup`?");
        assert_eq!(did_you_mean("flat", known), "", "it is there: what is wrong is something else");
        assert_eq!(did_you_mean("round_robin", ["round-robin"]), ", did you mean `round-robin`?");
        for other in ["", "zzz", &"x".repeat(100_000)] {
            assert_eq!(did_you_mean(other, known), "");
        }
    }
}
