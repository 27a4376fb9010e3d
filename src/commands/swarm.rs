//! `railyard swarm`: small clusters in this process, disturbed as their seeds decide, that must come through.

use crate::cli::SwarmArgs;
use crate::failure::Failure;
use crate::output;
use ::coordinator::swarm::{Survived, survive};
use serde_json::json;

pub(crate) fn run(args: &SwarmArgs, quiet: bool) -> Result<(), Failure> {
    let mut all = Survived::default();
    let count = args.seeds.end - args.seeds.start;
    for (done, seed) in (1..).zip(args.seeds.clone()) {
        let survived = survive(seed).map_err(|violation| {
            let again =
                format!("`RUST_LOG=coordinator::swarm=debug railyard swarm --seeds {seed}` shows how");
            Failure::Failed(anyhow::anyhow!("seed {seed}: {violation}; {again}"))
        })?;
        all.events += survived.events;
        all.faults += survived.faults;
        all.interruptions += survived.interruptions;
        all.replays += survived.replays;
        all.steps += survived.steps;
        if !quiet && done % 1000 == 0 && done < count {
            output::say(&format!("{done} of {count} seeds"));
        }
    }
    let Survived { events, faults, interruptions, replays, steps } = all;
    if args.json {
        let object = json!({
            "schema_version": 1, "seeds": count, "events": events, "faults": faults,
            "interruptions": interruptions, "replays": replays, "steps": steps,
        });
        return output::print(&format!("{object}\n"));
    }
    output::print(&format!(
        "{count} seeds came through: {steps} steps, each once and with its bits; {faults} faults in {events} events, {interruptions} \
         interruptions, {replays} steps begun anew\n"
    ))
}
