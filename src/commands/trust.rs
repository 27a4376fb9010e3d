//! `railyard trust`: every published measurement in the tree beside closed forms and the simulator, on nominal ports and on its profile.

mod sim;
mod told;

use crate::cli::TrustArgs;
use crate::failure::Failure;
use crate::output;
use anyhow::Context;
use blackboard::calibration::{Errors, Measurement};
use blackboard::published::serving::{self, ServedSaid};
use blackboard::published::{SERIES, Said, Series};

/// Rows of a measurement beyond which it isn't simulated.
const SIM_ROWS_MAX: u64 = 150_000;

/// What a time is of.
struct What {
    op: String,
    racks: u32,
    ranks: u32,
    experts: u32,
    /// Of a rank.
    tokens: u64,
    sms: Option<u32>,
}

/// A measurement with all that is said of it, microseconds.
struct Row {
    what: What,
    measured_us: f64,
    /// By each of [`SAYERS`].
    times: [Option<f64>; 4],
    /// What a server was measured and is said to make, tokens a second and rank.
    served: Option<ServedSaid>,
}

/// One table of measurements.
struct Told {
    name: &'static str,
    file: &'static str,
    variant: &'static str,
    chip: &'static str,
    profile: Option<&'static str>,
    rows: Vec<Row>,
}

/// Who says a time. The simulator: mean over ranks of when each is done.
const SAYERS: [&str; 4] = ["analytic, nominal", "sim, nominal", "analytic, profile", "sim, profile"];

impl Told {
    /// Of each of [`SAYERS`].
    fn errors(&self) -> [Option<Errors>; 4] {
        [0, 1, 2, 3].map(|at| {
            let error = |row: &Row| Some(row.times[at]? / row.measured_us - 1.0);
            Errors::of(&self.rows.iter().filter_map(error).collect::<Vec<_>>())
        })
    }
}

pub(crate) fn run(args: &TrustArgs) -> Result<(), Failure> {
    let mut all = Vec::new();
    for series in &SERIES {
        all.push(kernels(series, args.no_sim)?);
    }
    all.push(servers()?);
    if let Some(path) = &args.csv {
        crate::files::write_whole(path, &told::csv(&all)).map_err(Failure::Failed)?;
    }
    if let Some(path) = &args.plot {
        view::picture::write(&told::figure(&all), view::Medium::Screen, path).map_err(Failure::Failed)?;
    }
    if args.json {
        return output::print(&format!("{:#}\n", told::object(&all)));
    }
    output::print(&output::fitted(&told::text(&all), 2))
}

/// A series of kernels or whole layers.
fn kernels(series: &'static Series, no_sim: bool) -> Result<Told, Failure> {
    let mut sims = sim::Simulated::default();
    let mut rows = Vec::new();
    for Said { measured, nominal_us, profiled_us } in series.said().map_err(Failure::failed)? {
        let [sim_nominal, sim_profiled] = if no_sim {
            [None, None]
        } else {
            sims.of(series, &measured).context(series.name).map_err(Failure::Failed)?
        };
        let Measurement { op, racks, ranks, experts, tokens, sms, us, .. } = measured;
        rows.push(Row {
            what: What { op: op.to_string(), racks, ranks, experts, tokens: tokens.into(), sms },
            measured_us: us,
            times: [Some(nominal_us), sim_nominal, profiled_us, sim_profiled],
            served: None,
        });
    }
    let Series { name, file, variant, chip, profile, .. } = *series;
    Ok(Told { name, file, variant, chip, profile, rows })
}

/// Steps of whole servers.
fn servers() -> Result<Told, Failure> {
    let row = |said: ServedSaid| {
        let served = &said.served;
        let step_us = |tokens_per_s: f64| served.load / tokens_per_s * 1e6;
        Row {
            what: What {
                op: if served.prompts { "prefill step" } else { "decode step" }.to_owned(),
                racks: served.racks,
                ranks: served.ranks,
                experts: served.model.layer().num_experts,
                tokens: served.load.round() as u64,
                sms: None,
            },
            measured_us: step_us(served.tokens_per_s),
            times: [Some(step_us(said.nominal)), None, Some(step_us(said.profiled)), None],
            served: Some(said.clone()),
        }
    };
    Ok(Told {
        name: "Servers, DeepSeek-V3",
        file: serving::FILE.0,
        variant: "",
        chip: "",
        profile: Some("GPU-serving"),
        rows: serving::served().map_err(Failure::failed)?.into_iter().map(row).collect(),
    })
}
