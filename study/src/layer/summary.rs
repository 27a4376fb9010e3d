//! The plain sentences above the tables, each drawn from the numbers of its report.

use super::{BackendKind, Record, Report};
use blackboard::CopiesPerToken;
use blackboard::scale_up::break_even_throttle;
use blackboard::text::number;
use moe::DispatchScheme;

/// The sentences of `report`, one a line.
#[must_use]
pub fn sentences(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let facts = Facts::of(report);
    lines.extend(facts.crossing());
    lines.extend(facts.flat());
    lines.extend(facts.remedies());
    lines.extend(facts.one_rack());
    lines.extend(facts.break_even());
    lines.extend(pipeline(report));
    for record in report.rows.iter().filter(|record| !record.verified || !record.valid) {
        let word = if record.verified { "INVALID" } else { "NOT VERIFIED" };
        let problem = record.problem.as_deref().unwrap_or("no reason was recorded");
        lines.push(format!(
            "{word}: {}, {} latency, {}: {problem}",
            record.title, record.latency, record.backend
        ));
    }
    lines
}

/// The records that sentences are about: those of the backend nearest to reality.
struct Facts<'a> {
    report: &'a Report,
    backend: BackendKind,
    rows: Vec<&'a Record>,
}

impl<'a> Facts<'a> {
    fn of(report: &'a Report) -> Self {
        let backend = report.backends().last().copied().unwrap_or(BackendKind::Analytic);
        let latency = report.latencies().first().copied().unwrap_or("zero");
        let of_first = |record: &&Record| record.backend == backend && record.latency == latency;
        Self { report, backend, rows: report.rows.iter().filter(of_first).collect() }
    }

