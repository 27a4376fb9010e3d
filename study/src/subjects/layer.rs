//! The layer as a subject of experiments: a point is one configuration of a comparison, with its base where slowdowns are asked for.

use crate::experiment::{Column, Failed, Fault, Measuring, Note, Record, Remote, Resolved, Shown, Work};
use crate::layer::{
    BackendKind, CompareError, CompareSpec, Finished, Report, Traced, compare_offline,
    compare_offline_traced, compare_rows, configuration, estimate, outline,
};
use coordinator::LocalCluster;
use coordinator::pace::Host;

/// The numbers of a layer's records.
pub const COLUMNS: [Column; 22] = [
    Column::shown("dispatch_us", "dispatch", "us"),
    Column::shown("combine_us", "combine", "us"),
    Column::shown("a2a_us", "a2a", "us"),
    Column::kept("bound_us", "bound of the a2a", "us"),
    Column::shown("compute_us", "compute", "us"),
    Column::shown("layer_us", "layer", "us"),
    Column::shown("a2a_slowdown", "a2a slowdown", ""),
    Column::shown("layer_slowdown", "layer slowdown", ""),
    Column::shown("intra_copies_per_token", "copies/token in rack", ""),
    Column::shown("inter_copies_per_token", "between racks", ""),
    Column::kept("measured_over_sim", "measured over simulated", ""),
    Column::kept("lateness_p99_us", "lateness p99", "us"),
    Column::kept("weight_bytes_per_rank", "weights of a rank", "bytes"),
    Column::shown("faults.met", "faults met", ""),
    Column::shown("replays", "begun anew", ""),
    Column::shown("faults.detected_ms", "known after", "ms"),
    Column::shown("faults.recovered_ms", "begun anew after", "ms"),
    Column::kept("faults.outage_ms", "outage", "ms"),
    Column::kept("faults.healthy_layer_us", "healthy layer", "us"),
    Column::shown("faults.lost_us", "lost", "us"),
    Column::shown("faults.lost_layers", "layers lost", ""),
    Column::shown("faults.throughput", "tokens/s of healthy", ""),
];

/// Words for settings of a layer.
pub const WORDS: [Column; 6] = [
    Column::kept("throttle", "throttle, scale-up over scale-out", ""),
    Column::kept("tokens", "tokens a rank", ""),
    Column::kept("top_k", "experts a token", ""),
    Column::kept("ranks_per_rack", "ranks in a rack", ""),
    Column::kept("slots", "expert slots", ""),
    Column::kept("routing", "routing", ""),
];

/// A point of the one configuration that `spec` names, after its base if `with_base`.
///
/// # Errors
/// [`Fault`] when schemes, gates or latencies are not one each, or don't fit each other.
pub fn resolved<'a>(spec: CompareSpec, with_base: bool, command: String) -> Result<Resolved<'a>, Fault> {
    let rows = outline(&spec, with_base).map_err(|error| error.to_string())?;
    // Neither where it runs nor what people are told about it decides what comes out.
    let bare = CompareSpec { memory_limit_bytes: None, notes: Vec::new(), command: None, ..spec.clone() };
    Ok(Resolved {
        backends: spec.backends.clone(),
        identity: serde_json::to_vec(&(&bare, with_base)).map_err(|error| error.to_string())?,
        memory_bytes: estimate(&spec, &rows, spec.backends.contains(&BackendKind::Quic)).bytes,
        ranks: rows.iter().map(|row| row.cluster.num_ranks()).max().unwrap_or(0),
        command,
        work: Box::new(Configured { spec, with_base }),
    })
}

/// A configuration, after its base.
#[derive(Debug)]
struct Configured {
    spec: CompareSpec,
    with_base: bool,
}

impl Work for Configured {
    fn run(&self, _: Note<'_>) -> Result<Vec<Record>, Failed> {
        let rows = configuration(&self.spec, self.with_base);
        self.records(rows.and_then(|rows| compare_offline(&self.spec, &rows)))
    }

    fn measure<'a>(&'a self, cluster: &'a mut LocalCluster, host: Host, _: Note<'a>) -> Measuring<'a> {
        Box::pin(async move {
            let report = match configuration(&self.spec, self.with_base) {
                Ok(rows) => {
                    let mut quiet = |_| {};
                    let mut finished = Finished::default();
                    let spec = self.spec.clone();
                    let report = compare_rows(spec, rows, Some(cluster), host, &mut finished, &mut quiet);
                    Box::pin(report).await
                }
                Err(error) => Err(error),
            };
            self.records(report)
        })
    }

    fn timeline(&self, _: u64, told: &mut dyn FnMut(Shown<'_>)) -> Result<(), Failed> {
        let spec = CompareSpec { timeline: true, ..self.spec.clone() };
        let rows = configuration(&spec, self.with_base);
        let told = &mut |traced: &Traced<'_>| told(Shown::Layer(traced));
        let report = rows.and_then(|rows| compare_offline_traced(&spec, &rows, told));
        self.records(report).map(|_| ())
    }

    fn remote(&self) -> Result<Remote, Fault> {
        Ok(Remote::Layer { spec: Box::new(self.spec.clone()), with_base: self.with_base })
    }
}

impl Configured {
    /// Of the point's own configuration.
    fn records(&self, report: Result<Report, CompareError>) -> Result<Vec<Record>, Failed> {
        let report =
            report.map_err(|error| Failed { usage: error.is_usage(), problem: error.to_string() })?;
        Ok(own_records(report, &self.spec, self.with_base)?)
    }
}

/// The records of a point in the report of its configuration, which comes last; slowdowns only against a base. Each says how far it can be trusted.
///
/// # Errors
/// None are known.
pub fn own_records(report: Report, spec: &CompareSpec, with_base: bool) -> serde_json::Result<Vec<Record>> {
    let trust = spec.trust(with_base);
    let own = report.rows.iter().map(|record| record.configuration).max().unwrap_or(0);
    let of_own = report.rows.into_iter().filter(|record| record.configuration == own);
    let records = of_own.map(|mut record| {
        if !with_base {
            (record.a2a_slowdown, record.layer_slowdown) = (None, None);
        }
        Record::of(&record)?.with_trust(&trust)
    });
    records.collect()
}
