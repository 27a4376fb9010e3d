//! A serving run as a subject of experiments: the tables of a deployment, its requests, its cache.

use super::fields::fields;
use super::serving_columns::{COLUMNS, WORDS};
use crate::experiment::{
    Asked, Column, Failed, Fault, Measuring, Note, Ordered, Record, Remote, Resolved, Settings, Shown,
    Subject, Value, Work,
};
use crate::layer::{BackendKind, Verification};
use crate::scenario::{Seeds, Studied, Words, flags, keys, read};
use crate::serving::{
    CacheTable, CostChoice, Deployed, Live, Packed, Parallel, PrefillPool, ServeError, ServeRecord,
    ServeSpec, ServeWords, Sources, gives_way, outline, place_of, prefill_keys, serve, serve_traced,
};
use ::serving::arrivals::{ArrivalSpec, PrefixSpec};
use ::serving::{Slo, TrainPolicy};
use coordinator::LocalCluster;
use coordinator::pace::Host;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::BufRead;
use std::sync::{Mutex, PoisonError};
use topology::did_you_mean;
use twox_hash::XxHash3_64;

/// Tables of a drawn length.
const LENGTHS: [&str; 2] = ["arrivals.input_len", "arrivals.output_len"];
/// Keys of one.
const LENGTH: [&str; 6] = ["dist", "min", "max", "median", "mean", "sigma"];
/// Like deployments of the ranks that answer.
const REPLICAS: &str = "serve.replicas";
/// The seed of a run.
const SEED: &str = "serve.seed";
/// The table of the pool that computes prompts.
const PREFILL: &str = "prefill";
/// Answers between two words of progress.
const ANSWERS_APART: u64 = 100;
/// Serving runs, whose names lead where `sources` say.
#[derive(Debug, Default)]
pub struct Serving<S> {
    sources: S,
    /// Hashes of traces by their names: a sweep reads each once.
    digests: Mutex<BTreeMap<String, u64>>,
}

impl<S: Sources> Serving<S> {
    /// Hash of a trace's contents.
    fn digest(&self, name: &str) -> Result<u64, Fault> {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = digests.get(name) {
            return Ok(*known);
        }
        let told = |error: std::io::Error| Fault::of("arrivals.file", format!("{name}: {error}"));
        let mut file = self.sources.open(name).map_err(told)?;
        let mut hash = XxHash3_64::new();
        loop {
            let bytes = file.fill_buf().map_err(told)?;
            if bytes.is_empty() {
                break;
            }
            hash.write(bytes);
            let length = bytes.len();
            file.consume(length);
        }
        digests.insert(name.to_owned(), hash.finish());
        Ok(hash.finish())
    }

    /// All that decides what comes of `spec`, whose words lead to `studied`.
    fn identity(
        &self,
        spec: &ServeSpec,
        studied: &Studied,
        backends: &[BackendKind],
    ) -> Result<Vec<u8>, Fault> {
        let trace = spec.arrivals.file.as_deref().map(|name| self.digest(name)).transpose()?;
        let identity = match &spec.prefill {
            None => serde_json::to_vec(&(spec, studied, backends, trace)),
            Some(pool) => {
                let prompts = self.sources.resolve(&pool.scenario).map_err(|error| fault(error.into()))?;
                serde_json::to_vec(&(spec, studied, backends, trace, prompts))
            }
        };
        identity.map_err(|error| error.to_string().into())
    }
}

