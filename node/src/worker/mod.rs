//! The QUIC shell: one process (or task) that hosts one rank, paced by the wall clock.
//!
//! A worker dials the coordinator, registers, and does what it is told until it is told to leave. Rows go directly between
//! workers. The shell stamps nothing itself: it hands frames to QUIC up to a horizon early and delivers each one when the
//! wall clock has reached its stamp times the dilation; how much later that happened is its lateness, and it is reported.

mod active;
mod clock;
mod error;
mod line;
mod links;
mod tally;

use crate::control::{FromNode, Losses, NodeId, Pacing, SeatPlan, Standing, ToNode, WAITS_MAX};
use crate::net::{Endpoint, FineTimer, Identity, TransportOptions};
use crate::setup::Setup;
use active::Active;
use error::ActiveError;
pub use error::WorkerError;
use line::{FAREWELL, Line, Registration};
use links::{Arrival, Links};
use moe::stack::{Column, StepBatch};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
pub use tally::{Counted, CountedPhase, Tally};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Settings of a worker.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Coordinator as `host:port`, resolved again at every attempt.
    pub coordinator: String,
    /// Address that peers dial; port 0 is any free one.
    pub bind: SocketAddr,
    /// Address that peers dial, if it is not the one bound or the one by which the coordinator is reached.
    pub advertise: Option<IpAddr>,
    /// Certificate, key and authority.
    pub identity: Identity,
    /// Name for people and for the order of seats.
    pub name: String,
    /// How long to look for the coordinator.
    pub connect_timeout: Duration,
    /// How long to look for it again once it is gone; `None` to leave then.
    pub rejoin: Option<Duration>,
    /// Datagram size.
    pub transport: TransportOptions,
    /// Whether this process is there for one run's sake, and may be ended by a fault of it.
    pub mortal: bool,
    /// What it counts, for whoever shows it.
    pub tally: Arc<Tally>,
}

/// How often a worker that takes part in a run says whom it waits for.
const LOOK: Duration = Duration::from_millis(500);
/// How long a process that a fault freezes for good stands still before it ends: longer than a coordinator waits for its beats.
const FROZEN: Duration = Duration::from_secs(2);
/// Exit code of a process that a fault has ended, as of one that SIGKILL has.
const KILLED: i32 = 137;
/// Commands that may come while a seat is taken.
const QUEUED_MAX: usize = 64;
/// Frames that wait between the streams and the rank.
const ARRIVALS_MAX: usize = 4096;

/// Runs one worker until the coordinator tells it to leave, or `stop` ends, which says why. Either way, and should it panic, its peers
/// and the coordinator are told that it is gone.
///
/// # Errors
/// [`WorkerError`] when it never found the coordinator or lost it.
///
/// # Panics
/// As its work does.
pub async fn run_worker(config: WorkerConfig, stop: impl Future<Output = String>) -> Result<(), WorkerError> {
    let endpoint = Endpoint::bind(config.bind, &config.identity, config.transport)?;
    let (mortal, tally) = (config.mortal, Arc::clone(&config.tally));
    let mut line = Line::start(Arc::new(config), endpoint.local_address().port())?;
    let (registered_in, registered) = mpsc::channel(1);
    // A task of its own, so that a panic comes here.
    let mut work = tokio::spawn(work(endpoint.clone(), registered, mortal, tally));
    let mut stop = std::pin::pin!(stop);
    let (reason, ended) = loop {
        tokio::select! {
            biased;
            reason = &mut stop => break (reason, None),
            ended = &mut work => break ("worker leaves".to_owned(), Some(ended)),
            registration = line.next() => match registration {
                // Where there is no room the worker has not even taken up the last one.
                Some(registration) => drop(registered_in.send(registration).await),
                None => {
                    work.abort();
                    let ended = line.ended().await;
                    let _ = timeout(FAREWELL, endpoint.close("worker leaves")).await;
                    return ended;
                }
            },
        }
    };
    let panic = ended.as_ref().and_then(|ended| ended.as_ref().err()).is_some_and(|error| error.is_panic());
    let reason = if panic { "it panicked; see its log".to_owned() } else { reason };
    let close = async { tokio::join!(line.close(reason.clone()), endpoint.close(&reason)) };
    let _ = timeout(FAREWELL, close).await;
    match ended {
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(Ok(ended)) => ended,
        Some(Err(_)) | None => Ok(()),
    }
}

