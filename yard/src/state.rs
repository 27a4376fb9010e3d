//! What the yard knows beside its service: the last steps that were seen, the news, and what was counted.

use crate::counters::Counters;
use crate::shown::{News, StepView};
use crate::token::{Ticket, Token, Wrong};
use coordinator::ClusterHandle;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use study::placing::Programs;
use study::service::Service;
use tokio::sync::{Semaphore, watch};

/// News that are kept for who looks later.
const NEWS_MAX: usize = 100;
/// Longest a program that places experts may take: none is ever asked from here.
const NO_PROGRAM: std::time::Duration = std::time::Duration::from_secs(1);

/// How a yard is to be served.
#[derive(Clone, Debug, Default)]
pub struct YardOptions {
    /// Names by which the server may be asked, beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Whether metrics may be read from other machines without the token.
    pub open_metrics: bool,
    /// Most bytes that a comparison may take that is simulated here.
    pub memory_limit_bytes: Option<u64>,
    /// Version of the program.
    pub version: String,
}

/// A coordinator as it is shown.
#[derive(Debug)]
pub struct Yard {
    pub(crate) service: Arc<Service>,
    pub(crate) cluster: ClusterHandle,
    pub(crate) token: Token,
    pub(crate) options: YardOptions,
    pub(crate) counters: Counters,
    pub(crate) wrong: Mutex<Wrong>,
    pub(crate) tickets: Mutex<VecDeque<Ticket>>,
    pub(crate) news: watch::Sender<VecDeque<News>>,
    pub(crate) step: watch::Sender<Option<Arc<StepView>>>,
    /// What is asked for is worked out two at a time, and one of them may be a simulation; whoever asked may be gone.
    pub(crate) works: Arc<Semaphore>,
    pub(crate) previews: Arc<Semaphore>,
    /// Pages that follow what happens.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) programs: Arc<Programs>,
}

/// Requests that are worked out at a time.
const WORKS_MAX: usize = 2;
/// Pages that may follow at a time.
const STREAMS_MAX: usize = 32;

impl Yard {
    /// The yard of `service`, whose nodes are `cluster`'s.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        cluster: ClusterHandle,
        token: Token,
        options: YardOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            counters: Counters::new(&options.version),
            service,
            token,
            options,
            wrong: Mutex::default(),
            tickets: Mutex::default(),
            news: watch::Sender::new(VecDeque::new()),
            step: watch::Sender::new(None),
            works: Arc::new(Semaphore::new(WORKS_MAX)),
            previews: Arc::new(Semaphore::new(1)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            programs: Arc::new(Programs::new(NO_PROGRAM)),
            cluster,
        })
    }

    pub(crate) fn tell(&self, news: News) {
        self.news.send_modify(|all| {
            all.push_back(news);
            while all.len() > NEWS_MAX {
                all.pop_front();
            }
        });
    }
}
