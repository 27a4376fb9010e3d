//! The words of a comparison, and the comparison that they give.

use super::rows::EVERY_GATE;
use super::{BackendKind, BaseChoice, CompareSpec, Dilation, configurations};
use crate::placing::Programs;
use crate::scenario::{BackendWord, ScenarioError, Studied, Takes, Words, command, distinct, said};
use clap::Args;
use moe::routing::{RoutingChoice, Workload};
use moe::{DispatchScheme, ExpertKind, RoutingSpec};
use serde::Serialize;
use std::sync::Arc;
use topology::Fault;

/// What a layer takes of a scenario's words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerWords;

impl Takes for LayerWords {
    const LEFT_OUT: &'static [&'static str] = &[
        "kv_dtype",
        "memory_share",
        "mtp_depth",
        "mtp_acceptance",
        "pp",
        "tp",
        "common_weights",
        "micro_batches",
    ];
}

/// A comparison as it is typed: the scenario, and how it is run. Where schemes, gates or latencies are left out, there are rows for each
/// that there is, of them the common default.
#[derive(Clone, Debug, Args, Serialize)]
pub struct LayerArgs {
    /// What is compared.
    #[command(flatten)]
    #[serde(flatten)]
    pub scenario: Words<LayerWords>,
    /// Tokens of each rank
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Model and tokens")]
    pub tokens: u32,
    /// `modelled` (cheap maps, roofline time) or `gemm` (real SwiGLU products, roofline time)
    #[arg(long, value_name = "KIND", default_value = "modelled", help_heading = "Model and tokens")]
    pub experts: ExpertKind,
    /// Compare with all `ranks` in one rack, or with one `rack` alone (as many tokens a rank)
    #[arg(long, value_name = "WHAT", default_value = "ranks", help_heading = "Racks and links")]
    pub base: BaseChoice,

    /// `analytic`, `sim`, `quic` with a comma between them, or `all`
    #[arg(long, value_name = "BACKENDS", default_value = "all", value_delimiter = ',', help_heading = "Run")]
    pub backend: Vec<BackendWord>,
    /// Measured rounds a configuration and seed at most; they end when times differ by no more than 0.5%, two at least (quic)
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Run")]
    pub rounds: u32,
    /// Rounds before them (quic)
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub warmup: u32,
    /// Wall time over emulated time (quic): `auto` or a whole number
    #[arg(long, value_name = "auto|N", default_value = "auto", help_heading = "Run")]
    pub dilation: Dilation,
    /// Simulate times only: rows are lengths, outputs are not computed (sim)
    #[arg(long, help_heading = "Run")]
    pub no_payload: bool,
    /// What goes wrong on purpose, several times for several (sim, quic): `slow rank=3 factor=2`, `kill rank=3 step=2`, `degrade rack=1
    /// factor=4`; all words in docs/faults.md
    #[arg(long, value_name = "FAULT", help_heading = "Run")]
    pub fault: Vec<Fault>,
    /// Refuse what is estimated to take more: 2G, 500M [default: three quarters of what the machine, cgroups and ulimits leave]
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Run")]
    #[serde(skip)]
    pub memory_limit: Option<u64>,
}

/// What is told of uplinks that ranks in processes of their own share.
const QUIC_SHARES: &str = "quic gives each rank an equal part of its rack's uplink as its port, exact where all of a rack send alike and at \
                           once; sim has them share one queue";

