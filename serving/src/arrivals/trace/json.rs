//! Traces as JSON lines with ids of the prompts' blocks: Mooncake's, and the Qwen Bailian ones.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use super::fields::{milliseconds, seconds, shown, tokens};
use super::lines::Lines;
use super::rows::{Found, Rows};
use super::{BAILIAN_BLOCK_TOKENS, FORMATS, MOONCAKE_BLOCK_TOKENS};
use crate::arrivals::ArrivalError;

/// A line. What else stands in it is passed over; what is missing or null is `None`.
#[derive(Deserialize)]
struct Line {
    timestamp: Option<Value>,
    input_length: Option<Value>,
    output_length: Option<Value>,
    hash_ids: Option<Vec<u64>>,
    /// Bailian's only.
    chat_id: Option<IgnoredAny>,
}

/// How the two formats differ, which have the same keys.
struct Format {
    name: &'static str,
    time: fn(&str, &str) -> Result<i64, String>,
    block_tokens: u32,
}

/// Mooncake, FAST'25 traces: milliseconds.
const MOONCAKE: Format = Format { name: "Mooncake", time: milliseconds, block_tokens: MOONCAKE_BLOCK_TOKENS };

/// alibaba-edu/qwen-bailian-usagetraces-anon: seconds.
const BAILIAN: Format = Format { name: "Bailian", time: seconds, block_tokens: BAILIAN_BLOCK_TOKENS };

/// Reads the current line and all that follow.
pub(super) fn read(
    lines: &mut Lines<'_>,
    rows: &mut Rows<'_>,
    block_tokens: Option<u32>,
) -> Result<Found, ArrivalError> {
    let mut format: Option<Format> = None;
    loop {
        // An array would be taken for the fields in their order.
        if !lines.text().trim_ascii_start().starts_with(b"{") {
            return Err(lines.wrong("no JSON object; give one a line"));
        }
        let line: Line = serde_json::from_slice(lines.text())
            .map_err(|error| lines.wrong(format!("{}{}", without_line(&error), lines.cut_hint())))?;
        let format = format.get_or_insert_with(|| if line.chat_id.is_some() { BAILIAN } else { MOONCAKE });
        let block = block_tokens.unwrap_or(format.block_tokens);
        let (nanos, input, output) = numbers(&line, format).map_err(|problem| lines.wrong(problem))?;
        let blocks = input.div_ceil(block) as usize;
        // What names the blocks of an empty prompt names none.
        let ids = line.hash_ids.filter(|_| input > 0).unwrap_or_default();
        if ids.len() > blocks {
            let problem =
                format!("{} hash_ids for the {blocks} blocks of {block} tokens of {input} tokens", ids.len());
            return Err(lines.wrong(format!("{problem}; say how long blocks are with block_tokens")));
        }
        rows.push(lines.line(), nanos, [("input_length", input), ("output_length", output)], &ids, blocks)?;
        if !lines.next_filled()? {
            return Ok(Found { format: format.name, block_tokens: block });
        }
    }
}

fn numbers(line: &Line, format: &Format) -> Result<(i64, u32, u32), String> {
    let time = (format.time)("timestamp", &number("timestamp", line.timestamp.as_ref())?.to_string())?;
    let input = number("input_length", line.input_length.as_ref())?.to_string();
    let output = number("output_length", line.output_length.as_ref())?.to_string();
    Ok((time, tokens("input_length", &input)?, tokens("output_length", &output)?))
}

fn number<'a>(name: &str, value: Option<&'a Value>) -> Result<&'a Number, String> {
    match value {
        None => Err(format!("no `{name}`; give {FORMATS}")),
        Some(Value::Number(number)) => Ok(number),
        Some(other) => Err(format!("`{name}` is {}: give a number", shown(&other.to_string()))),
    }
}

/// What is wrong with a line without serde's own number for it, which is always 1.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let at = format!(" at line {} column {}", error.line(), error.column());
    let problem = text.strip_suffix(&at).unwrap_or(&text);
    format!("column {}: {problem}; give one JSON object a line", error.column())
}
