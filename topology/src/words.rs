//! What a misspelt word was meant to be.

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

#[cfg(test)]
mod tests {
    use super::did_you_mean;

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