impl<S: Sources + std::fmt::Debug> Subject for Serving<S> {
    fn name(&self) -> &'static str {
        "serving"
    }

    fn keys(&self) -> Vec<String> {
        let tables = [
            ("serve", fields::<Deployed>()),
            ("parallel", fields::<Parallel>()),
            ("scheduler", fields::<TrainPolicy>()),
            ("arrivals", fields::<ArrivalSpec>()),
            ("arrivals.prefixes", fields::<PrefixSpec>()),
            ("cache", fields::<CacheTable>()),
            ("slo", fields::<Slo>()),
        ];
        let lengths = LENGTHS.map(|table| (table, LENGTH.as_slice()));
        let tables = tables.into_iter().chain(lengths);
        let keys = tables.flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")));
        let prefill = of_prefill().into_iter().map(|(key, _)| format!("{PREFILL}.{key}"));
        words().iter().map(|word| place_of(word)).chain(keys).chain(prefill).collect()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        // What lies deeper can only be told together with its neighbours.
        if key.split('.').count() > 2 || key == "arrivals.prefixes" {
            return Ok(());
        }
        let alone = Ordered(vec![
            ("arrivals.kind".to_owned(), Value::Text("burst".to_owned())),
            (key.to_owned(), value.clone()),
        ]);
        serve_spec(&alone, None).map(drop).map_err(|fault| fault.problem)
    }

    fn turns_on(&self, table: &str) -> bool {
        table == "cache"
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let mut spec = serve_spec(asked.settings, Some(asked.seed))?;
        let studied = self.sources.resolve(&spec.scenario).map_err(|error| fault(error.into()))?;
        spec.scenario = studied.words.clone();
        let backends = match asked.backends {
            [] if spec.serve.cost == CostChoice::Analytic => vec![BackendKind::Analytic],
            [] => vec![BackendKind::Sim],
            asked => asked.to_vec(),
        };
        let (mut memory_bytes, mut ranks) = (0, 0);
        for &backend in &backends {
            let live = backend == BackendKind::Quic;
            let deployment = outline(&on(&spec, backend), &self.sources, live).map_err(fault)?;
            memory_bytes = memory_bytes.max(deployment.memory_bytes(&spec, backend));
            ranks = deployment.all_ranks(&spec);
        }
        if let Some(own) = spec.of_prompts() {
            let prompts = outline(&own, &self.sources, false).map_err(fault)?;
            memory_bytes += prompts.memory_bytes(&own, BackendKind::Sim);
            ranks += prompts.all_ranks(&own);
        }
        Ok(Resolved {
            identity: self.identity(&spec, &studied, &backends)?,
            memory_bytes,
            ranks,
            command: asked.repeated("serve-bench", SEED),
            work: Box::new(Run { spec, backends: backends.clone(), sources: &self.sources }),
            backends,
        })
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn words(&self) -> &'static [Column] {
        &WORDS
    }

    fn seed_key(&self) -> Option<&'static str> {
        Some(SEED)
    }

    fn on_backend(&self, backend: BackendKind, key: &str, value: &Value) -> Option<Value> {
        let word = |word: &str| Some(Value::Text(word.to_owned()));
        match (backend, value) {
            (BackendKind::Analytic, _) if key == "serve.cost" => word("analytic"),
            (_, Value::Text(text)) if key == "serve.cost" && text == "analytic" => word("memoised"),
            _ => None,
        }
    }
}

/// The run that settings give.
///
/// # Errors
/// [`Fault`] of the first place that has another value than it takes.
pub fn serve_spec(settings: &Settings, seed: Option<u64>) -> Result<ServeSpec, Fault> {
    let below = format!("{PREFILL}.");
    let (said, own): (Vec<_>, Vec<_>) =
        settings.0.iter().cloned().partition(|(place, _)| place.starts_with(&below));
    let spec = one_pool(&Ordered(own.clone()), seed)?;
    let prefill = prefill_pool(own, &last_of_each(said, &below), seed)?;
    Ok(ServeSpec { prefill: prefill.map(Box::new), ..spec })
}

/// What is said last of each key below `prefix`.
fn last_of_each(said: Vec<(String, Value)>, prefix: &str) -> BTreeMap<String, Value> {
    let key = |place: &str| place.strip_prefix(prefix).unwrap_or_default().to_owned();
    said.into_iter().map(|(place, value)| (key(&place), value)).collect()
}

