//! A job that waits or is under way, and a client's hold on it.

use super::protocol::Reply;
use crate::layer::Progress;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{broadcast, watch};

/// News of a job that may wait for a slow client; the oldest are dropped.
const NEWS_MAX: usize = 64;
/// Why a job that was given up has no report.
pub(super) const WITHDRAWN: &str = "the job was withdrawn";

/// A job that has no answer yet.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) news: broadcast::Sender<Reply>,
    /// The last news of how far it is.
    pub(super) latest: watch::Sender<Option<Progress>>,
    pub(super) clients: watch::Sender<u32>,
    /// Nobody wants it any more.
    pub(super) left: watch::Sender<bool>,
    ended: watch::Sender<Option<Arc<Reply>>>,
    /// It was there before this process was.
    pub(super) restored: bool,
    /// Its turn has come: whoever runs it says how it ends.
    pub(super) taken: AtomicBool,
}

impl Live {
    pub(super) fn new(restored: bool) -> Arc<Self> {
        Arc::new(Self {
            news: broadcast::Sender::new(NEWS_MAX),
            latest: watch::Sender::new(None),
            clients: watch::Sender::new(0),
            left: watch::Sender::new(false),
            ended: watch::Sender::new(None),
            restored,
            taken: AtomicBool::new(false),
        })
    }

    /// Ends when nobody wants it any more.
    pub(super) async fn has_left(&self) {
        // The sender is `self`.
        let _ = self.left.subscribe().wait_for(|&left| left).await;
    }

    pub(super) fn end(&self, reply: Reply) {
        self.ended.send_replace(Some(Arc::new(reply)));
    }

    pub(super) async fn ended(&self) -> Reply {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reply)) => Reply::clone(reply),
            _ => Reply::refused(&"the job has ended", false),
        }
    }
}

/// A client's hold on its job.
pub(super) struct Attached {
    number: u64,
    live: Arc<Live>,
    news: broadcast::Receiver<Reply>,
    queue: watch::Receiver<VecDeque<u64>>,
    told_ahead: Option<usize>,
}

/// What is to be told next.
pub(super) enum Said {
    News(Reply),
    Last(Reply),
}

impl Attached {
    pub(super) fn new(number: u64, live: &Arc<Live>, queue: watch::Receiver<VecDeque<u64>>) -> Self {
        live.clients.send_modify(|clients| *clients += 1);
        Self { number, live: Arc::clone(live), news: live.news.subscribe(), queue, told_ahead: None }
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            let ahead = self.queue.borrow_and_update().iter().position(|&other| other == self.number);
            if ahead != self.told_ahead {
                self.told_ahead = ahead;
                if let Some(ahead @ 1..) = ahead {
                    return Said::News(Reply::Waiting { ahead: u32::try_from(ahead).unwrap_or(u32::MAX) });
                }
            }
            tokio::select! {
                biased;
                news = self.news.recv() => if let Ok(news) = news {
                    return Said::News(news);
                },
                last = self.live.ended() => return Said::Last(last),
                _ = self.queue.changed() => {}
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.live.clients.send_modify(|clients| *clients -= 1);
    }
}