impl LayerArgs {
    /// The comparison that these words ask for.
    ///
    /// # Errors
    /// [`ScenarioError`] for the first word that leads nowhere.
    pub fn spec(&self, programs: &Arc<Programs>) -> Result<CompareSpec, ScenarioError> {
        let Studied { model, place, rack_sizes, dtype, routing, placement, slots, notes, words, .. } =
            self.scenario.resolve(programs)?;
        let domain = place.told_of_domain(&rack_sizes);
        let mut said_of = Self { scenario: self.scenario.with(words), ..self.clone() };
        let words = &mut *said_of.scenario;
        let mut spec = CompareSpec {
            fabric: place.fabric,
            background: place.background,
            rack_sizes,
            base: self.base,
            tokens: self.tokens,
            routing_name: match routing {
                RoutingSpec::Uniform => "uniform".to_owned(),
                _ => words.routing.to_string(),
            },
            routing,
            placement,
            slots,
            experts: self.experts,
            backends: BackendWord::kinds(&self.backend),
            seeds: words.seeds.0.clone(),
            rounds: self.rounds,
            warmup: self.warmup,
            dilation: self.dilation,
            payload: !self.no_payload,
            faults: self.fault.clone(),
            memory_limit_bytes: self.memory_limit,
            notes,
            ..CompareSpec::new(model, place.hardware)
        };
        spec.shape.dtype = dtype;
        spec.notes.extend(domain);
        rows_of(&mut words.latency, &mut spec.latencies);
        words.scheme = in_order(&DispatchScheme::ALL, &words.scheme);
        words.gate = distinct(words.gate.clone());
        spec.schemes = Some(words.scheme.clone()).filter(|schemes| !schemes.is_empty());
        spec.gates = Some(words.gate.clone()).filter(|gates| !gates.is_empty());
        if words.scheme == DispatchScheme::ALL && same_rows(&mut spec, |spec| spec.schemes = None) {
            words.scheme.clear();
        }
        if words.gate == EVERY_GATE && same_rows(&mut spec, |spec| spec.gates = None) {
            words.gate.clear();
        }
        if words.routing == RoutingChoice::Workload(Workload::W4) {
            let tokens = self.tokens;
            spec.notes
                .push(format!("workload W4: {tokens} tokens a rank are the mean, some ranks have none"));
        }
        if self.no_payload && self.backend.contains(&BackendWord::All) {
            spec.backends.retain(|&kind| kind != BackendKind::Quic);
            spec.notes.push("no payload: quic left out".to_owned());
        }
        if !self.fault.is_empty() && self.backend.contains(&BackendWord::All) {
            spec.backends.retain(|&kind| kind != BackendKind::Analytic);
            spec.notes.push("closed forms know no faults: analytic left out".to_owned());
        }
        if spec.fabric.oversubscription.blocks()
            && spec.rack_sizes.len() > 1
            && spec.backends.contains(&BackendKind::Quic)
        {
            spec.notes.push(QUIC_SHARES.to_owned());
        }
        let words = [vec!["compare".to_owned()], said(&said_of)].concat();
        spec.command = Some(command(&words));
        Ok(spec)
    }
}

/// Makes rows of the values that are given, each once; where they are those that there are rows of anyway they need not be said.
fn rows_of<T: PartialEq + Clone>(given: &mut Vec<T>, rows: &mut Vec<T>) {
    *given = distinct(std::mem::take(given));
    if given.is_empty() || given == rows {
        given.clear();
    } else {
        rows.clone_from(given);
    }
}

/// Applies `change`, if there are the same rows, of the same gates, with it.
fn same_rows(spec: &mut CompareSpec, change: impl Fn(&mut CompareSpec)) -> bool {
    let titles = |spec: &CompareSpec| {
        let rows = configurations(spec, &mut Vec::new()).ok()?;
        Some(rows.into_iter().map(|row| row.title).collect::<Vec<_>>())
    };
    let mut changed = spec.clone();
    change(&mut changed);
    let same = titles(spec).is_some_and(|rows| Some(rows) == titles(&changed));
    if same {
        *spec = changed;
    }
    same
}

fn in_order<T: PartialEq + Copy>(all: &[T], given: &[T]) -> Vec<T> {
    all.iter().copied().filter(|value| given.contains(value)).collect()
}

/// Bytes with an optional suffix k, M, G or T (powers of 1000).
///
/// # Errors
/// Anything else.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => 0,
    };
    let size = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|&size| size > 0);
    size.ok_or_else(|| format!("`{text}`: give a number of bytes such as 500M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LatencyChoice;

    #[test]
    fn sizes() {
        assert_eq!((bytes("12"), bytes("2G"), bytes("500M")), (Ok(12), Ok(2_000_000_000), Ok(500_000_000)));
        for wrong in ["", "0", "G", "1X", "-1", "1.5G", "99999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn latencies_given_are_the_rows() {
        let (mut given, mut rows) =
            (vec![LatencyChoice::Zero], vec![LatencyChoice::Zero, LatencyChoice::Preset]);
        rows_of(&mut given, &mut rows);
        assert_eq!((given.len(), rows.len()), (1, 1));
    }
}
