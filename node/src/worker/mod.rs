//! The QUIC shell: one process (or task) that hosts one rank, paced by the wall clock.
//!
//! A worker dials the coordinator, registers, and does what it is told until it is told to leave. Rows go directly between
//! workers. The shell stamps nothing itself: it hands frames to QUIC up to a horizon early and delivers each one when the
//! wall clock has reached its stamp times the dilation; how much later that happened is its lateness, and it is reported.

mod active;
mod clock;
mod links;

use crate::control::{FromNode, NodeId, Pacing, SeatPlan, ToNode};
use crate::net::clock::monotonic_ns;
use crate::net::{
    BindError, Endpoint, FineTimer, Identity, LinkError, MessageError, Role, TransportOptions, recv_message,
    send_message, this_machine,
};
use crate::setup::Setup;
use active::{Active, ActiveError};
use links::{Arrival, Links};
use moe::stack::{Column, StepBatch};
use quinn::RecvStream;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Settings of a worker.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Coordinator as `host:port`, resolved again at every attempt.
    pub coordinator: String,
    /// Address to bind; the port is any free one.
    pub bind: IpAddr,
    /// Address that peers dial, if it is not the one bound or the one by which the coordinator is reached.
    pub advertise: Option<IpAddr>,
    /// Certificate, key and authority.
    pub identity: Identity,
    /// Name for people and for the order of seats.
    pub name: String,
    /// How long to look for the coordinator.
    pub connect_timeout: Duration,
    /// Datagram size.
    pub transport: TransportOptions,
}

/// Why a worker ended other than by being told to.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// No port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No coordinator.
    #[error("no coordinator at {address} within {} s: {last}", after.as_secs())]
    NoCoordinator {
        /// Where it was looked for.
        address: String,
        /// How long.
        after: Duration,
        /// What the last attempt said.
        last: String,
    },
    /// The coordinator refused this worker, or shows a foreign certificate.
    #[error(transparent)]
    Refused(#[from] LinkError),
    /// The coordinator is gone.
    #[error("the coordinator's connection ended: {0}; start the coordinator again, then its nodes")]
    CoordinatorLost(String),
    /// The system gave no timer.
    #[error("no timer: {0}")]
    Timer(std::io::Error),
}

/// Frames that wait between the streams and the rank.
const ARRIVALS_MAX: usize = 4096;
const CONTROL_MESSAGES_MAX: usize = 64;
/// Pause between two attempts to reach a coordinator that is not there yet.
const RETRY: Duration = Duration::from_millis(200);
/// How long the last message may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs one worker until the coordinator tells it to leave.
///
/// # Errors
/// [`WorkerError`] when it never found the coordinator or lost it.
pub async fn run_worker(config: WorkerConfig) -> Result<(), WorkerError> {
    let endpoint = Endpoint::bind(SocketAddr::new(config.bind, 0), &config.identity, config.transport)?;
    let result = serve(&config, &endpoint).await;
    let _ = timeout(FAREWELL, endpoint.close("worker leaves")).await;
    result
}

