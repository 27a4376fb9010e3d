//! Jobs that wait or are under way: clients attach to them, leave and come back; a job outlives its client's connection for a while.

use super::job::{Job, State, kept_request};
use super::live::{Attached, Live, WITHDRAWN};
use super::protocol::{JobId, Reply, Request};
use super::shared::Service;
use crate::layer::CompareError;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Jobs that may be under way or waiting.
pub(super) const QUEUE_MAX: usize = 16;
/// How long a run may take to end that is withdrawn.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(10);

/// A job that a client asks for.
pub(super) enum Submitted {
    Attached(Attached),
    Answered(Reply),
}

impl Service {
    /// Takes a job up, or finds the one that has its id.
    pub(super) fn submit(self: &Arc<Self>, job: JobId, client: &str, request: &Request) -> Submitted {
        let refused =
            |error: &dyn ToString, usage| Submitted::Answered(Reply::refused(&error.to_string(), usage));
        let (bytes, fingerprint) = match kept_request(request) {
            Ok(kept) => kept,
            Err(error) => return refused(&error, true),
        };
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match self.store.find(job) {
            Ok(found) => found,
            Err(error) => return refused(&error, false),
        };
        if let Some((number, known)) = found {
            if known.client != client || known.fingerprint != fingerprint {
                return refused(&format!("job {job} is another request's; ask under an id of its own"), true);
            }
            if let Some(live) = live.get(&number) {
                return Submitted::Attached(self.attach(number, live));
            }
            return match known.state {
                State::Done | State::Failed => match self.store.answer(number) {
                    Ok(answer) => Submitted::Answered(answer),
                    Err(error) => refused(&error, false),
                },
                _ => match self.store.set(number, State::Waiting) {
                    Ok(()) => Submitted::Attached(self.enqueue(number, (false, known.detached), &mut live)),
                    Err(error) => refused(&error, false),
                },
            };
        }
        if live.len() >= QUEUE_MAX {
            let busy = CompareError::Busy { waiting: QUEUE_MAX };
            return refused(&busy, busy.is_usage());
        }
        let job = Job::new(job, client, fingerprint, self.handle.num_nodes()).of(request);
        match self.store.add(&job, &bytes) {
            Ok(number) => Submitted::Attached(self.enqueue(number, (false, job.detached), &mut live)),
            Err(error) => refused(&error, false),
        }
    }

    /// The job of that id, which is this client's.
    pub(super) fn find(self: &Arc<Self>, job: JobId, client: &str) -> Submitted {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = match self.store.find(job) {
            Ok(Some((number, known))) if known.client == client => match live.get(&number) {
                Some(live) => return Submitted::Attached(self.attach(number, live)),
                None if known.state == State::Left => {
                    Ok(Reply::refused(&format!("nobody waited for job {job}, and it was given up"), false))
                }
                None => self.store.answer(number),
            },
            Ok(_) => {
                Ok(Reply::refused(&format!("no job {job} of {client}; `railyard runs` lists them"), true))
            }
            Err(error) => Err(error),
        };
        Submitted::Answered(answered.unwrap_or_else(|error| Reply::refused(&error, false)))
    }

    /// Puts a job at the end of the queue, held by the caller.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        number: u64,
        (restored, detached): (bool, bool),
        all: &mut BTreeMap<u64, Arc<Live>>,
    ) -> Attached {
        let live = Live::new(restored);
        all.insert(number, Arc::clone(&live));
        let attached = self.attach(number, &live);
        self.queue.send_modify(|queue| queue.push_back(number));
        self.changed();
        if !detached {
            tokio::spawn(miss(Arc::clone(self), number, live));
        }
        attached
    }

    fn attach(&self, number: u64, live: &Arc<Live>) -> Attached {
        Attached::new(number, live, self.queue.subscribe())
    }

    /// The job whose turn it is, for whoever runs it.
    pub(super) fn take(&self, number: u64) -> Option<Arc<Live>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let live = live.get(&number)?;
        live.taken.store(true, Ordering::Relaxed);
        Some(Arc::clone(live))
    }

    /// A job has its answer.
    pub(super) fn done(&self, number: u64, live: &Arc<Live>, reply: Reply) {
        live.end(reply);
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&number).is_some_and(|known| Arc::ptr_eq(known, live)) {
            all.remove(&number);
            self.queue.send_modify(|queue| queue.retain(|&other| other != number));
        }
        self.changed();
    }

    /// A job that nobody wants any more: forgotten, or kept with its rows for a client that comes back.
    pub(super) fn leave(&self, number: u64, forget: bool) -> Option<Arc<Live>> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let live = all.remove(&number)?;
        let kept = if forget { self.store.remove(number) } else { self.store.set(number, State::Left) };
        if let Err(error) = kept {
            tracing::error!("{error}");
        }
        self.queue.send_modify(|queue| queue.retain(|&other| other != number));
        self.changed();
        live.left.send_replace(true);
        if !live.taken.load(Ordering::Relaxed) {
            live.end(Reply::refused(&WITHDRAWN, false));
        }
        Some(live)
    }

    /// A client gives its job up; the answer has what is finished.
    pub(super) async fn withdraw(&self, job: JobId, client: &str) -> Reply {
        let number = match self.store.find(job) {
            Ok(Some((number, known))) if known.client == client => number,
            Ok(_) => return Reply::refused(&format!("no job {job}"), false),
            Err(error) => return Reply::refused(&error, false),
        };
        match self.leave(number, true) {
            Some(live) => timeout(WITHDRAW_LIMIT, live.ended())
                .await
                .unwrap_or_else(|_| Reply::refused(&WITHDRAWN, false)),
            None => self.store.answer(number).unwrap_or_else(|error| Reply::refused(&error, false)),
        }
    }
}

/// Gives a job up whose client stays away.
async fn miss(service: Arc<Service>, number: u64, live: Arc<Live>) {
    let mut clients = live.clients.subscribe();
    loop {
        tokio::select! {
            _ = async { live.ended().await } => return,
            () = async { drop(clients.wait_for(|&clients| clients == 0).await) } => {}
        }
        let back = async { clients.wait_for(|&clients| clients > 0).await.is_ok() };
        tokio::select! {
            _ = async { live.ended().await } => return,
            back = timeout(service.absent, back) => if back.is_err() {
                tracing::warn!("job {number}: its client was gone for {} s", service.absent.as_secs());
                service.leave(number, false);
                return;
            }
        }
    }
}
