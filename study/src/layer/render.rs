//! A report as text for people or as JSON, and the directory that keeps both.

use super::bandwidth_table::{LEGEND, bandwidth_table};
use super::pairs::pairs;
use super::table::{Page, table};
use super::{BackendKind, ExpectedKind, Record, Report, Verification, sentences};
use crate::text_table::wrapped;
use serde_json::Value;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Most results that one directory keeps.
const RESULTS_MAX: u32 = 999_999;

impl Report {
    /// What was compared, sentences, tables; and unless it is early, legend and options.
    #[must_use]
    pub fn to_text(&self, page: Page) -> String {
        let mut text = wrapped(&headline(&self.config), page.width, "  ");
        if page.early {
            text.push_str("Simulated with the first seed, NOT YET VERIFIED:\n");
        }
        if let Some(asked) = self.rows_asked {
            text.push_str(&format!("INCOMPLETE: {} of {asked} rows; it ended early.\n", self.rows.len()));
        }
        for sentence in sentences(self) {
            text.push_str(&wrapped(&format!("- {sentence}"), page.width, "  "));
        }
        let mut few = false;
        for latency in self.latencies() {
            let (table, narrow) = table(self, latency, page);
            text.push_str(&format!("\n{}\n{table}", heading(latency)));
            few |= narrow;
        }
        if !page.early && page.width.is_none() {
            for latency in self.latencies() {
                if let Some(table) = bandwidth_table(self, latency) {
                    text.push_str(&format!("\nBandwidth, {}\n{table}", heading(latency).to_lowercase()));
                }
            }
        }
        if !page.early {
            text.push('\n');
            for line in self.legend(few) {
                text.push_str(&wrapped(&line, page.width, "  "));
            }
            text.push('\n');
            for line in self.header.lines() {
                text.push_str(&wrapped(line, page.width, "            "));
            }
        }
        text
    }

    /// Bytes of every pair of ranks that send each other any, for records that have a detail: squares of numbers between blanks.
    #[must_use]
    pub fn pairs(&self, page: Page) -> String {
        pairs(self, page)
    }

    /// Model, hardware and racks in a line.
    #[must_use]
    pub fn subject(&self) -> String {
        headline(&self.config)
    }

    /// What the columns are, all or the few that a narrow page has.
    #[must_use]
    pub fn legend(&self, few: bool) -> Vec<String> {
        let mut lines = vec![
            "a2a: dispatch + combine. Times in emulated microseconds: the slowest rank's, phases in lockstep, nothing overlaps."
                .to_owned(),
        ];
        let best = self.backends().last().copied().unwrap_or(BackendKind::Analytic);
        for backend in self.backends().into_iter().rev() {
            lines.push(match backend {
                BackendKind::Analytic if few && best != backend => continue,
                BackendKind::Quic if few => {
                    format!("quic: measured on real processes over QUIC, the median of {} rounds.", self.rounds_told())
                }
                BackendKind::Quic => {
                    let rounds = self.rounds_told();
                    let spread = match self.spread_name() {
                        "range" => "range",
                        _ => "p10-p90 (below five the range)",
                    };
                    format!(
                        "quic: measured on real processes over QUIC, median and {spread} of {rounds} rounds; late: how late rows were delivered."
                    )
                }
                BackendKind::Sim => "sim: simulated on a virtual clock, the same frames and the same code, exact.".to_owned(),
                BackendKind::Analytic => {
                    let kind = self.rows.first().map(|record| record.expected_kind);
                    let alike = matches!(kind, Some(ExpectedKind::ClosedForm | ExpectedKind::GroupCounts));
                    let port = if alike { "mean port" } else { "port with the most expected load" };
                    format!("closed form (analytic): expected copies through the {port}, no straggler.")
                }
            });
        }
        if let Some(record) = self.rows.iter().find(|record| record.backend != BackendKind::Analytic) {
            if !few {
                lines.push(LEGEND.to_owned());
                lines.push(
                    "bound: the fluid bound of the bytes that each port had to carry in this run.".to_owned(),
                );
            }
            lines.push(match record.verification {
                Verification::OutputsAndTraffic => {
                    "verified: every token bit for bit against the quantised reference, that against float64, and the bytes \
                     between every two ranks against the plan."
                        .to_owned()
                }
                _ => "verified: the bytes between every two ranks against the plan; rows had no values.".to_owned(),
            });
        }
        if let Some(record) = self.rows.first() {
            lines.push(match few {
                true => {
                    "copies: counted, a token; --wide has those expected and every other column.".to_owned()
                }
                false => {
                    let kind = record.expected_kind.describe();
                    format!("copies: counted, and below them as expected ({kind}{}).", self.error_told())
                }
            });
        }
        lines.extend(self.rows.iter().filter(|record| record.replays > 0).map(begun_anew));
        lines.extend(self.rows.iter().flat_map(discarded));
        let unmet = |record: &&Record| record.faults.as_ref().is_some_and(|faults| faults.met == 0);
        if let Some(record) = self.rows.iter().find(unmet) {
            lines.push(format!(
                "NO FAULT MET: {}: nothing was there at their time; a phase may be over before.",
                record.title
            ));
        }
        if self.rows.iter().any(|record| record.faults.is_some()) {
            lines.push(
                "tokens/s of healthy: against the same configuration without its faults; a lost rank costs the coordinator's time as it is."
                    .to_owned(),
            );
        }
        lines.push(format!(
            "slowdown ({best}): against one rack with the same gate; flat against flat, the others against dedup."
        ));
        lines
    }

