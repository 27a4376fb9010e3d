//! Many small clusters in one process, each with a run that is disturbed as its seed decides: nodes die, freeze, come back and drain, links
//! break, messages wait. The coordinator's machine and the seats in memory are the real ones; the clock and the nodes are made up.
//!
//! Whatever happens, a run ends with each step once, in order, and with the bits that it has undisturbed; queues stay bounded; and it gets there
//! within a bounded number of events. Everything follows from the seed.

mod nodes;
mod workload;
mod world;

use crate::error::RunError;
use crate::sim::SimRunner;
use moe::seed::{Purpose, generator};
use thiserror::Error;
use workload::Workload;
use world::World;

/// What one seed has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survived {
    /// Things that happened: messages, beats, faults.
    pub events: u64,
    /// Faults among them.
    pub faults: u32,
    /// Seats that the coordinator found lost, or links broken.
    pub interruptions: u32,
    /// Steps that were begun anew.
    pub replays: u32,
    /// Steps of the run.
    pub steps: u32,
}

/// What must not happen.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The run failed though its nodes came back.
    #[error("the run failed: {0}")]
    Failed(RunError),
    /// A step came out of turn, twice or not at all.
    #[error("step {got} came where {due} was due")]
    Order {
        /// Number of the record.
        got: u32,
        /// Number that was due.
        due: u32,
    },
    /// A step yielded other bits than undisturbed.
    #[error("step {step} yielded other bits than it does undisturbed")]
    Bits {
        /// The step.
        step: u32,
    },
    /// A node has more messages to read than a link holds.
    #[error("{node} has {waiting} messages to read")]
    Queue {
        /// Its name.
        node: String,
        /// How many.
        waiting: usize,
    },
    /// Nothing comes of it.
    #[error("{steps} steps after {events} events: it goes on and on, or waits for nothing")]
    Progress {
        /// Steps complete.
        steps: u32,
        /// Events so far.
        events: u64,
    },
}

/// Lives through one seed.
///
/// # Errors
/// [`Violation`]: a defect of this program.
pub fn survive(seed: u64) -> Result<Survived, Violation> {
    let mut dice = generator(Purpose::Swarm, seed, [0; 3]);
    let workload = Workload::draw(&mut dice);
    let mut undisturbed = SimRunner::default();
    undisturbed.open_blocking(&workload.request).map_err(Violation::Failed)?;
    let mut expected = Vec::with_capacity(workload.batches.len());
    for batch in &workload.batches {
        expected.push(undisturbed.step_blocking(batch).map_err(Violation::Failed)?);
    }
    let mut world = World::new(dice, workload);
    let records = world.run()?;
    for (due, (record, expected)) in (0..).zip(records.iter().zip(&expected)) {
        if record.step != due || record.answered != expected.answered {
            return Err(Violation::Order { got: record.step, due });
        }
        if record.digests != expected.digests {
            return Err(Violation::Bits { step: due });
        }
    }
    let replays = records.iter().map(|record| record.replays).sum();
    Ok(Survived { replays, steps: records.len() as u32, ..world.survived() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_survive_and_repeat_themselves() {
        let mut all = Survived::default();
        for seed in 0..200 {
            let survived = survive(seed).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            if seed % 20 == 0 {
                assert_eq!(survive(seed).unwrap(), survived, "seed {seed}");
            }
            all.interruptions += survived.interruptions;
            all.replays += survived.replays;
        }
        assert!(all.interruptions > 100 && all.replays > 50, "{all:?} disturbs too little");
    }
}