/// Serves one registration after the other.
async fn work(
    endpoint: Endpoint,
    mut registered: mpsc::Receiver<Registration>,
    mortal: bool,
    tally: Arc<Tally>,
) -> Result<(), WorkerError> {
    let mut timer = FineTimer::new().map_err(WorkerError::Timer)?;
    while let Some(registration) = registered.recv().await {
        tally.set_registered(true);
        serve(&endpoint, registration, &mut timer, (mortal, &tally)).await;
        tally.set_registered(false);
        tally.set_seats(0);
    }
    Ok(())
}

/// Does what the coordinator says until the registration ends. The links end with it: to its peers the node has another number next time.
async fn serve(
    endpoint: &Endpoint,
    mut registration: Registration,
    timer: &mut FineTimer,
    (mortal, tally): (bool, &Tally),
) {
    let (arrivals_in, mut arrivals) = mpsc::channel(ARRIVALS_MAX);
    let links = Links::new(endpoint.clone(), arrivals_in);
    let (node, active, replies) = (NodeId(0), Vec::new(), VecDeque::new());
    let mut worker = Worker { links, node, active, prepared: 0, preparing: 0, replies, mortal };
    let mut looked = Instant::now();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut queued = VecDeque::new();
    loop {
        let deadline_ns = worker.active.iter().map(Active::deadline_ns).min().unwrap_or(u64::MAX);
        // A deadline in the past is ready without yielding: QUIC's own tasks must get their turn all the same.
        tokio::task::yield_now().await;
        let outcome = tokio::select! {
            biased;
            command = next_command(&mut queued, &mut registration.commands) => match command {
                Some(ToNode::Configure { setup, seats, pacing }) => {
                    let seat = (setup, seats, pacing);
                    queued.extend(worker.configure(seat, &mut registration.commands).await);
                    Ok(())
                }
                Some(command) => worker.handle_command(command),
                None => return,
            },
            () = timer.sleep_until(deadline_ns), if deadline_ns != u64::MAX => Ok(()),
            _ = look.tick(), if !worker.active.is_empty() => {
                worker.tell_standing(looked.elapsed().saturating_sub(LOOK));
                looked = Instant::now();
                Ok(())
            }
            arrival = arrivals.recv() => worker.handle_arrival(arrival.expect("links hold a sender")),
            (half, output) = Active::job_done(&mut worker.active) => worker.active[half].handle_output(output),
        };
        if let Err(error) = outcome.and_then(|()| worker.pump(&mut arrivals, tally)) {
            if let ActiveError::Ended { killed, .. } = error
                && worker.mortal
            {
                die(&error, killed, &registration);
            }
            tally.fail();
            worker.fail(error);
        }
        tally.set_seats(worker.active.len());
        while let Some(reply) = worker.replies.pop_front() {
            if registration.answers.send(reply).await.is_err() {
                return;
            }
        }
    }
}

/// Ends this process as a fault says: at once, or after it has been silent for so long that it is missed. Nobody is told.
fn die(error: &ActiveError, killed: bool, registration: &Registration) -> ! {
    tracing::warn!("{error}");
    if !killed {
        registration.silent.store(true, Ordering::Relaxed);
        std::thread::sleep(FROZEN);
    }
    std::process::exit(KILLED)
}

