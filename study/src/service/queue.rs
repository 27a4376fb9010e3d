//! One job at a time, the others queue. Jobs, finished rows and answers are in a store, from which the next coordinator goes on.

use super::client_error::{ClientError, refusal};
use super::job::State;
use super::jobs::Submitted;
use super::live::{Attached, Said, WITHDRAWN};
use super::protocol::{JobId, Reply, Request};
use super::shared::{SAVED_MAX, Service, ServiceOptions};
use super::store::Store;
use super::store_error::StoreError;
use crate::layer::{CompareSpec, Finished, ProgressSink, Report, Wanted};
use coordinator::server::ClusterHandle;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{broadcast, watch};

/// How long a job is kept going whose client is gone.
pub(super) const ABSENT_LIMIT: Duration = Duration::from_secs(60);

impl Service {
    /// Serves `handle`'s cluster, beginning with the jobs of its store.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(handle: ClusterHandle, options: ServiceOptions) -> Result<Arc<Self>, StoreError> {
        Self::start_with(handle, options, ABSENT_LIMIT)
    }

    pub(super) fn start_with(
        handle: ClusterHandle,
        options: ServiceOptions,
        absent: Duration,
    ) -> Result<Arc<Self>, StoreError> {
        let store = match &options.state {
            Some(directory) => Store::open(directory)?,
            None => Store::in_memory()?,
        };
        let service = Arc::new(Self {
            handle,
            options,
            absent,
            store: Arc::new(store),
            queue: watch::Sender::new(VecDeque::new()),
            changes: watch::Sender::new(0),
            live: Mutex::default(),
            stopped: watch::Sender::new(false),
            saved: broadcast::Sender::new(SAVED_MAX),
        });
        service.restore()?;
        // What computes holds up neither clients nor what they are told.
        let runtime = Builder::new_current_thread().enable_time().build().map_err(StoreError::Thread)?;
        let works = Arc::clone(&service);
        let thread = std::thread::Builder::new().name("jobs".to_owned());
        thread.spawn(move || runtime.block_on(work(works))).map_err(StoreError::Thread)?;
        Ok(service)
    }

    /// Jobs that have no answer queue again, in order; results that may not have been saved are saved.
    fn restore(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, job) in self.store.jobs()? {
            if let Some(to_save) = job.to_save
                && let Reply::Report(json) = self.store.answer(number)?
                && let Ok(report) = serde_json::from_str(&json)
            {
                self.save(number, &report, to_save);
            }
            if job.state.is_to_run() {
                tracing::info!("job {} goes on", job.id);
                // Its client has as long to come back as if it had just gone.
                drop(self.enqueue(number, (true, job.detached), &mut live));
            }
        }
        Ok(())
    }

    /// The report of this very comparison, if it was run for [`Self::run`] before.
    #[must_use]
    pub fn finished_before(&self, spec: &CompareSpec) -> Option<Report> {
        let (job, _) = own(spec)?;
        let (number, _) = self.store.find(job).ok()?.filter(|(_, job)| job.state == State::Done)?;
        match self.store.answer(number) {
            Ok(Reply::Report(json)) => serde_json::from_str(&json).ok(),
            _ => None,
        }
    }

    /// Runs the coordinator's own comparison when its turn comes. The same one is one job, whoever the coordinator's process is: it
    /// goes on from what was finished.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn run(
        self: &Arc<Self>,
        spec: &CompareSpec,
        progress: ProgressSink<'_>,
    ) -> Result<Report, ClientError> {
        let Some((job, request)) = own(spec) else {
            return Err(refusal(Reply::refused(&"the comparison can't be kept", true)));
        };
        // One that failed is tried again.
        if let Ok(Some((number, _))) =
            self.store.find(job).map(|found| found.filter(|(_, job)| job.state == State::Failed))
            && let Err(error) = self.store.remove(number)
        {
            tracing::error!("{error}");
        }
        let last = match self.submit(job, OWN, &request) {
            Submitted::Answered(reply) => reply,
            Submitted::Attached(mut attached) => told(&mut attached, progress).await,
        };
        match last {
            Reply::Report(json) => serde_json::from_str(&json).map_err(|error| {
                refusal(Reply::refused(&format!("the report can't be read: {error}"), false))
            }),
            other => Err(refusal(other)),
        }
    }
}

/// Who asks for the coordinator's own comparison: no client's certificate has this name.
const OWN: &str = "the coordinator itself";

/// The coordinator's own job of a comparison, and its request.
fn own(spec: &CompareSpec) -> Option<(JobId, Request)> {
    let mut bytes = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    bytes.extend(serde_json::to_vec(spec).ok()?);
    let job = JobId::of_bytes(&bytes);
    let spec = Box::new(spec.clone());
    Some((job, Request::Compare { job, spec, wanted: Wanted::All, detached: false }))
}

/// The last reply of a job; its progress is told.
async fn told(attached: &mut Attached, progress: ProgressSink<'_>) -> Reply {
    loop {
        match attached.next().await {
            Said::News(Reply::Progress(news)) => progress(news),
            Said::News(_) => {}
            Said::Last(last) => return last,
        }
    }
}

/// Runs jobs as their turns come.
async fn work(service: Arc<Service>) {
    let (mut queue, mut stopped) = (service.queue.subscribe(), service.stopped.subscribe());
    loop {
        let next = async { queue.wait_for(|queue| !queue.is_empty()).await.ok()?.front().copied() };
        let number = tokio::select! {
            biased;
            () = async { drop(stopped.wait_for(|&stopped| stopped).await) } => return,
            number = next => number,
        };
        let Some(number) = number else { return };
        let Some(live) = service.take(number) else {
            // It left just now.
            tokio::task::yield_now().await;
            continue;
        };
        let mut finished = Finished::default();
        let ended = tokio::select! {
            biased;
            () = async { drop(stopped.wait_for(|&stopped| stopped).await) } => return,
            () = live.has_left() => None,
            ended = Box::pin(service.perform(number, &live, &mut finished)) => Some(ended),
        };
        let what_there_is = |reply| match reply {
            Reply::Refused { error, usage, unseated, .. } => {
                let incomplete = finished.incomplete().and_then(|report| report.to_json().ok());
                Reply::Refused { error, usage, incomplete, unseated }
            }
            other => other,
        };
        match ended {
            None => live.end(what_there_is(Reply::refused(&WITHDRAWN, false))),
            Some((reply, report)) => service.end(number, &live, what_there_is(reply), report.as_ref()),
        }
    }
}
