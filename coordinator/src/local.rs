//! A cluster on this machine: a coordinator in this process and its workers, as processes or as tasks, all gone when it is dropped.
//!
//! No worker outlives its coordinator. An orderly end tells them to leave; an error, a panic or Ctrl-C drops the [`LocalCluster`],
//! which kills them; and should this process be killed outright, the pipe to each worker's stdin closes, upon which a worker that
//! was started with `--leave-with-stdin` ends (see [`stdin_closed`]), as it does at the latest when its connection falls silent.

mod error;
mod process;

pub use error::LocalError;

use crate::error::RunError;
use crate::machine::Limits;
use crate::run::{RunRequest, Runner, StepRecord};
use crate::server::{self, ClusterHandle, NodeRunner, ServerConfig};
use moe::stack::StepBatch;
use node::net::{ClusterCa, Role, TransportOptions};
use node::worker::{WorkerConfig, WorkerError, run_worker};
use process::Processes;
use std::convert::Infallible;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use topology::Cluster;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Name of the coordinator in its certificate.
const COORDINATOR_NAME: &str = "coordinator";
/// How long a worker looks for its coordinator, which is there before it.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How often workers that end are started anew in one step, before the run ends: what kills them may be the step itself.
const RESTARTS_MAX: u32 = 3;
/// How often workers are started anew by [`LocalCluster::tend`].
const TENDED_MAX: u32 = 100;
/// How long workers may take to end after they were told to leave, before they are killed.
const EXIT_LIMIT: Duration = Duration::from_secs(3);

/// What the workers are.
#[derive(Clone, Debug)]
pub enum WorkerKind {
    /// Processes of `program`, started as `program node --coordinator HOST:PORT --certs DIR --name NAME --leave-with-stdin`.
    Processes {
        /// The executable, for instance [`std::env::current_exe`].
        program: PathBuf,
    },
    /// Tasks of this process.
    Tasks,
}

/// Settings of a local cluster.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// One worker a name, each a DNS label, such as [`rack_names`] gives.
    pub names: Vec<String>,
    /// Processes or tasks.
    pub workers: WorkerKind,
    /// Datagram size.
    pub transport: TransportOptions,
    /// How long to wait for what.
    pub limits: Limits,
}

/// Names of all ranks, `rack0-0` and so on: nodes so named are seated in this order.
#[must_use]
pub fn rack_names(cluster: &Cluster) -> Vec<String> {
    cluster
        .ranks()
        .map(|rank| format!("rack{}-{}", cluster.rack_of(rank).0, cluster.index_in_rack(rank)))
        .collect()
}

/// Ends when this process's stdin is at its end, which for a local worker means that its coordinator is gone.
///
/// A thread of its own reads; it holds up neither a runtime nor the end of the process.
#[must_use]
pub fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        let mut stdin = io::stdin();
        while stdin.read(&mut sink).is_ok_and(|bytes| bytes > 0) {}
        // Whoever waited may be gone.
        let _ = closed.send(());
    });
    end
}

/// Ctrl-C and SIGTERM. From its making on, neither ends this process by itself.
#[derive(Debug)]
pub struct Interrupts {
    int: Signal,
    term: Signal,
}

impl Interrupts {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the system said.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    /// The next one; one that came since the last call counts. Cancel safe.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}

/// Workers of either kind.
#[derive(Debug)]
enum Workers {
    Processes(Box<Processes>),
    Tasks(JoinSet<(String, Result<(), WorkerError>)>),
}

/// A coordinator and its workers on this machine.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: NodeRunner,
    workers: Workers,
    interrupts: Interrupts,
    /// Number of workers started: no more will come.
    size: u32,
    /// Workers started anew in the step under way.
    restarts: u32,
    /// Those that faults of the run may end.
    deaths: u32,
}

impl LocalCluster {
    /// Starts a coordinator with a certificate authority of its own and all workers, and waits until they have registered.
    ///
    /// # Errors
    /// [`LocalError`]; what was started is gone by then.
    pub async fn start(config: LocalConfig) -> Result<Self, LocalError> {
        let interrupts = Interrupts::listen().map_err(LocalError::Signal)?;
        let authority = ClusterCa::new()?;
        let server = ServerConfig {
            bind: (LOOPBACK, 0).into(),
            identity: authority.issue(COORDINATOR_NAME, Role::Coordinator)?,
            transport: config.transport,
            limits: config.limits,
        };
        // Clients have no certificate of this authority.
        let (handle, _) = server::start(server)?;
        let address = handle.address().to_string();
        let workers = match &config.workers {
            WorkerKind::Tasks => {
                let mut tasks = JoinSet::new();
                for name in config.names.iter().cloned() {
                    let worker = WorkerConfig {
                        coordinator: address.clone(),
                        bind: (LOOPBACK, 0).into(),
                        advertise: None,
                        identity: authority.issue(&name, Role::Node)?,
                        name: name.clone(),
                        connect_timeout: CONNECT_LIMIT,
                        rejoin: None,
                        transport: config.transport,
                        mortal: false,
                        tally: std::sync::Arc::default(),
                    };
                    tasks.spawn(async move { (name, run_worker(worker, std::future::pending()).await) });
                }
                Workers::Tasks(tasks)
            }
            WorkerKind::Processes { program } => {
                let processes = Processes::start(program.clone(), address, authority, &config.names)?;
                Workers::Processes(Box::new(processes))
            }
        };
        let size = u32::try_from(config.names.len()).unwrap_or(u32::MAX);
        let mut cluster = Self { nodes: handle.runner(), workers, interrupts, size, restarts: 0, deaths: 0 };
        let forming = Duration::from_nanos(config.limits.forming_ns);
        let Self { workers, interrupts, .. } = &mut cluster;
        tokio::select! {
            biased;
            () = interrupts.next() => return Err(RunError::Interrupted.into()),
            (_, error) = first_end(workers) => return Err(error.into()),
            formed = handle.wait_for_nodes(size, forming) => formed?,
        }
        if let Workers::Processes(processes) = &mut cluster.workers {
            processes.forget_certificates();
        }
        Ok(cluster)
    }

