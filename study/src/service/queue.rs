//! One comparison at a time, the others queue and are told how many are before them.

use super::protocol::{Reply, Request, Status};
use crate::layer::{CompareError, CompareSpec, Finished, ProgressSink, Report, compare};
use crate::serving::Packed;
use coordinator::machine::CoordinatorEvent;
use coordinator::pace::Host;
use coordinator::server::{Clients, ClusterHandle};
use node::control::NodeId;
use node::net::{MessageError, Peer, recv_message, send_message};
use quinn::SendStream;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;

/// Comparisons that may be under way or waiting.
const QUEUE_MAX: usize = 16;
/// News of a comparison that may wait for a slow client; more are dropped.
const NEWS_MAX: usize = 64;
/// How long a client may take for its request, and to take its last reply.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// A cluster with a queue.
#[derive(Debug)]
pub struct Service {
    handle: ClusterHandle,
    out: Option<PathBuf>,
    memory_limit_bytes: Option<u64>,
    /// Names of the nodes, and whether they are suspected.
    names: Mutex<BTreeMap<NodeId, (String, bool)>>,
    /// Tickets, the one under way first.
    queue: watch::Sender<VecDeque<u64>>,
    next_ticket: AtomicU64,
}

impl Service {
    /// Serves `handle`'s cluster; results are kept in `out`. Nodes must register after this.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(handle: ClusterHandle, out: Option<PathBuf>, memory_limit_bytes: Option<u64>) -> Arc<Self> {
        let events = handle.subscribe();
        let service = Arc::new(Self {
            handle,
            out,
            memory_limit_bytes,
            names: Mutex::default(),
            queue: watch::Sender::new(VecDeque::new()),
            next_ticket: AtomicU64::new(0),
        });
        tokio::spawn(follow(Arc::clone(&service), events));
        service
    }

    /// Serves `clients` until the coordinator is shut down.
    pub async fn serve(self: Arc<Self>, mut clients: Clients) {
        while let Some(peer) = clients.recv().await {
            let service = Arc::clone(&self);
            tokio::spawn(async move {
                let name = peer.name.clone();
                if let Err(error) = service.serve_client(peer).await {
                    tracing::warn!("client {name}: {error}");
                }
            });
        }
    }

    /// Runs a comparison when its turn comes and keeps its result; `waiting` is told how many are before it.
    ///
    /// # Errors
    /// [`CompareError`]; [`CompareError::Spec`] also when too many wait.
    pub async fn run(
        &self,
        mut spec: CompareSpec,
        waiting: &mut (dyn FnMut(u32) + Send),
        progress: ProgressSink<'_>,
    ) -> Result<Report, CompareError> {
        spec.memory_limit_bytes = self.memory_limit_bytes;
        let _turn = self.turn(waiting).await?;
        let mut nodes = self.handle.runner();
        let report =
            Box::pin(compare(&spec, Some(&mut nodes), self.host(), &mut Finished::default(), progress))
                .await?;
        if let Some(out) = &self.out {
            match report.save(out) {
                Ok(path) => tracing::info!("results in {}", path.display()),
                Err(error) => tracing::error!("cannot keep results in {}: {error}", out.display()),
            }
        }
        Ok(report)
    }

    /// Where the nodes live: before any is there, this machine.
    fn host(&self) -> Host {
        let own = Host::bridged();
        match self.handle.num_cores() {
            0 => own,
            cores => Host { cores, ..own },
        }
    }

    /// Waits for this caller's turn, which lasts until the ticket is dropped.
    async fn turn(&self, waiting: &mut (dyn FnMut(u32) + Send)) -> Result<Ticket<'_>, CompareError> {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let joined = self.queue.send_if_modified(|queue| {
            let room = queue.len() < QUEUE_MAX;
            if room {
                queue.push_back(number);
            }
            room
        });
        if !joined {
            return Err(CompareError::Busy { waiting: QUEUE_MAX });
        }
        let ticket = Ticket { queue: &self.queue, number };
        let mut queue = self.queue.subscribe();
        loop {
            let ahead = queue.borrow_and_update().iter().position(|&other| other == number).unwrap_or(0);
            if ahead == 0 {
                return Ok(ticket);
            }
            waiting(u32::try_from(ahead).unwrap_or(u32::MAX));
            // The sender is `self`, which outlives this call.
            let _ = queue.changed().await;
        }
    }

    fn status(&self) -> Status {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let those = |silent: bool| {
            let mut those: Vec<String> = names
                .values()
                .filter(|(_, suspected)| *suspected == silent)
                .map(|(name, _)| name.clone())
                .collect();
            those.sort();
            those
        };
        let (nodes, suspected) = (those(false), those(true));
        let comparisons = u32::try_from(self.queue.borrow().len()).unwrap_or(u32::MAX);
        Status { nodes, suspected, comparisons }
    }

    async fn serve_client(&self, peer: Peer) -> Result<(), MessageError> {
        let connection = peer.connection;
        let greeted = timeout(CLIENT_LIMIT, async {
            let (send, mut recv) = connection.accept_bi().await.ok()?;
            Some((send, recv_message::<Request>(&mut recv).await))
        });
        let Ok(Some((mut send, request))) = greeted.await else { return Ok(()) };
        let Some(request) = request? else { return Ok(()) };
        let (news_in, news) = mpsc::channel(NEWS_MAX);
        let waiting_in = news_in.clone();
        // A client that does not read misses news, not results.
        let mut waiting = move |ahead| drop(waiting_in.try_send(Reply::Waiting { ahead }));
        let mut progress = move |progress| drop(news_in.try_send(Reply::Progress(progress)));
        let answer = async {
            match request {
                Request::Status => Reply::Status(self.status()),
                Request::Serve(packed) => self.serve_packed(&packed, &mut waiting).await,
                Request::Drain(node) => match self.handle.drain(&node).await {
                    Ok(()) => Reply::Drained,
                    Err(error) => Reply::Refused { error: error.to_string(), usage: true },
                },
                Request::Compare(spec) => last_reply(self.run(*spec, &mut waiting, &mut progress).await),
            }
        };
        tokio::select! {
            done = tell(Box::pin(answer), news, &mut send) => done?,
            // Nobody is left to tell; the run is given up.
            _ = connection.closed() => return Ok(()),
        }
        let _ = send.finish();
        // The client closes once it has read the reply.
        let _ = timeout(CLIENT_LIMIT, connection.closed()).await;
        Ok(())
    }

    /// Serves when its turn comes.
    async fn serve_packed(&self, packed: &str, waiting: &mut (dyn FnMut(u32) + Send)) -> Reply {
        let refused = |error: String, usage| Reply::Refused { error, usage };
        let packed: Packed = match serde_json::from_str(packed) {
            Ok(packed) => packed,
            Err(error) => return refused(format!("a serving run that can't be read: {error}"), true),
        };
        let _turn = match self.turn(waiting).await {
            Ok(turn) => turn,
            Err(error) => return refused(error.to_string(), error.is_usage()),
        };
        let host = self.host();
        let slower = host.pace.next_power_of_two().trailing_zeros();
        match Box::pin(packed.serve_on(&self.handle, host, slower)).await {
            Err(error) => refused(error.to_string(), error.is_usage()),
            Ok(record) => match serde_json::to_string(&record) {
                Ok(json) => Reply::Report(json),
                Err(error) => refused(error.to_string(), false),
            },
        }
    }
}

