//! The text of a configuration as Python writes it: a byte-order mark, `NaN` and `Infinity` are no obstacles.

use serde_json::{Map, Value};

/// Largest configuration that is read, bytes.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// The object that `text` holds. `NaN` and `Infinity` become `null`, as no width or count can be one.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(format!("{} bytes, more than {MAX_CONFIG_BYTES}; is it the right file?", text.len()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = serde_json::from_str(text).or_else(|first| {
        let plain = without_constants(text);
        // What Python's constants do not explain is told of the text as it stands.
        serde_json::from_str(&plain).map_err(|_| first)
    });
    match parsed {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("not a JSON object: another kind of value; give a Hugging Face config.json".to_owned()),
        Err(error) => Err(format!("not a JSON object: {error}; give a Hugging Face config.json")),
    }
}

/// The text with Python's constants outside of strings replaced by `null`.
fn without_constants(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        if from.starts_with('"') {
            let end = end_of_string(from);
            plain.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        let constant = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| from.starts_with(word));
        let length = constant.map_or(1, str::len);
        plain.push_str(if constant.is_some() { "null" } else { &from[..length] });
        rest = &from[length..];
    }
    plain + rest
}

/// Bytes of the string that `text` begins with, both quotes included.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text = "\u{feff}{\"a\": [0.0, Infinity], \"b\": NaN, \"c\": \"NaN \\\" Infinity\", \"d\": -Infinity, \"e\": -1}";
        let object = object(text).unwrap();
        assert_eq!(object["a"], serde_json::json!([0.0, null]));
        assert_eq!(object["c"], "NaN \" Infinity");
        assert_eq!(
            (&object["b"], &object["d"], &object["e"]),
            (&Value::Null, &Value::Null, &Value::from(-1))
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, said) in [
            ("", "not a JSON object: EOF"),
            ("[1]", "not a JSON object"),
            ("{\"a\": Nan}", "not a JSON object: expected"),
        ] {
            assert!(object(text).unwrap_err().starts_with(said), "{text}");
        }
        assert!(object(&" ".repeat(MAX_CONFIG_BYTES + 1)).unwrap_err().contains("16777217 bytes"));
    }
}