/// The next command, of those that came while a seat was taken or of the line. Cancel safe.
async fn next_command(
    queued: &mut VecDeque<ToNode>,
    commands: &mut mpsc::Receiver<ToNode>,
) -> Option<ToNode> {
    match queued.pop_front() {
        Some(command) => Some(command),
        None => commands.recv().await,
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
    /// As in [`WorkerConfig`].
    mortal: bool,
}

impl Worker {
    /// Does what the coordinator says. A command of another run than the one under way was sent before an abort: ignored.
    fn handle_command(&mut self, command: ToNode) -> Result<(), ActiveError> {
        let under_way = self.run();
        match command {
            ToNode::Welcome { node, .. } => self.node = node,
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
            ToNode::Abort { .. } | ToNode::Prepare { .. } | ToNode::Begin { .. } => {}
            // Those are taken elsewhere: seats with their links, the rest by the line.
            ToNode::Configure { .. }
            | ToNode::Beat
            | ToNode::Ping { .. }
            | ToNode::Shutdown
            | ToNode::Health { .. } => {}
        }
        Ok(())
    }

    /// Takes a seat in a run, and says whether that went well. Links with peers may take long to come, or never do: an abort of the run, or
    /// another seat, ends the wait. What else comes meanwhile is returned, in order.
    async fn configure(
        &mut self,
        (setup, seats, pacing): (Arc<Setup>, Arc<SeatPlan>, Pacing),
        commands: &mut mpsc::Receiver<ToNode>,
    ) -> Vec<ToNode> {
        let run = setup.run;
        self.active.clear();
        let mut queued = Vec::new();
        let taken = {
            let mut taking = std::pin::pin!(self.take_seat(setup, &seats, pacing));
            loop {
                tokio::select! {
                    biased;
                    command = commands.recv() => match command {
                        Some(ToNode::Abort { run: aborted }) if aborted == run => return queued,
                        Some(command @ ToNode::Configure { .. }) => {
                            queued.push(command);
                            return queued;
                        }
                        Some(command) if queued.len() < QUEUED_MAX => queued.push(command),
                        // The line is at its end, or says what nobody means.
                        _ => return queued,
                    },
                    taken = &mut taking => break taken,
                }
            }
        };
        self.replies.push_back(match taken {
            Ok(()) => FromNode::Configured { run },
            Err(error) => failed(run, &error),
        });
        queued
    }

    async fn take_seat(
        &mut self,
        setup: Arc<Setup>,
        seats: &SeatPlan,
        pacing: Pacing,
    ) -> Result<(), ActiveError> {
        let Some(place) = Active::place_of(self.node, &setup, seats)? else { return Ok(()) };
        if setup.faults.ends_ranks() && !self.mortal {
            return Err(ActiveError::Immortal);
        }
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

    /// The run can't go on here.
    fn fail(&mut self, error: ActiveError) {
        if let Some(run) = self.run() {
            self.replies.push_back(failed(run, &error));
        } else {
            tracing::warn!("{error}");
        }
        self.active.clear();
    }

    /// A frame without a run to belong to is one that an abort left behind; what a node sends that has no seat is no frame of this run,
    /// and its link no link of it.
    fn handle_arrival(&mut self, (peer, arrival): Arrival) -> Result<(), ActiveError> {
        match self.active.first().map(|active| active.rank_of(peer)) {
            None => Ok(()),
            Some(None) => {
                if let Err(error) = arrival {
                    tracing::info!("outside of the run: {error}");
                }
                Ok(())
            }
            Some(Some(rank)) => {
                let frame = arrival?;
                self.on_half(frame.flow.micro_batch, |active| active.handle_arrival(rank, frame))
            }
        }
    }

    /// Says whom this worker waits for. `held` is how much later than it was due it came to it.
    fn tell_standing(&mut self, held: Duration) {
        let Some(run) = self.run() else { return };
        let mut waits_for: Vec<_> = self.active.iter().flat_map(Active::waits_for).collect();
        waits_for.sort_unstable();
        waits_for.dedup();
        let waits = u32::try_from(waits_for.len()).unwrap_or(u32::MAX);
        waits_for.truncate(WAITS_MAX);
        let held_ns = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
        let losses = self.losses();
        self.replies.push_back(FromNode::Waits(Standing { run, waits_for, waits, held_ns, losses }));
    }

    /// The link to a rank of the run that has lost most packets.
    fn losses(&self) -> Option<Losses> {
        let active = self.active.first()?;
        let lossy = self.links.losses().filter(|(_, lost, _)| *lost > 0);
        let seated =
            lossy.filter_map(|(node, lost, sent)| Some(Losses { to: active.rank_of(node)?, lost, sent }));
        seated.max_by_key(|losses| losses.lost)
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
    fn pump(&mut self, arrivals: &mut mpsc::Receiver<Arrival>, tally: &Tally) -> Result<(), ActiveError> {
        while let Ok(arrival) = arrivals.try_recv() {
            self.handle_arrival(arrival)?;
        }
        for active in &mut self.active {
            active.pump(&self.links, tally)?;
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

fn failed(run: u64, error: &ActiveError) -> FromNode {
    let peer = if let ActiveError::Link(link) = error { link.peer() } else { None };
    FromNode::Failed { run, error: error.to_string(), peer }
}