/// Sends the news of a run while it is under way, then its last reply.
async fn tell(
    mut run: Pin<Box<impl Future<Output = Reply>>>,
    mut news: mpsc::Receiver<Reply>,
    send: &mut SendStream,
) -> Result<(), MessageError> {
    let last = loop {
        tokio::select! {
            biased;
            Some(reply) = news.recv() => send_message(send, &reply).await?,
            last = &mut run => break last,
        }
    };
    // What it said while it came to its end.
    while let Ok(reply) = news.try_recv() {
        send_message(send, &reply).await?;
    }
    send_message(send, &last).await
}

fn last_reply(result: Result<Report, CompareError>) -> Reply {
    let report = match result {
        Ok(report) => report.to_json(),
        Err(error) => return Reply::Refused { error: error.to_string(), usage: error.is_usage() },
    };
    match report {
        Ok(json) => Reply::Report(json),
        Err(error) => Reply::Refused { error: error.to_string(), usage: false },
    }
}

/// Leaves the queue when dropped.
struct Ticket<'a> {
    queue: &'a watch::Sender<VecDeque<u64>>,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.send_modify(|queue| queue.retain(|&other| other != self.number));
    }
}

/// Keeps the names of the nodes.
async fn follow(service: Arc<Service>, mut events: broadcast::Receiver<CoordinatorEvent>) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!("missed {missed} events: the list of nodes may be out of date");
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let mut names = service.names.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CoordinatorEvent::NodeJoined { node, name, .. } => drop(names.insert(node, (name, false))),
            CoordinatorEvent::NodeSuspected { name, .. } => suspect(&mut names, &name, true),
            CoordinatorEvent::NodeHeard { name } => suspect(&mut names, &name, false),
            CoordinatorEvent::NodeLeft { node, .. } => drop(names.remove(&node)),
            _ => {}
        }
    }
}

fn suspect(names: &mut BTreeMap<NodeId, (String, bool)>, of: &str, silent: bool) {
    for (_, suspected) in names.values_mut().filter(|(name, _)| name == of) {
        *suspected = silent;
    }
}
