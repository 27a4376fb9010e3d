//! Runs one job on the nodes, from what is kept of it, and keeps what comes of it.

use super::job::State;
use super::live::Live;
use super::protocol::{Reply, Request};
use super::shared::{Saved, Service};
use crate::layer::{
    BackendKind, CompareError, CompareSpec, Finished, Progress, Report, Wanted, compare_rows,
};
use crate::serving::Packed;
use coordinator::RunError;
use coordinator::pace::Host;
use std::sync::Arc;

impl Service {
    /// Where the nodes live, with the cores of all their machines.
    fn host(&self) -> Host {
        let own = self.options.host;
        match self.handle.num_cores() {
            0 => own,
            cores => Host { cores, ..own },
        }
    }

    /// Runs a job from what is kept of it; the report too, if it is a comparison's.
    pub(super) async fn perform(
        &self,
        number: u64,
        live: &Live,
        finished: &mut Finished,
    ) -> (Reply, Option<Report>) {
        let begun = self.store.request(number).and_then(|request| {
            self.store.set(number, State::UnderWay)?;
            Ok((self.store.job(number)?, request))
        });
        let (job, request) = match begun {
            Ok(begun) => begun,
            Err(error) => return (Reply::refused(&error, false), None),
        };
        match request {
            Request::Compare { spec, wanted, .. } => {
                if live.restored && spec.backends.contains(&BackendKind::Quic) {
                    self.nodes_back(spec.cluster().map_or(0, |cluster| cluster.num_ranks())).await;
                }
                let rows = match self.store.rows(number) {
                    Ok(rows) if job.build == env!("CARGO_PKG_VERSION") || rows.is_empty() => rows,
                    Ok(_) => {
                        let error =
                            format!("job {} has rows of railyard {}; ask for it anew", job.id, job.build);
                        return (Reply::refused(&error, false), None);
                    }
                    Err(error) => return (Reply::refused(&error, false), None),
                };
                if !rows.is_empty() {
                    tracing::info!("job {}: {} rows were finished before", job.id, rows.len());
                }
                let store = Arc::clone(&self.store);
                *finished = Finished::new(rows, move |at, row| match store.keep(number, at, row) {
                    Ok(()) => tracing::debug!("job {number}: row {at} is kept"),
                    Err(error) => tracing::error!("row {at} is not kept: {error}"),
                });
                self.compare((*spec, wanted), live, finished).await
            }
            Request::Serve { packed, .. } => {
                if live.restored {
                    self.nodes_back(job.nodes).await;
                }
                (self.serve_packed(&packed).await, None)
            }
            Request::Status
            | Request::Jobs
            | Request::Watch { .. }
            | Request::Drain(_)
            | Request::Withdraw { .. } => (Reply::refused(&"no job", true), None),
        }
    }

    async fn compare(
        &self,
        (mut spec, wanted): (CompareSpec, Wanted),
        live: &Live,
        finished: &mut Finished,
    ) -> (Reply, Option<Report>) {
        spec.memory_limit_bytes = self.options.memory_limit_bytes;
        let mut nodes = self.handle.runner();
        // A client that does not read misses news, not results; there may be none.
        let mut progress = |progress: Progress| {
            live.latest.send_replace(Some(progress.clone()));
            self.changed();
            drop(live.news.send(Reply::Progress(progress)));
        };
        let mut notes = std::mem::take(&mut spec.notes);
        let result = match wanted.of(&spec, &mut notes) {
            Ok(rows) => {
                spec.notes = notes;
                let ran = compare_rows(spec, rows, Some(&mut nodes), self.host(), finished, &mut progress);
                Box::pin(ran).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(report) => match report.to_json() {
                Ok(json) => (Reply::Report(json), Some(report)),
                Err(error) => (Reply::refused(&error, false), None),
            },
            // The coordinator is shut down: the job is for the next one.
            Err(CompareError::Run { source: RunError::Closed, .. }) => std::future::pending().await,
            Err(error) => (refused(&error), None),
        }
    }

    async fn serve_packed(&self, packed: &str) -> Reply {
        let packed: Packed = match serde_json::from_str(packed) {
            Ok(packed) => packed,
            Err(error) => return Reply::refused(&format!("a serving run that can't be read: {error}"), true),
        };
        let host = self.host();
        let slower = host.pace.next_power_of_two().trailing_zeros();
        match Box::pin(packed.serve_on(&self.handle, host, slower)).await {
            Err(error) => Reply::refused(&error, error.is_usage()),
            Ok(record) => match serde_json::to_string(&record) {
                Ok(json) => Reply::Report(json),
                Err(error) => Reply::refused(&error, false),
            },
        }
    }

    /// Waits for nodes that were there before; whether they suffice says the run.
    async fn nodes_back(&self, nodes: u32) {
        if let Err(error) = self.handle.wait_for_nodes(nodes, self.options.forming).await {
            tracing::warn!("{error}");
        }
    }

    /// Keeps the answer of a job, and its results.
    pub(super) fn end(&self, number: u64, live: &Arc<Live>, reply: Reply, report: Option<&Report>) {
        let to_save =
            report.zip(self.options.out.as_ref()).map(|(report, out)| (report, Report::free_number(out)));
        let to_save = to_save.and_then(|(report, free)| match free {
            Ok(free) => Some((report, free)),
            Err(error) => {
                tracing::error!("cannot keep results: {error}");
                None
            }
        });
        if let Err(error) = self.store.finish(number, &reply, to_save.map(|(_, free)| free)) {
            tracing::error!("the answer of job {number} is not kept: {error}");
        }
        if let Some((report, free)) = to_save {
            self.save(number, report, free);
        }
        self.done(number, live, reply);
    }

    /// Saves results under a number that is kept: as often as it takes, and once.
    pub(super) fn save(&self, number: u64, report: &Report, to_save: u32) {
        let Some(out) = &self.options.out else { return };
        match report.save_as(out, to_save) {
            Ok(path) => {
                tracing::info!("results in {}", path.display());
                // Nobody need listen.
                let _ = self.saved.send(Saved { path, seeds: report.seeds.clone() });
            }
            Err(error) => return tracing::error!("cannot keep results in {}: {error}", out.display()),
        }
        if let Err(error) = self.store.saved(number) {
            tracing::error!("{error}");
        }
    }
}

fn refused(error: &CompareError) -> Reply {
    let ranks = match error {
        CompareError::Run { source: RunError::Unseated { ranks, .. }, .. } => ranks.clone(),
        _ => Vec::new(),
    };
    Reply::Refused { error: error.to_string(), usage: error.is_usage(), incomplete: None, unseated: ranks }
}