    /// The coordinator.
    #[must_use]
    pub fn handle(&self) -> &ClusterHandle {
        self.nodes.handle()
    }

    /// Process ids of the workers, in the order of their names; none for tasks.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        match &self.workers {
            Workers::Processes(processes) => processes.ids(),
            Workers::Tasks(_) => Vec::new(),
        }
    }

    /// Starts workers anew that end, a hundred times in all, until that is too often or Ctrl-C is pressed: returns which. For whoever
    /// runs programs on [`Self::handle`] itself.
    pub async fn tend(&mut self) -> RunError {
        let handle = self.handle().clone();
        let Self { workers, interrupts, restarts, .. } = self;
        let forever = std::future::pending::<Result<Infallible, RunError>>();
        match mending(&handle, workers, interrupts, (restarts, TENDED_MAX), forever).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Tells the workers to leave, waits for them a few seconds at most, and kills those that stay. After an error it is quicker to
    /// drop the cluster, which kills at once.
    pub async fn shutdown(mut self) {
        self.handle().shutdown().await;
        let all_ended = async {
            match &mut self.workers {
                Workers::Processes(processes) => processes.all_end().await,
                Workers::Tasks(tasks) => while tasks.join_next().await.is_some() {},
            }
        };
        // What is left is killed as `self` is dropped.
        let _ = timeout(EXIT_LIMIT, all_ended).await;
    }
}

/// As [`NodeRunner`], and ends at once when Ctrl-C is pressed. A worker process that ends is started anew, a few times in a step.
impl Runner for LocalCluster {
    async fn open(&mut self, request: &RunRequest) -> Result<(), RunError> {
        let needed = request.setup.cluster.num_ranks();
        if self.size < needed {
            return Err(RunError::TooFewNodes { there: self.size, needed });
        }
        self.deaths = request.setup.faults.deaths(&request.setup.cluster);
        let handle = self.handle().clone();
        let Self { nodes, workers, interrupts, restarts, deaths, .. } = self;
        *restarts = 0;
        let limit = RESTARTS_MAX.saturating_add(*deaths);
        mending(&handle, workers, interrupts, (restarts, limit), nodes.open(request)).await
    }

    async fn step(&mut self, batch: &StepBatch) -> Result<StepRecord, RunError> {
        let handle = self.handle().clone();
        let Self { nodes, workers, interrupts, restarts, deaths, .. } = self;
        let limit = RESTARTS_MAX.saturating_add(*deaths);
        let record = mending(&handle, workers, interrupts, (restarts, limit), nodes.step(batch)).await?;
        if std::mem::take(restarts) > 0
            && let Workers::Processes(processes) = workers
        {
            processes.forget_certificates();
        }
        Ok(record)
    }

    fn close(&mut self) {
        self.nodes.close();
    }
}

/// What `work` yields, unless workers end that can't be started anew, or Ctrl-C is pressed.
async fn mending<T>(
    handle: &ClusterHandle,
    workers: &mut Workers,
    interrupts: &mut Interrupts,
    (restarts, limit): (&mut u32, u32),
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let mut work = std::pin::pin!(work);
    loop {
        let (at, error) = tokio::select! {
            biased;
            () = interrupts.next() => return Err(RunError::Interrupted),
            ended = first_end(workers) => ended,
            result = &mut work => return result,
        };
        match workers {
            Workers::Processes(processes) if *restarts < limit && !matches!(error, RunError::Interrupted) => {
                *restarts += 1;
                tracing::warn!("{error}; it is started anew");
                handle.give_up(processes.name(at), &error.to_string()).await;
                if let Err(again) = processes.restart(at) {
                    tracing::error!("{again}");
                    return Err(error);
                }
            }
            _ => return Err(error),
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Processes are killed as they are dropped. Tasks are told to leave by the coordinator, which shuts down with its last
        // handle: an aborted task would leave its connections open.
        if let Workers::Tasks(tasks) = &mut self.workers {
            tasks.detach_all();
        }
    }
}

/// The first worker that ends, which none should: which one, and how. Cancel safe.
async fn first_end(workers: &mut Workers) -> (usize, RunError) {
    match workers {
        Workers::Processes(processes) => processes.first_end().await,
        Workers::Tasks(tasks) => match tasks.join_next().await {
            None => std::future::pending().await,
            Some(ended) => {
                let (name, status) = match ended {
                    Ok((name, Ok(()))) => (name, "it was told to leave".to_owned()),
                    Ok((name, Err(error))) => (name, error.to_string()),
                    Err(error) => ("of this process".to_owned(), error.to_string()),
                };
                (0, RunError::Worker { name, status, last_line: None })
            }
        },
    }
}

#[cfg(test)]
mod tests;
