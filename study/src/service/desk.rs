//! What a service tells of its jobs to whoever looks, and takes from whoever doesn't wait: lists, results so far, new jobs, cancelled ones.

use super::client_error::{ClientError, refusal};
use super::job::{Job, State, now_s};
use super::jobs::Submitted;
use super::protocol::{JobId, Reply, Request};
use super::shared::Service;
use super::store_error::StoreError;
use crate::layer::{CompareSpec, Finished, Progress, Report, Wanted, headline};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError};
use tokio::sync::watch;

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Who asked for it: the name in the client's certificate, or what else the coordinator calls it.
    pub client: String,
    /// `waiting`, `running`, `done`, `failed` or `left`: its client was gone for too long.
    pub state: String,
    /// What it is about, one line.
    pub title: String,
    /// When it was asked for, seconds since 1970; 0 where that was not kept.
    pub asked_unix_s: u64,
    /// Jobs that are served before, while it waits.
    pub ahead: Option<u32>,
    /// Rows of a comparison that are finished, while it is under way.
    pub rows_done: Option<u32>,
    /// Such rows in all.
    pub rows_asked: Option<u32>,
    /// What is run now.
    pub doing: Option<String>,
    /// Seconds until it is done, about.
    pub left_s: Option<u32>,
    /// Why it has no report.
    pub problem: Option<String>,
}

impl Service {
    /// All jobs that are kept, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn jobs(&self) -> Result<Vec<JobView>, StoreError> {
        let queue = self.queue.borrow().clone();
        let jobs = self.store.jobs()?.into_iter().rev();
        let ahead = |number| queue.iter().position(|&other| other == number);
        jobs.map(|(number, job)| self.view(number, &job, ahead(number))).collect()
    }

    fn view(&self, number: u64, job: &Job, ahead: Option<usize>) -> Result<JobView, StoreError> {
        let mut view = JobView {
            id: job.id.to_string(),
            client: job.client.clone(),
            state: job.state.word().to_owned(),
            title: job.title.clone(),
            asked_unix_s: job.asked_unix_s,
            ahead: ahead.and_then(|ahead| u32::try_from(ahead).ok()).filter(|_| job.state == State::Waiting),
            rows_done: None,
            rows_asked: None,
            doing: None,
            left_s: None,
            problem: None,
        };
        match job.state {
            State::Failed => {
                if let Reply::Refused { error, .. } = self.store.answer(number)? {
                    view.problem = Some(error);
                }
            }
            State::UnderWay => {
                let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
                let latest = live.get(&number).and_then(|live| live.latest.borrow().clone());
                drop(live);
                view.take(latest);
            }
            State::Waiting | State::Done | State::Left => {}
        }
        Ok(view)
    }

    /// The report of a job: all of it, or, marked as incomplete, the rows that are finished. `None` where it is no comparison or has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn report(&self, job: JobId) -> Result<Option<Report>, StoreError> {
        let Some((number, known)) = self.store.find(job)? else { return Ok(None) };
        match known.state {
            State::Done => match self.store.answer(number)? {
                Reply::Report(json) => Ok(serde_json::from_str(&json).ok()),
                _ => Ok(None),
            },
            State::Failed => match self.store.answer(number)? {
                Reply::Refused { incomplete: Some(json), .. } => Ok(serde_json::from_str(&json).ok()),
                _ => Ok(None),
            },
            State::Waiting | State::UnderWay | State::Left => {
                let Request::Compare { spec, .. } = self.store.request(number)? else { return Ok(None) };
                let rows = self.store.rows(number)?;
                let asked = self.view(number, &known, None)?.rows_asked;
                let asked = asked.map_or(rows.len(), |asked| asked as usize);
                Ok(Finished::so_far(&spec, rows, asked))
            }
        }
    }

    /// Takes a comparison up that nobody waits for: it is kept until it is done or cancelled.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the queue is full or the store fails.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn leave_here(self: &Arc<Self>, client: &str, spec: CompareSpec) -> Result<JobId, ClientError> {
        let job = JobId::draw();
        let request = Request::Compare { job, spec: Box::new(spec), wanted: Wanted::All, detached: true };
        match self.submit(job, client, &request) {
            Submitted::Attached(_) => Ok(job),
            Submitted::Answered(reply) => Err(refusal(reply)),
        }
    }

    /// Ends a job, whoever asked for it; what is finished of it is forgotten. False where there is none that waits or is under way.
    pub fn cancel(&self, job: JobId) -> bool {
        match self.store.find(job) {
            Ok(Some((number, known))) if known.state.is_to_run() => self.leave(number, true).is_some(),
            _ => false,
        }
    }

    /// Counts changes of jobs: of the queue, of progress, of finished rows.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

impl JobView {
    /// What the last news say.
    fn take(&mut self, latest: Option<Progress>) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match latest {
            None => self.doing = Some("it begins".to_owned()),
            Some(Progress::Preparing { total }) => {
                (self.rows_done, self.rows_asked) = (Some(0), Some(count(total)));
                self.doing = Some("references and simulations".to_owned());
            }
            Some(Progress::Running { done, total, what, left_s }) => {
                (self.rows_done, self.rows_asked) = (Some(count(done)), Some(count(total)));
                (self.doing, self.left_s) = (Some(what), left_s);
            }
            Some(Progress::Retrying { what, problem }) => {
                self.doing = Some(format!("{what}, again and slower: {problem}"));
            }
            Some(Progress::Done) => self.doing = Some("the report".to_owned()),
        }
    }
}

impl Job {
    /// The same with what is shown of it.
    pub(super) fn of(self, request: &Request) -> Self {
        let (title, detached) = match request {
            Request::Compare { spec, detached, .. } => (headline(&spec.config()), *detached),
            _ => ("a serving run".to_owned(), false),
        };
        Self { title, detached, asked_unix_s: now_s(), ..self }
    }
}
