//! `railyard serve-bench`: a serving experiment, told in the words of `vllm bench serve`.

use super::health::Client;
use super::run::Asked;
use crate::cli::ServeBenchArgs;
use crate::failure::Failure;
use crate::output;
use serde_json::json;
use study::experiment::{Merged, RESULTS_VERSION};
use study::serving::{ServeRecord, block};
use study::subjects::served;

pub(crate) fn run(args: &ServeBenchArgs, quiet: bool) -> Result<(), Failure> {
    let (out, cluster) = (args.out.as_deref(), Client::of(&args.on)?);
    let asked = Asked { args: &args.experiment, out, subject: Some("serving"), cluster };
    let Some((merged, subject)) = asked.finish(quiet)? else { return Ok(()) };
    let header = &merged.header;
    if args.experiment.json {
        let object = json!({
            "schema_version": RESULTS_VERSION,
            "name": header.name,
            "claim": header.claim,
            "findings": merged.findings().into_iter().flatten().collect::<Vec<_>>(),
            "swept": header.swept,
            "points": merged.records().collect::<Vec<_>>(),
        });
        output::print(&format!("{object:#}\n"))?;
        return super::report::verdict(&merged);
    }
    match one(&merged) {
        Some(record) => {
            let record = record.map_err(Failure::failed)?;
            let claim = header.claim.as_ref().map_or_else(String::new, |claim| format!("claim: {claim}\n"));
            output::print(&(claim + &block(&record)))?;
            super::report::verdict(&merged)
        }
        None => super::report::print(&merged, subject, &args.experiment),
    }
}

/// The record of an experiment that has one.
fn one(merged: &Merged) -> Option<serde_json::Result<ServeRecord>> {
    let mut records = merged.records();
    let first = records.next()?;
    records.next().is_none().then(|| served(first.record))
}