async fn serve(config: &WorkerConfig, endpoint: &Endpoint) -> Result<(), WorkerError> {
    let coordinator = find_coordinator(config, endpoint).await?;
    let (mut send, recv) = coordinator.connection.open_bi().await.map_err(|error| lost(&error))?;
    let port = endpoint.local_address().port();
    let host = config.advertise.or_else(|| coordinator.connection.local_ip()).unwrap_or(config.bind);
    let register = FromNode::Register {
        name: config.name.clone(),
        address: SocketAddr::new(host, port),
        machine: this_machine(),
    };
    send_message(&mut send, &register).await.map_err(|error| lost(&error))?;

    let (commands_in, mut commands) = mpsc::channel(CONTROL_MESSAGES_MAX);
    let _reader = AbortOnDrop(tokio::spawn(read_commands(recv, commands_in)));
    let (arrivals_in, mut arrivals) = mpsc::channel(ARRIVALS_MAX);
    let links = Links::new(endpoint.clone(), arrivals_in);
    let mut timer = FineTimer::new().map_err(WorkerError::Timer)?;
    let (node, active, replies) = (NodeId(0), Vec::new(), VecDeque::new());
    let mut worker = Worker { links, node, active, prepared: 0, preparing: 0, replies };
    loop {
        let deadline_ns = worker.active.iter().map(Active::deadline_ns).min().unwrap_or(u64::MAX);
        // A deadline in the past is ready without yielding: QUIC's own tasks must get their turn all the same.
        tokio::task::yield_now().await;
        let outcome = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Ok(Some(ToNode::Shutdown))) => return Ok(()),
                Some(Ok(Some(command))) => worker.handle_command(command).await,
                Some(Ok(None)) | None => return Err(lost(&"it closed the control stream")),
                Some(Err(error)) => return Err(lost(&error)),
            },
            () = timer.sleep_until(deadline_ns), if deadline_ns != u64::MAX => Ok(()),
            arrival = arrivals.recv() => worker.handle_arrival(arrival.expect("links hold a sender")),
            (half, output) = Active::job_done(&mut worker.active) => worker.active[half].handle_output(output),
        };
        if let Err(error) = outcome.and_then(|()| worker.pump(&mut arrivals)) {
            let run = worker.run().unwrap_or(0);
            worker.active.clear();
            worker.replies.push_back(FromNode::Failed { run, error: error.to_string() });
        }
        while let Some(reply) = worker.replies.pop_front() {
            send_message(&mut send, &reply).await.map_err(|error| lost(&error))?;
        }
    }
}