/// The pool that computes prompts: the words of the others, `said` in their places. `None` where nothing is said, or no replicas.
fn prefill_pool(
    others: Vec<(String, Value)>,
    said: &BTreeMap<String, Value>,
    seed: Option<u64>,
) -> Result<Option<PrefillPool>, Fault> {
    if said.is_empty() || said.get("replicas") == Some(&Value::Integer(0)) {
        return Ok(None);
    }
    let keys: Vec<&str> = said.keys().map(String::as_str).collect();
    // How many there are of the others says nothing here.
    let stays = |place: &str| place != REPLICAS && !gives_way(place, &keys);
    let mut settings: Vec<(String, Value)> = others.into_iter().filter(|(place, _)| stays(place)).collect();
    let places: BTreeMap<String, String> = of_prefill().into_iter().collect();
    for (key, value) in said {
        let Some(place) = places.get(key) else {
            let known: Vec<&str> = places.keys().map(String::as_str).collect();
            let remedy = crate::experiment::remedy(key, &known);
            return Err(Fault::of(PREFILL, format!("unknown key `{key}`{remedy}")));
        };
        settings.retain(|(known, _)| known != place);
        settings.push((place.clone(), value.clone()));
    }
    let whole = one_pool(&Ordered(settings), seed).map_err(|mut fault| {
        if let Some((key, _)) =
            places.iter().find(|(key, place)| said.contains_key(*key) && **place == fault.key)
        {
            fault.key = format!("{PREFILL}.{key}");
        }
        fault
    })?;
    let ServeSpec { scenario, parallel, scheduler, serve, .. } = whole;
    Ok(Some(PrefillPool { replicas: serve.replicas, scenario, parallel, scheduler }))
}

/// The keys of the pool that computes prompts, each with the place of the same word for the others.
fn of_prefill() -> Vec<(String, String)> {
    prefill_keys(fields::<Parallel>(), fields::<TrainPolicy>())
}

/// The run that settings without a pool of prompts give.
fn one_pool(settings: &Settings, seed: Option<u64>) -> Result<ServeSpec, Fault> {
    let mut table = toml::Table::new();
    let (known, mut said) = (words(), Settings::default());
    for (place, value) in &settings.0 {
        match known.iter().find(|word| place_of(word) == *place) {
            Some(word) => said.0.push((word.clone(), value.clone())),
            None => put(&mut table, place, value.toml())?,
        }
    }
    let mut scenario = read::<Words<ServeWords>>(&flags::<Words<ServeWords>>(&said, |_| false))?.0;
    if let Some(seed) = seed {
        scenario.seeds = Seeds(vec![seed]);
    }
    let spec: Result<ServeSpec, toml::de::Error> = ServeSpec::deserialize(toml::Value::Table(table));
    let spec = spec.map_err(|error| {
        // The text ends with the place: "in `arrivals.prefixes`".
        let text = error.to_string();
        let place =
            text.trim_end().rsplit_once("\nin `").map_or("", |(_, place)| place.trim_end_matches('`'));
        told(place, error.message())
    })?;
    Ok(ServeSpec { scenario, ..spec })
}

/// The words of the scenario.
fn words() -> Vec<String> {
    keys::<Words<ServeWords>>(&[])
}

/// Puts `value` at `place` of `table`.
fn put(table: &mut toml::Table, place: &str, value: toml::Value) -> Result<(), Fault> {
    match place.split_once('.') {
        None => drop(table.insert(place.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Table::new().into());
            let toml::Value::Table(inner) = inner else {
                return Err(Fault::of(first, "it has a value where a table is needed"));
            };
            put(inner, rest, value)?;
        }
    }
    Ok(())
}

/// serde's words in ours.
fn told(place: &str, message: &str) -> Fault {
    let message = message.replace('\n', " ");
    if let Some(("unknown field" | "unknown variant", rest)) = message.split_once(" `")
        && let Some((word, known)) = rest.split_once('`')
    {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let meant = did_you_mean(word, known.iter().copied());
        let remedy = if meant.is_empty() { format!("; known are {}", known.join(", ")) } else { meant };
        let what = if message.starts_with("unknown field") { "unknown key" } else { "unknown word" };
        return Fault::of(place, format!("{what} `{word}`{remedy}"));
    }
    Fault::of(place, message)
}

fn fault(error: ServeError) -> Fault {
    match error {
        ServeError::Setting { what, problem } => Fault { key: what, problem },
        other => other.to_string().into(),
    }
}

