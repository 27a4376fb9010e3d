//! A cluster with a queue: what a service has in hand.

use super::live::Live;
use super::store::Store;
use coordinator::pace::Host;
use coordinator::server::ClusterHandle;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// What a service keeps, where, and how long it waits.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Directory for results of comparisons.
    pub out: Option<PathBuf>,
    /// Directory of the store of jobs; `None` keeps them in memory.
    pub state: Option<PathBuf>,
    /// Most bytes that a comparison may take.
    pub memory_limit_bytes: Option<u64>,
    /// Where the nodes live; its cores count until nodes are there.
    pub host: Host,
    /// How long a job that was there before this process waits for its nodes.
    pub forming: Duration,
}

/// Results that were saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The report.
    pub path: PathBuf,
    /// Its seeds.
    pub seeds: Vec<u64>,
}

/// News of saved results that a slow listener may miss no more than.
pub(super) const SAVED_MAX: usize = 16;

/// A cluster with a queue.
#[derive(Debug)]
pub struct Service {
    pub(super) handle: ClusterHandle,
    pub(super) options: ServiceOptions,
    pub(super) absent: Duration,
    pub(super) store: Arc<Store>,
    /// Numbers of jobs, the one under way first.
    pub(super) queue: watch::Sender<VecDeque<u64>>,
    /// Counts what changes for whoever watches.
    pub(super) changes: watch::Sender<u64>,
    pub(super) live: Mutex<BTreeMap<u64, Arc<Live>>>,
    pub(super) stopped: watch::Sender<bool>,
    pub(super) saved: broadcast::Sender<Saved>,
}

impl Service {
    /// Jobs that wait or are under way.
    #[must_use]
    pub fn num_jobs(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Where jobs are kept, if they outlive the process.
    #[must_use]
    pub fn state(&self) -> Option<&Path> {
        self.options.state.as_ref().map(|_| self.store.path())
    }

    /// Results from now on, once they are saved.
    #[must_use]
    pub fn watch_saved(&self) -> broadcast::Receiver<Saved> {
        self.saved.subscribe()
    }

    /// Lets go of the job under way, for the next coordinator to go on with.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }
}
