//! `railyard trust`: every published measurement in the tree beside closed forms and the simulator, on nominal ports and on its profile.

mod sim;
mod told;

use crate::cli::TrustArgs;
use crate::failure::Failure;
use crate::output;
use anyhow::Context;
use blackboard::calibration::Errors;
use blackboard::published::{SERIES, Said, Series};

/// Rows of a measurement beyond which it isn't simulated.
const SIM_ROWS_MAX: u64 = 150_000;

/// A measurement with all that is said of it, microseconds.
struct Row {
    said: Said,
    /// Mean over ranks of when each is done, by nominal ports and by the profile.
    sim_us: [Option<f64>; 2],
}

/// One kernel's measurements.
struct Told {
    series: &'static Series,
    rows: Vec<Row>,
}

/// Who says a time.
const SAYERS: [&str; 4] = ["analytic, nominal", "sim, nominal", "analytic, profile", "sim, profile"];

impl Row {
    fn times(&self) -> [Option<f64>; 4] {
        [Some(self.said.nominal_us), self.sim_us[0], self.said.profiled_us, self.sim_us[1]]
    }
}

impl Told {
    /// Of each of [`SAYERS`].
    fn errors(&self) -> [Option<Errors>; 4] {
        [0, 1, 2, 3].map(|at| {
            let error = |row: &Row| Some(row.times()[at]? / row.said.measured.us - 1.0);
            Errors::of(&self.rows.iter().filter_map(error).collect::<Vec<_>>())
        })
    }
}

pub(crate) fn run(args: &TrustArgs) -> Result<(), Failure> {
    let mut all = Vec::new();
    for series in &SERIES {
        let said = series.said().map_err(Failure::failed)?;
        let mut sims = sim::Simulated::default();
        let mut rows = Vec::new();
        for said in said {
            let sim_us = if args.no_sim {
                [None, None]
            } else {
                sims.of(series, &said.measured).context(series.name).map_err(Failure::Failed)?
            };
            rows.push(Row { said, sim_us });
        }
        all.push(Told { series, rows });
    }
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