/// `spec` with times as `backend` has them.
fn on(spec: &ServeSpec, backend: BackendKind) -> ServeSpec {
    let mut on = spec.clone();
    on.serve.cost = match (backend, spec.serve.cost) {
        (BackendKind::Analytic, _) => CostChoice::Analytic,
        (_, CostChoice::Analytic) => CostChoice::Memoised,
        (_, cost) => cost,
    };
    on
}

/// One run on its backends.
#[derive(Debug)]
struct Run<'a, S> {
    spec: ServeSpec,
    backends: Vec<BackendKind>,
    sources: &'a S,
}

impl<S: Sources + std::fmt::Debug> Run<'_, S> {
    fn offline(&self, backend: BackendKind, note: Note<'_>) -> Result<Record, Failed> {
        let mut said = 0;
        let mut progress = |answered: u64| {
            if answered >= said + ANSWERS_APART {
                said = answered;
                note(&format!("{answered} requests answered"));
            }
        };
        let served = serve(&on(&self.spec, backend), self.sources, &mut progress);
        record(&served.map_err(failed)?, backend)
    }

    /// Once again at half the pace where the host could not keep up.
    async fn measured(
        &self,
        cluster: &mut LocalCluster,
        host: Host,
        note: Note<'_>,
    ) -> Result<Record, Failed> {
        let mut retries = 0;
        loop {
            let live = Live::new(&self.spec, self.sources, host, retries).map_err(failed)?;
            let mut progress = |steps| note(&format!("step {steps}"));
            let served = live.serve(cluster, self.sources, "measured", &mut progress);
            let (served, _) = Box::pin(served).await.map_err(failed)?;
            if served.problem.is_none() || retries == 1 {
                return record(&served, BackendKind::Quic);
            }
            retries += 1;
        }
    }
}

impl<S: Sources + std::fmt::Debug> Work for Run<'_, S> {
    fn run(&self, note: Note<'_>) -> Result<Vec<Record>, Failed> {
        self.backends.iter().map(|&backend| self.offline(backend, note)).collect()
    }

    fn measure<'a>(&'a self, cluster: &'a mut LocalCluster, host: Host, note: Note<'a>) -> Measuring<'a> {
        Box::pin(async move {
            let mut records = Vec::new();
            for &backend in &self.backends {
                records.push(match backend {
                    BackendKind::Quic => self.measured(cluster, host, note).await?,
                    _ => self.offline(backend, note)?,
                });
            }
            Ok(records)
        })
    }

    fn timeline(&self, events: u64, told: &mut dyn FnMut(Shown<'_>)) -> Result<(), Failed> {
        let offline = self.backends.iter().copied().find(|&backend| backend != BackendKind::Quic);
        let spec = on(&self.spec, offline.unwrap_or(BackendKind::Sim));
        let most = usize::try_from(events).unwrap_or(usize::MAX);
        let (record, trace) = serve_traced(&spec, self.sources, &mut |_| (), Some(most)).map_err(failed)?;
        if let Some(trace) = &trace {
            told(Shown::Yard(trace, &record.clock));
        }
        Ok(())
    }

    fn remote(&self) -> Result<Remote, Fault> {
        let packed = Packed::new(&self.spec, self.sources).map_err(fault)?;
        Ok(Remote::Serving(Box::new(packed)))
    }
}

fn failed(error: ServeError) -> Failed {
    Failed { usage: error.is_usage(), problem: error.to_string() }
}

/// The record of a run; `backend` is where its times are from.
///
/// # Errors
/// None are known.
pub fn record(served: &ServeRecord, backend: BackendKind) -> Result<Record, Failed> {
    let checked = backend == BackendKind::Quic;
    let verification = if checked { Verification::Outputs } else { Verification::NothingRan };
    let mut record = Record::sound(backend, verification, served)?;
    record.own.0.retain(|(key, _)| key != "problem");
    record.valid = served.problem.is_none();
    record.problem.clone_from(&served.problem);
    Ok(record)
}

/// The run that `record` is of.
///
/// # Errors
/// If it is of something else.
pub fn served(record: &Record) -> serde_json::Result<ServeRecord> {
    let mut whole = serde_json::to_value(&record.own)?;
    whole["problem"] = serde_json::to_value(&record.problem)?;
    serde_json::from_value(whole)
}
