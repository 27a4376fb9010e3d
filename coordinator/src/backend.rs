//! The one door to every way of running a configuration: the simulator's virtual clock or real nodes over QUIC.

use crate::run::{RoundRecord, RunError, RunRequest};
use node::digest::token_digest;
use node::sim::SimCluster;
use std::sync::Arc;

/// Something that runs configurations.
pub trait Backend {
    /// Runs every step of `request` and yields one record a step, warm-up included.
    ///
    /// # Errors
    /// [`RunError`]; no records then.
    fn run(
        &mut self,
        request: &RunRequest,
    ) -> impl Future<Output = Result<Vec<RoundRecord>, RunError>> + Send;
}

/// All ranks in this process on a virtual clock ([`SimCluster`]): exact and repeatable.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimBackend {
    keep_outputs: bool,
}

impl SimBackend {
    /// A simulator whose records carry the outputs too, 4 bytes x tokens x hidden a step.
    #[must_use]
    pub fn keeping_outputs() -> Self {
        Self { keep_outputs: true }
    }

    /// Runs on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Setup`], [`RunError::Steps`] or [`RunError::Sim`].
    pub fn run_blocking(&self, request: &RunRequest) -> Result<Vec<RoundRecord>, RunError> {
        request.validate()?;
        let mut cluster = SimCluster::new(Arc::new(request.setup.clone()))?;
        (0..request.steps())
            .map(|step| {
                let done = cluster.step(step)?;
                let digests = done
                    .outputs
                    .iter()
                    .map(|tokens| tokens.iter().map(|values| token_digest(values)).collect());
                Ok(RoundRecord {
                    step,
                    warmup: step < request.warmup,
                    digests: digests.collect(),
                    phases: done.phases,
                    wall_ns: [0; 3],
                    clock_error_ns: [0; 3],
                    outputs: self.keep_outputs.then_some(done.outputs),
                })
            })
            .collect()
    }
}

impl Backend for SimBackend {
    async fn run(&mut self, request: &RunRequest) -> Result<Vec<RoundRecord>, RunError> {
        let (backend, request) = (*self, request.clone());
        let done = tokio::task::spawn_blocking(move || backend.run_blocking(&request)).await;
        match done {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(RunError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[tokio::test]
    async fn the_simulator_repeats_itself_and_keeps_outputs_where_asked() {
        let request = request(&[2, 2], 1, 2);
        let records = SimBackend::default().run(&request).await.unwrap();
        assert_eq!(records.iter().map(|record| record.warmup).collect::<Vec<_>>(), [true, false, false]);
        assert!(records.iter().all(|record| record.outputs.is_none()));
        let kept = SimBackend::keeping_outputs().run_blocking(&request).unwrap();
        for (record, kept) in records.iter().zip(&kept) {
            assert_eq!(record.digests, kept.digests);
            assert_eq!(record.digests, records[0].digests, "every step has the same tokens");
            assert_eq!(record.phases, kept.phases);
            let outputs = kept.outputs.as_ref().unwrap();
            for (tokens, digests) in outputs.iter().zip(&kept.digests) {
                assert_eq!((tokens.len(), tokens[0].len()), (4, 256));
                assert_eq!(digests, &tokens.iter().map(|values| token_digest(values)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_simulation_of_nothing_is_an_error() {
        let error = SimBackend::default().run_blocking(&request(&[2], 3, 0)).unwrap_err();
        assert!(error.to_string().starts_with("3 warm-up steps and 0 rounds"), "{error}");
    }
}
