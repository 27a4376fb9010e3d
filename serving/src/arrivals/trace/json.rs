//! Traces as JSON: a request a line, or in a list; and what benchmarks export.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::documents::Documents;
use super::fields::{Unit, shown, tokens};
use super::lines::Lines;
use super::rows::{Asked, Found, Rows};
use super::{BAILIAN_BLOCK_TOKENS, FORMATS, MOONCAKE_BLOCK_TOKENS};
use crate::arrivals::ArrivalError;

/// A request. What else stands in it is passed over; what is missing or null is `None`.
#[derive(Deserialize)]
struct Line {
    timestamp: Option<Value>,
    #[serde(alias = "request_start_ns")]
    timestamp_ns: Option<Value>,
    timestamp_us: Option<Value>,
    timestamp_ms: Option<Value>,
    #[serde(alias = "arrived_at", alias = "arrival_time", alias = "arrival_timestamp", alias = "start_time")]
    timestamp_s: Option<Value>,
    #[serde(
        alias = "input_len",
        alias = "input_tokens",
        alias = "num_input_tokens",
        alias = "number_input_tokens",
        alias = "prompt_tokens",
        alias = "prompt_len",
        alias = "num_prefill_tokens",
        alias = "input_sequence_length",
        alias = "isl"
    )]
    input_length: Option<Value>,
    #[serde(
        alias = "output_len",
        alias = "output_tokens",
        alias = "num_output_tokens",
        alias = "number_output_tokens",
        alias = "completion_tokens",
        alias = "num_decode_tokens",
        alias = "output_sequence_length",
        alias = "osl"
    )]
    output_length: Option<Value>,
    hash_ids: Option<Vec<u64>>,
    /// Bailian's only.
    chat_id: Option<IgnoredAny>,
    session_id: Option<Value>,
    #[serde(alias = "delay_ms")]
    delay: Option<Value>,
    #[serde(alias = "error_code")]
    error: Option<Value>,
    success: Option<bool>,
    /// AIPerf's, in whose records these have what others have beside each other.
    metadata: Option<Metadata>,
    metrics: Option<Metrics>,
    /// vLLM's and SGLang's benchmarks, a run in one object.
    input_lens: Option<Vec<Value>>,
    output_lens: Option<Vec<Value>>,
    start_times: Option<Vec<Value>>,
    errors: Option<Vec<Value>>,
    /// Texts, of which the tokens would have to be counted.
    #[serde(alias = "prompt", alias = "messages", alias = "conversations", alias = "turns")]
    text_input: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(alias = "request_start_ns")]
    timestamp_ns: Option<Value>,
    #[serde(default)]
    was_cancelled: bool,
}

#[derive(Deserialize)]
struct Metrics {
    input_sequence_length: Option<Metric>,
    output_sequence_length: Option<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    value: Value,
}

/// Whose trace it is, which decides what its times and blocks are.
struct Format {
    name: &'static str,
    unit: Unit,
    block_tokens: u32,
}

/// Mooncake, FAST'25 traces.
const MOONCAKE: Format = Format { name: "Mooncake", unit: Unit::Millis, block_tokens: MOONCAKE_BLOCK_TOKENS };

/// alibaba-edu/qwen-bailian-usagetraces-anon.
const BAILIAN: Format = Format { name: "Bailian", unit: Unit::Seconds, block_tokens: BAILIAN_BLOCK_TOKENS };

/// ai-dynamo/aiperf, profile_export.jsonl.
const AIPERF: Format = Format { name: "AIPerf", unit: Unit::Nanos, block_tokens: MOONCAKE_BLOCK_TOKENS };

/// `vllm bench serve --save-result --save-detailed`, SGLang's `bench_serving --output-details`.
const BENCH: Format = Format { name: "benchmark", unit: Unit::Seconds, block_tokens: MOONCAKE_BLOCK_TOKENS };

impl Format {
    fn of(line: &Line) -> Self {
        if line.chat_id.is_some() {
            BAILIAN
        } else if line.metadata.is_some() {
            AIPERF
        } else if line.input_lens.is_some() {
            BENCH
        } else {
            MOONCAKE
        }
    }
}

/// Reads what begins in the current line; `block_tokens` where blocks are not as long as the format has them.
pub(super) fn read(
    lines: &mut Lines<'_>,
    rows: &mut Rows<'_>,
    block_tokens: Option<u32>,
) -> Result<Found, ArrivalError> {
    let mut documents = Documents::new(lines)?;
    let (mut format, mut unit, mut runs) = (None, None, 0);
    while let Some((at, line)) = documents.next::<Line>(lines)? {
        let wrong = |problem: String| lines.wrong_at(at, problem);
        let format: &Format = format.get_or_insert_with(|| Format::of(&line));
        if runs > 0 {
            return Err(wrong("something behind a benchmark's run; give one run a file".to_owned()));
        }
        if line.input_lens.is_some() {
            runs += 1;
            for request in 0.. {
                match of_run(&line, request).map_err(wrong)? {
                    Some(Ok(asked)) => rows.push(at, &asked)?,
                    Some(Err(Failed)) => rows.failed(),
                    None => break,
                }
            }
        } else if has_failed(&line) {
            rows.failed();
        } else {
            let block = block_tokens.unwrap_or(format.block_tokens);
            rows.push(at, &asked(line, format, block, &mut unit).map_err(wrong)?)?;
        }
    }
    let format = format.unwrap_or(MOONCAKE);
    Ok(Found {
        format: format.name,
        block_tokens: block_tokens.unwrap_or(format.block_tokens),
        unit: unit.filter(|&unit| unit != format.unit).map(Unit::name),
    })
}