fn lost(error: &dyn std::fmt::Display) -> WorkerError {
    WorkerError::CoordinatorLost(error.to_string())
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reading a message is not cancel safe, so it has a task of its own.
async fn read_commands(mut recv: RecvStream, commands: mpsc::Sender<Result<Option<ToNode>, MessageError>>) {
    loop {
        let message = recv_message(&mut recv).await;
        let more = matches!(message, Ok(Some(_)));
        if commands.send(message).await.is_err() || !more {
            return;
        }
    }
}

/// What a registered worker is: its links and the run it takes part in, if any.
struct Worker {
    links: Links,
    node: NodeId,
    /// A seat for each half of a batch.
    active: Vec<Active>,
    /// Steps of the run that were asked to be prepared.
    prepared: u32,
    /// Halves that are not prepared yet.
    preparing: usize,
    replies: VecDeque<FromNode>,
}

impl Worker {
    /// Does what the coordinator says. A command of another run than the one under way was sent before an abort: ignored.
    async fn handle_command(&mut self, command: ToNode) -> Result<(), ActiveError> {
        let under_way = self.run();
        match command {
            ToNode::Welcome { node } => self.node = node,
            ToNode::Ping { sent_ns } => {
                self.replies.push_back(FromNode::Pong { sent_ns, node_ns: monotonic_ns() });
            }
            ToNode::Configure { setup, seats, pacing } => self.configure(setup, &seats, pacing).await,
            ToNode::Abort { run } if under_way == Some(run) => self.active.clear(),
            ToNode::Prepare { run, step, columns } if under_way == Some(run) => {
                return self.prepare(step, columns);
            }
            ToNode::Begin { run, step, stop, start_at_ns } if under_way == Some(run) => {
                let prepared = self.prepared;
                if step.checked_add(1) != Some(prepared) {
                    return Err(ActiveError::Step { what: "begin", step, prepared });
                }
                return self.on_half(stop.half, |active| active.begin(stop, start_at_ns));
            }
            ToNode::Abort { .. } | ToNode::Prepare { .. } | ToNode::Begin { .. } | ToNode::Shutdown => {}
        }
        Ok(())
    }

    /// Takes a seat in a run, and says whether that went well.
    async fn configure(&mut self, setup: Arc<Setup>, seats: &SeatPlan, pacing: Pacing) {
        let run = setup.run;
        self.active.clear();
        let reply = match self.take_seat(setup, seats, pacing).await {
            Ok(()) => FromNode::Configured { run },
            Err(error) => FromNode::Failed { run, error: error.to_string() },
        };
        self.replies.push_back(reply);
    }

    async fn take_seat(
        &mut self,
        setup: Arc<Setup>,
        seats: &SeatPlan,
        pacing: Pacing,
    ) -> Result<(), ActiveError> {
        let Some(place) = Active::place_of(self.node, &setup, seats)? else { return Ok(()) };
        self.links.connect(self.node, seats).await?;
        self.prepared = 0;
        self.active = Active::seats(place, setup, seats, pacing, &self.links)?;
        Ok(())
    }

    /// Takes up the next step: in a whole model with a column for each half.
    fn prepare(&mut self, step: u32, columns: Vec<Column>) -> Result<(), ActiveError> {
        let prepared = self.prepared;
        if step != prepared {
            return Err(ActiveError::Step { what: "prepare", step, prepared });
        }
        let whole = self.active.first().is_some_and(|active| active.setup().program.stack().is_some());
        let (got, due) = (columns.len(), if whole { self.active.len() } else { 0 });
        if got != due {
            return Err(ActiveError::Columns { got, due });
        }
        let batch = StepBatch { columns };
        batch.validate(u32::try_from(due).expect("a batch has two halves at most"))?;
        (self.prepared, self.preparing) = (step.saturating_add(1), self.active.len());
        let mut columns = batch.columns.into_iter();
        let each = |active: &mut Active| active.prepare(step, columns.next().unwrap_or_default());
        self.active.iter_mut().try_for_each(each)
    }

    /// A frame without a run to belong to is one that an abort left behind.
    fn handle_arrival(&mut self, arrival: Arrival) -> Result<(), ActiveError> {
        let frame = arrival?;
        self.on_half(frame.flow.micro_batch, |active| active.handle_arrival(frame))
    }

    /// Number of the run under way.
    fn run(&self) -> Option<u64> {
        self.active.first().map(|active| active.setup().run)
    }

    /// Nothing where there is no run; what belongs to a half that this one hasn't is another run's.
    fn on_half(
        &mut self,
        half: u16,
        act: impl FnOnce(&mut Active) -> Result<(), ActiveError>,
    ) -> Result<(), ActiveError> {
        self.active.get_mut(usize::from(half)).map_or(Ok(()), act)
    }

    /// Takes in what has arrived, then does all that is due.
    fn pump(&mut self, arrivals: &mut mpsc::Receiver<Arrival>) -> Result<(), ActiveError> {
        while let Ok(arrival) = arrivals.try_recv() {
            self.handle_arrival(arrival)?;
        }
        for active in &mut self.active {
            active.pump(&self.links)?;
            while let Some(message) = active.poll_message() {
                if let FromNode::Prepared { .. } = message {
                    self.preparing = self.preparing.saturating_sub(1);
                    if self.preparing > 0 {
                        continue;
                    }
                }
                self.replies.push_back(message);
            }
        }
        Ok(())
    }
}

async fn find_coordinator(
    config: &WorkerConfig,
    endpoint: &Endpoint,
) -> Result<crate::net::Peer, WorkerError> {
    let give_up = Instant::now() + config.connect_timeout;
    let mut last = String::from("no attempt was made");
    while Instant::now() < give_up {
        match tokio::net::lookup_host(&config.coordinator).await.map(|mut found| found.next()) {
            Ok(Some(address)) => match endpoint.dial(address, Role::Coordinator).await {
                Ok(peer) => return Ok(peer),
                Err(
                    error @ (LinkError::Silent { .. } | LinkError::Dial { .. } | LinkError::Failed { .. }),
                ) => {
                    last = error.to_string();
                }
                Err(error) => return Err(error.into()),
            },
            Ok(None) => last = "the name has no address".to_owned(),
            Err(error) => last = error.to_string(),
        }
        sleep(RETRY).await;
    }
    Err(WorkerError::NoCoordinator {
        address: config.coordinator.clone(),
        after: config.connect_timeout,
        last,
    })
}
