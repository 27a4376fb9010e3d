//! Where a text has a constant of Python's that JSON doesn't have: what a dump of wrong numbers looks like.

use super::counts::place;

/// The constants as Python writes them.
const CONSTANTS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// What is wrong with a text that `error` says is not JSON, by layer and expert where it is a constant.
pub(super) fn not_json(text: &[u8], error: &serde_json::Error) -> String {
    named(text).unwrap_or_else(|| {
        let cut = if error.is_eof() { "; was the file cut?" } else { "" };
        format!("not JSON: {error}{cut}")
    })
}

/// What is wrong with a text in which there is a constant.
pub(super) fn named(text: &[u8]) -> Option<String> {
    let (key, at, word) = first(text)?;
    let of = if key.is_empty() { String::new() } else { format!(" of `{key}`") };
    let place = match at.as_slice() {
        [expert] => format!("expert {expert}"),
        [_, _] | [_, _, _] => place(&at),
        _ => "a value".to_owned(),
    };
    Some(format!("{place}{of} is {word}, not a number; give counts of tokens"))
}

/// The first constant, with the key and the indices in lists that lead to it from the object around it.
fn first(text: &[u8]) -> Option<(String, Vec<usize>, &'static str)> {
    let (mut key, mut lists, mut rest) = (&text[..0], Vec::<usize>::new(), text);
    while let Some(&byte) = rest.first() {
        match byte {
            b'"' => {
                let string = &rest[1..];
                let mut escaped = false;
                let end = string.iter().position(|&byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                })?;
                if lists.is_empty() {
                    key = &string[..end];
                }
                rest = &string[end..];
            }
            b'[' => lists.push(0),
            b']' => drop(lists.pop()),
            b',' => lists.last_mut().into_iter().for_each(|index| *index += 1),
            b'{' | b'}' => lists.clear(),
            _ => {
                if let Some(word) = CONSTANTS.into_iter().find(|word| rest.starts_with(word.as_bytes())) {
                    return Some((String::from_utf8_lossy(key).into_owned(), lists, word));
                }
            }
        }
        rest = &rest[1..];
    }
    None
}