/// A request that has no answer.
struct Failed;

fn has_failed(line: &Line) -> bool {
    let cancelled = line.metadata.as_ref().is_some_and(|metadata| metadata.was_cancelled);
    line.error.as_ref().is_some_and(is_fault) || line.success == Some(false) || cancelled
}

/// Whether what stands for a fault is one.
fn is_fault(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

/// A request of a run whose lengths stand in lists; `None` behind the last one.
fn of_run(line: &Line, request: usize) -> Result<Option<Result<Asked, Failed>>, String> {
    let inputs = line.input_lens.as_deref().unwrap_or_default();
    let list = |name: &str, list: &Option<Vec<Value>>| match list {
        None => Ok(None),
        Some(list) if list.len() == inputs.len() => Ok(list.get(request).cloned()),
        Some(list) => Err(format!("{} {name} for {} input_lens; give one each", list.len(), inputs.len())),
    };
    let output = list("output_lens", &line.output_lens)?;
    let (start, error) = (list("start_times", &line.start_times)?, list("errors", &line.errors)?);
    let Some(input) = inputs.get(request) else { return Ok(None) };
    if error.as_ref().is_some_and(is_fault) {
        return Ok(Some(Err(Failed)));
    }
    let time = |start: Value| Unit::Seconds.nanos("start_times", &text("start_times", &start)?);
    Ok(Some(Ok(Asked {
        nanos: start.map(time).transpose()?,
        input: ("input_lens", length("input_lens", Some(input))?),
        output: ("output_lens", length("output_lens", output.as_ref())?),
        ..Asked::default()
    })))
}

fn asked(line: Line, format: &Format, block: u32, unit: &mut Option<Unit>) -> Result<Asked, String> {
    let metric = |of: fn(&Metrics) -> &Option<Metric>| {
        line.metrics.as_ref().and_then(|metrics| of(metrics).as_ref()).map(|metric| &metric.value)
    };
    let input = line.input_length.as_ref().or_else(|| metric(|of| &of.input_sequence_length));
    let output = line.output_length.as_ref().or_else(|| metric(|of| &of.output_sequence_length));
    if input.is_none() && line.text_input.is_some() {
        return Err("a text, of which nobody counted the tokens: give `input_length`".to_owned());
    }
    let (input, output) = (length("input_length", input)?, length("output_length", output)?);
    let nanos = time(&line, format, unit)?;
    let delay = |delay: Value| Unit::Millis.nanos("delay", &text("delay", &delay)?);
    let session = line.session_id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    let blocks = input.div_ceil(block) as usize;
    // What names the blocks of an empty prompt names none.
    let ids = line.hash_ids.filter(|_| input > 0).unwrap_or_default();
    if ids.len() > blocks {
        let problem =
            format!("{} hash_ids for the {blocks} blocks of {block} tokens of {input} tokens", ids.len());
        return Err(format!("{problem}; say how long blocks are with block_tokens"));
    }
    Ok(Asked {
        nanos,
        input: ("input_length", input),
        output: ("output_length", output),
        ids,
        blocks,
        session,
        delay_nanos: line.delay.map(delay).transpose()?,
    })
}

/// When a request came, in nanoseconds, where it says so.
fn time(line: &Line, format: &Format, unit: &mut Option<Unit>) -> Result<Option<i64>, String> {
    let of_record = line.metadata.as_ref().and_then(|metadata| metadata.timestamp_ns.as_ref());
    let named = [
        ("timestamp_ns", line.timestamp_ns.as_ref().or(of_record), Unit::Nanos),
        ("timestamp_us", line.timestamp_us.as_ref(), Unit::Micros),
        ("timestamp_ms", line.timestamp_ms.as_ref(), Unit::Millis),
        ("timestamp_s", line.timestamp_s.as_ref(), Unit::Seconds),
    ];
    for (name, value, unit) in named {
        if let Some(value) = value {
            return unit.nanos(name, &text(name, value)?).map(Some);
        }
    }
    let Some(value) = &line.timestamp else { return Ok(None) };
    let text = text("timestamp", value)?;
    let unit = *unit.get_or_insert_with(|| format.unit.of_first(&text));
    unit.nanos("timestamp", &text).map(Some)
}

fn length(name: &str, value: Option<&Value>) -> Result<u32, String> {
    match value {
        None => Err(format!("no `{name}`; give {FORMATS}")),
        Some(Value::Number(number)) => tokens(name, &number.to_string()),
        Some(other) => Err(format!("`{name}` is {}: give a number", shown(&other.to_string()))),
    }
}

/// A number or a date as it is written.
fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("`{name}` is {}: give a number", shown(&other.to_string()))),
    }
}