    /// The row over several racks with `scheme`, `placement` (`None`: as the others) and limit.
    fn spread(&self, scheme: DispatchScheme, placement: Option<&str>, limited: bool) -> Option<&'a Record> {
        self.rows.iter().copied().find(|record| {
            let special = ["replicated", "one-rack"].contains(&record.placement.as_str());
            record.racks > 1
                && record.scheme == scheme
                && record.gate_rack_limit.is_some() == limited
                && placement.map_or(!special, |wanted| record.placement == wanted)
        })
    }

    fn base(&self, record: &Record) -> Option<&'a Record> {
        self.rows.iter().copied().find(|base| base.configuration == record.base_configuration)
    }

    fn crossing(&self) -> Option<String> {
        use DispatchScheme::{Dedup, Flat, Hierarchical};
        let rows: Vec<_> = [Flat, Dedup, Hierarchical]
            .into_iter()
            .filter_map(|scheme| self.spread(scheme, None, false))
            .collect();
        let first = *rows.first()?;
        let copies: Vec<_> =
            rows.iter().map(|row| format!("{:.2} {}", row.inter_copies_per_token, row.scheme)).collect();
        let tokens = match first.tokens_crossing {
            Some(crossing) if first.tokens > 0 => format!(
                "{crossing:.0} of {} tokens ({:.1}%) have an expert in another rack",
                first.tokens,
                crossing * 100.0 / first.tokens as f64
            ),
            _ => format!("{} tokens over {} racks", first.tokens, first.racks),
        };
        Some(format!("{tokens}; copies that cross, a token: {}.", copies.join(", ")))
    }

    fn flat(&self) -> Option<String> {
        let row = self.spread(DispatchScheme::Flat, None, false)?;
        let base = self.base(row)?;
        let slowdowns = self.slowdowns(row)?;
        Some(format!(
            "Flat over {} racks: {slowdowns}; against {} in one ({}).",
            row.racks, base.scheme, self.backend
        ))
    }

    fn remedies(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let hierarchical = self.spread(DispatchScheme::Hierarchical, None, false);
        if let Some((row, slowdowns)) = hierarchical.and_then(|row| Some((row, self.slowdowns(row)?))) {
            lines.push(format!("Hierarchical over {} racks leaves: {slowdowns}.", row.racks));
        }
        let limited = self.rows.iter().copied().filter(|row| row.racks > 1 && row.gate_rack_limit.is_some());
        for row in limited {
            if let (Some(slowdowns), Some(limit)) = (self.slowdowns(row), row.gate_rack_limit) {
                lines.push(format!(
                    "A gate limited to {limit} rack{} a token, which is another model, leaves: {slowdowns}.",
                    if limit == 1 { "" } else { "s" }
                ));
            }
        }
        let replicated = self.spread(DispatchScheme::Dedup, Some("replicated"), false);
        if let Some((row, slowdowns)) = replicated.and_then(|row| Some((row, self.slowdowns(row)?))) {
            let weights = self.base(row).map_or_else(String::new, |base| {
                let gigabytes = |record: &Record| record.weight_bytes_per_rank as f64 / 1e9;
                format!(
                    ", for {:.3} GB of expert weights a rank instead of {:.3}",
                    gigabytes(row),
                    gigabytes(base)
                )
            });
            // In ragged racks some tokens go where ranks have less to do.
            let crossing = match row.inter_copies_per_token {
                0.0 => "nothing crosses".to_owned(),
                copies => format!("{copies:.3} copies a token cross"),
            };
            lines.push(format!("Experts replicated in each rack leave: {slowdowns}{weights}; {crossing}."));
        }
        lines
    }

    fn one_rack(&self) -> Option<String> {
        let row = self.spread(DispatchScheme::Hierarchical, Some("one-rack"), false)?;
        let slowdowns = self.slowdowns(row)?;
        Some(format!(
            "All experts in one rack: every token of the others crosses ({:.2} copies a token on average): {slowdowns}.",
            row.inter_copies_per_token
        ))
    }

    fn break_even(&self) -> Option<String> {
        let row = self.spread(DispatchScheme::Hierarchical, None, false)?;
        let base = self.base(row)?;
        let copies = |record: &Record| CopiesPerToken {
            intra: record.intra_copies_per_token,
            inter: record.inter_copies_per_token,
        };
        let throttle = break_even_throttle(copies(base), copies(row));
        if !throttle.is_finite() || throttle <= 0.0 {
            return None;
        }
        let said = |key: &str| self.report.config.get(key).and_then(serde_json::Value::as_f64);
        let here = said("throttle")? * said("oversubscription").unwrap_or(1.0);
        Some(format!(
            "By the copies counted, hierarchical breaks even with one rack ({}) at a throttle of {throttle:.2}; here it is {}.",
            base.scheme,
            number(here),
        ))
    }

    /// Both slowdowns of a row at every latency.
    fn slowdowns(&self, row: &Record) -> Option<String> {
        let mut parts = Vec::new();
        for latency in self.report.latencies() {
            let record = self.report.find(row.configuration, latency, self.backend)?;
            let (a2a, layer) = (record.a2a_slowdown?, record.layer_slowdown?);
            let links = match latency {
                "zero" => "without latency".to_owned(),
                "preset" => "with the preset's".to_owned(),
                given => format!("with {given} us"),
            };
            parts.push(match parts.len() {
                0 => format!("all-to-all x {a2a:.2}, layer x {layer:.2} {links}"),
                _ => format!("x {a2a:.2} and x {layer:.2} {links}"),
            });
        }
        Some(parts.join(", "))
    }
}

/// The closed form of the alternative: layers, not experts, over the racks.
fn pipeline(report: &Report) -> Option<String> {
    let row = report.pipeline?;
    Some(format!(
        "As a {}-stage pipeline with a rack a stage instead (closed form), a token crosses once a stage, not once a layer: \
         {:.2} us a hop for {} sequences, {:.1} GB of weights a rank.",
        row.stages,
        row.hop_us,
        row.micro_batch,
        row.weight_bytes_per_rank / 1e9
    ))
}
