//! Traces as tables: a header that names the columns, in any order and among others, and a request a record.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::fields::{Unit, shown, tokens};
use super::lines::{Lines, MAX_LINE_BYTES};
use super::rows::{Asked, Found, NO_TIME, Rows};
use super::{FORMATS, TraceOptions};
use crate::arrivals::ArrivalError;

/// Most columns of a table.
const MAX_COLUMNS: usize = 1024;

/// A table of one publisher.
struct Format {
    name: &'static str,
    /// Its columns: time, prompt and answer.
    columns: [&'static str; 3],
    unit: Unit,
}

static TABLES: [Format; 7] = [
    // Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and 2024.md.
    Format { name: "Azure", columns: ["TIMESTAMP", "ContextTokens", "GeneratedTokens"], unit: Unit::Date },
    // microsoft/vidur, data/processed_traces.
    Format {
        name: "Vidur",
        columns: ["arrived_at", "num_prefill_tokens", "num_decode_tokens"],
        unit: Unit::Seconds,
    },
    // HPMLL/BurstGPT, README.
    Format {
        name: "BurstGPT",
        columns: ["Timestamp", "Request tokens", "Response tokens"],
        unit: Unit::Seconds,
    },
    // Mutinifni/splitwise-sim, traces.
    Format {
        name: "Splitwise",
        columns: ["arrival_timestamp", "prompt_size", "token_size"],
        unit: Unit::Seconds,
    },
    // As the JSON lines.
    Format { name: "Mooncake", columns: ["timestamp", "input_length", "output_length"], unit: Unit::Millis },
    // What vLLM's and SGLang's benchmarks call them.
    Format { name: "benchmark", columns: ["start_time", "input_len", "output_len"], unit: Unit::Seconds },
    // What OpenAI's interface calls them.
    Format {
        name: "OpenAI",
        columns: ["created", "prompt_tokens", "completion_tokens"],
        unit: Unit::Seconds,
    },
];

/// A table's format and where its columns are; without a time, requests come at a rate of one's own.
struct Columns {
    format: &'static Format,
    time: Option<usize>,
    lengths: [usize; 2],
    /// Of its session, where the table has one: its id, and the delay in milliseconds after the turn before.
    session: Option<usize>,
    delay: Option<usize>,
}

/// Reads a table whose header is the current line.
pub(super) fn read(
    lines: &mut Lines<'_>,
    rows: &mut Rows<'_>,
    options: &TraceOptions,
) -> Result<Found, ArrivalError> {
    let delimiter = delimiter(lines.text());
    let mut record = Record::new(delimiter);
    record.read(lines)?;
    let paced = options.request_rate.is_some();
    let columns = columns(&record, paced).map_err(|problem| lines.wrong(problem))?;
    let header = record.len();
    let format = columns.format;
    let mut unit = None;
    while lines.next_filled()? {
        let line = lines.line();
        record.read(lines)?;
        if record.len() != header {
            let problem = format!("{} fields where the header has {header}; give one for each", record.len());
            return Err(lines.wrong_at(line, problem + lines.cut_hint()));
        }
        let asked = asked(&record, &columns, &mut unit).map_err(|problem| {
            let [_, input, _] = format.columns;
            let again = record.field(columns.lengths[0]).is_ok_and(|text| same_name(text, input));
            let again = again.then(|| "the header once more: leave it out where files are joined".to_owned());
            lines.wrong_at(line, again.unwrap_or(problem) + lines.cut_hint())
        })?;
        rows.push(line, &asked)?;
    }
    let unit = unit.filter(|&unit| unit != format.unit).map(Unit::name);
    Ok(Found { format: format.name, block_tokens: 1, unit })
}

/// The request of a record.
fn asked(record: &Record, columns: &Columns, unit: &mut Option<Unit>) -> Result<Asked, String> {
    let &Columns { format, time, lengths, session, delay } = columns;
    let [name, input, output] = format.columns;
    // A turn that has a delay may have no time, and the other way round.
    let told = |column: Option<usize>| {
        let text = column.map(|column| record.field(column)).transpose()?;
        Ok::<_, String>(text.filter(|text| !text.is_empty()))
    };
    let nanos = |text: &str| unit.get_or_insert_with(|| format.unit.of_first(text)).nanos(name, text);
    let at = if session.is_some() { told(time)? } else { time.map(|at| record.field(at)).transpose()? };
    Ok(Asked {
        nanos: at.map(nanos).transpose()?,
        session: told(session)?.map(str::to_owned),
        delay_nanos: told(delay)?.map(|text| Unit::Millis.nanos("delay", text)).transpose()?,
        input: (input, tokens(input, record.field(lengths[0])?)?),
        output: (output, tokens(output, record.field(lengths[1])?)?),
        ..Asked::default()
    })
}

/// What stands between fields: the most frequent of comma, tab and semicolon in the header.
fn delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.iter().filter(|&&byte| byte == delimiter).count();
    // The last one of equals is taken.
    [b';', b'\t', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

/// The format whose columns a header has, and where they are; without times only where requests are `paced`.
fn columns(header: &Record, paced: bool) -> Result<Columns, String> {
    let names: Vec<&str> = (0..header.len()).map(|column| header.field(column)).collect::<Result<_, _>>()?;
    let find = |name: &str| names.iter().position(|found| same_name(found, name));
    let missing = |format: &'static Format| format.columns.into_iter().filter(|name| find(name).is_none());
    // The first of those that lack least, lengths before times.
    let lack = |format: &&Format| {
        (
            format.columns[1..].iter().filter(|name| find(name).is_none()).count(),
            find(format.columns[0]).is_none(),
        )
    };
    let format = TABLES.iter().min_by_key(lack).unwrap_or(&TABLES[0]);
    let lacking: Vec<String> = missing(format).map(|name| format!("`{name}`")).collect();
    if lacking.len() == format.columns.len() {
        return Err(format!("no header of a trace: {}; give {FORMATS}", shown(&names.join(","))));
    }
    let [time, input, output] = format.columns.map(find);
    let Some(lengths) = input.zip(output).map(|(input, output)| [input, output]) else {
        let (columns, name) = (lacking.join(" and "), format.name);
        return Err(format!("no column {columns}, which {name}'s traces have; give {FORMATS}"));
    };
    // A column that another format calls its times.
    let time = time.or_else(|| names.iter().position(|found| same_name(found, "timestamp")));
    if time.is_none() && !paced {
        return Err(NO_TIME.replace("timestamp", format.columns[0]));
    }
    let sessions = ["session_id", "conversation_id", "delay", "delay_ms"];
    for name in format.columns.into_iter().chain(sessions) {
        if names.iter().filter(|found| same_name(found, name)).count() > 1 {
            return Err(format!("two columns `{name}`: leave one out"));
        }
    }
    let [id, conversation, delay, delay_ms] = sessions.map(find);
    Ok(Columns { format, time, lengths, session: id.or(conversation), delay: delay.or(delay_ms) })
}

/// Whether two names of columns are one but for case, blanks, hyphens and underscores.
fn same_name(left: &str, right: &str) -> bool {
    let left = left.bytes().filter(|byte| !b" _-".contains(byte));
    let right = right.bytes().filter(|byte| !b" _-".contains(byte));
    left.map(|byte| byte.to_ascii_lowercase()).eq(right.map(|byte| byte.to_ascii_lowercase()))
}

/// One record, unquoted, in buffers that are used again.
struct Record {
    reader: Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl Record {
    fn new(delimiter: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Self { reader, bytes: Vec::new(), ends: vec![0; MAX_COLUMNS], fields: 0 }
    }

    fn len(&self) -> usize {
        self.fields
    }

    /// A field without the blanks around it.
    fn field(&self, column: usize) -> Result<&str, String> {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        let bytes = self.bytes[start..self.ends[column]].trim_ascii();
        std::str::from_utf8(bytes).map_err(|_| format!("field {} is not UTF-8: save it as UTF-8", column + 1))
    }

    /// Reads the record that begins in the current line; a quoted field may go on in the next ones.
    fn read(&mut self, lines: &mut Lines<'_>) -> Result<(), ArrivalError> {
        let first = lines.line();
        self.fields = 0;
        let mut written = 0;
        loop {
            let text = lines.text();
            // What is read is never longer than what was written for it.
            if self.bytes.len() < written + text.len() {
                self.bytes.resize(written + text.len(), 0);
            }
            let (mut result, used, wrote, ends) =
                self.reader.read_record(text, &mut self.bytes[written..], &mut self.ends[self.fields..]);
            written += wrote;
            self.fields += ends;
            if result == ReadRecordResult::InputEmpty && !text.ends_with(b"\n") && self.fields < MAX_COLUMNS {
                // No line end: a record ends here unless it is in quotes.
                let (end, _, wrote, ends) =
                    self.reader.read_record(b"\n", &mut [0; 1], &mut self.ends[self.fields..]);
                result = if wrote == 0 { end } else { ReadRecordResult::InputEmpty };
                self.fields += ends;
            }
            match result {
                ReadRecordResult::Record => {
                    if !text[used.min(text.len())..].trim_ascii().is_empty() {
                        return Err(
                            lines.wrong("a carriage return within a line; end lines with a line feed")
                        );
                    }
                    return Ok(());
                }
                ReadRecordResult::InputEmpty => {}
                _ => {
                    return Err(
                        lines.wrong_at(first, format!("more than {MAX_COLUMNS} fields; give fewer columns"))
                    );
                }
            }
            if written > MAX_LINE_BYTES || !lines.next()? {
                return Err(
                    lines.wrong_at(first, "a quote (\") that is not closed: close it or leave it out")
                );
            }
        }
    }
}