    /// The largest standard error of what is expected, where tokens were drawn.
    fn error_told(&self) -> String {
        let errors = self.rows.iter().flat_map(|record| {
            [
                (record.expected_intra, record.expected_intra_error),
                (record.expected_inter, record.expected_inter_error),
            ]
        });
        let shares = errors.filter_map(|(mean, error)| error.map(|error| error / mean));
        match shares.filter(|share| share.is_finite()).max_by(f64::total_cmp) {
            Some(most) => format!("; standard error at most {:.1}%", 100.0 * most),
            None => String::new(),
        }
    }

    /// The least and the most measured rounds of a row.
    fn rounds(&self) -> (u32, u32) {
        let measured = self.rows.iter().filter(|record| record.backend == BackendKind::Quic);
        let rounds = measured.map(|record| record.samples);
        (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0))
    }

    fn rounds_told(&self) -> String {
        let (least, most) = self.rounds();
        if least == most { most.to_string() } else { format!("{least} to {most}") }
    }

    /// What stands under a median: a few rounds have a range, no percentiles.
    pub(super) fn spread_name(&self) -> &'static str {
        if self.rounds().1 < PERCENTILES_FROM { "range" } else { "p10-p90" }
    }

    /// One JSON object, indented, with a line end.
    ///
    /// # Errors
    /// None are known: all keys are strings and all numbers finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The first number under which `dir` has no results; the directory is created if need be.
    ///
    /// # Errors
    /// What the system said.
    pub fn free_number(dir: &Path) -> io::Result<u32> {
        std::fs::create_dir_all(dir)?;
        let free = (1..=RESULTS_MAX).find(|&number| !results_path(dir, number, "json").exists());
        free.ok_or_else(|| io::Error::other(format!("{} is full of results", dir.display())))
    }

    /// Writes `compare-N.json` and `compare-N.txt` into `dir`, whole or not at all; returns the path of the first.
    ///
    /// # Errors
    /// What the system said.
    pub fn save_as(&self, dir: &Path, number: u32) -> io::Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        for (kind, text) in [("txt", self.to_text(Page::default())), ("json", self.to_json()?)] {
            let (path, new) =
                (results_path(dir, number, kind), results_path(dir, number, &format!("{kind}.new")));
            std::fs::write(&new, text)?;
            File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)?;
        }
        File::open(dir)?.sync_all()?;
        Ok(results_path(dir, number, "json"))
    }
}

fn results_path(dir: &Path, number: u32, kind: &str) -> PathBuf {
    dir.join(format!("compare-{number}.{kind}"))
}

/// Fewest rounds of which percentiles say more than the range. (Nearest-rank percentiles of fewer than ten are the range.)
const PERCENTILES_FROM: u32 = 5;

/// A row in which steps were begun anew: its times are those of the last time.
fn begun_anew(record: &Record) -> String {
    let times = if record.replays == 1 { "once" } else { &*format!("{} times", record.replays) };
    let lost = record.faults.as_ref().map_or_else(String::new, |faults| {
        let ms = |ms: Option<f64>| ms.unwrap_or(0.0);
        format!(
            ", known after {:.0} ms, begun anew {:.0} ms later (means)",
            ms(faults.detected_ms),
            ms(faults.recovered_ms)
        )
    });
    format!(
        "begun anew {times}: {}, {} latency, {}: a rank or a link was lost in a step{lost}; times are of the last time.",
        record.title, record.latency, record.backend
    )
}

/// So many rounds, in words.
fn counted(rounds: u32) -> String {
    if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") }
}

/// Attempts at a row that don't count.
fn discarded(record: &Record) -> impl Iterator<Item = String> {
    record.discarded.iter().map(|attempt| {
        format!(
            "discarded: {}, {} latency, {}, at dilation {}: {}; {:.2} us in {}.",
            record.title,
            record.latency,
            record.backend,
            attempt.network_dilation,
            attempt.problem,
            attempt.a2a_us,
            counted(attempt.samples)
        )
    })
}

fn heading(latency: &str) -> String {
    match latency {
        "zero" => "Links without latency".to_owned(),
        "preset" => "Links with the hardware's latency".to_owned(),
        given => format!("Links with latency {given} us (in a rack, between racks)"),
    }
}

/// Model, hardware, racks and routing of a comparison ([`CompareSpec::config`]) in a line.
pub(crate) fn headline(config: &Value) -> String {
    let word = |key: &str| match config.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let sizes: Vec<u64> = config
        .get("rack_sizes")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |sizes| sizes.iter().filter_map(Value::as_u64).collect());
    let racks = match sizes.as_slice() {
        [first, rest @ ..] if rest.iter().all(|size| size == first) => {
            format!("{} rack{} of {first}", sizes.len(), if rest.is_empty() { "" } else { "s" })
        }
        _ => format!("racks of {sizes:?}"),
    };
    let routing = match word("routing") {
        own if own == "model" => "the model's own".to_owned(),
        other => other,
    };
    let throttle = config.get("throttle").and_then(Value::as_f64).unwrap_or(1.0);
    format!(
        "{} on {racks} {} ranks, {} tokens a rank, {routing} routing, throttle {}",
        word("model"),
        word("hardware"),
        word("tokens_per_rank"),
        (throttle * 100.0).round() / 100.0,
    )
}
