//! `railyard coordinator`: forms a cluster, runs a comparison on it, and serves clients until it is told to stop.

use super::block_on;
use super::certs::COORDINATOR;
use crate::cli::CoordinatorArgs;
use crate::failure::Failure;
use crate::manifest::Begun;
use crate::output;
use crate::pages;
use crate::programs::programs;
use crate::progress::Meter;
use ::coordinator::local::Interrupts;
use ::coordinator::pace::Host;
use ::coordinator::{ClusterHandle, Limits, ServerConfig, server};
use node::net::{Identity, TransportOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use study::layer::{self, CompareSpec, Page};
use study::service::{ClientError, Saved, Service, ServiceOptions};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;

pub(crate) fn run(args: &CoordinatorArgs) -> Result<(), Failure> {
    let spec = spec(args)?;
    if !args.no_first_run {
        layer::check(&spec, true)?;
    }
    let identity = Identity::load(&args.certs, COORDINATOR).map_err(Failure::usage)?;
    let forming = Duration::from_secs(args.forming_limit.into());
    let config = ServerConfig {
        bind: args.listen,
        identity,
        transport: TransportOptions { datagram_bytes: args.datagram_bytes },
        limits: Limits {
            return_ns: u64::from(args.return_limit) * 1_000_000_000,
            slow_steps: args.slow_steps,
            ..Limits::default()
        },
    };
    let begun = args.out.as_deref().map(Begun::now).transpose()?;
    block_on(async {
        let mut interrupts = Interrupts::listen().map_err(Failure::failed)?;
        let (handle, clients) = server::start(config).map_err(Failure::failed)?;
        let options = ServiceOptions {
            out: args.out.clone(),
            state: args.state.clone().or_else(|| args.out.clone()),
            memory_limit_bytes: args.spec.memory_limit,
            host: Host::bridged(),
            forming,
        };
        let service = Service::start(handle.clone(), options).map_err(Failure::failed)?;
        if let Some((begun, out)) = begun.zip(args.out.clone()) {
            tokio::spawn(keep_pages(service.watch_saved(), begun, out));
        }
        tokio::spawn(Arc::clone(&service).serve(clients));
        output::say(&format!("listening on {}", handle.address()));
        super::ui::open(&args.ui, &service, &handle, args.spec.memory_limit).await?;
        match service.state() {
            Some(file) => {
                output::say(&format!("jobs in {}: {} to go on with", file.display(), service.num_jobs()))
            }
            None => output::say(
                "jobs are kept in memory; with --state DIR the next coordinator goes on with them",
            ),
        }
        if !args.no_first_run {
            first_run(args, spec, &handle, &service, forming).await?;
        }
        output::say("serving clients");
        interrupts.next().await;
        service.stop();
        // Its nodes wait for the next coordinator.
        handle.close().await;
        Ok(())
    })
}

/// Enters each result that is saved in the manifest and the page of its directory.
async fn keep_pages(mut saved: Receiver<Saved>, begun: Begun, out: PathBuf) {
    let begun = Arc::new(begun);
    loop {
        let Saved { path, seeds } = match saved.recv().await {
            Ok(saved) => saved,
            // The page has what the directory has, whatever was missed.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let (begun, out) = (Arc::clone(&begun), out.clone());
        let entered = spawn_blocking(move || pages::enter_saved(&begun, &out, &path, &seeds)).await;
        if let Ok(Err(failure)) = entered {
            output::complain(&failure);
        }
    }
}

/// The first comparison: all nodes take part where the words don't tell how many.
fn spec(args: &CoordinatorArgs) -> Result<CompareSpec, Failure> {
    let mut layer = args.spec.clone();
    if layer.scenario.said_of_racks().is_empty() && !layer.scenario.names_racks() {
        layer.scenario.ranks = Some(args.nodes);
    }
    layer.spec(programs().map_err(Failure::Usage)?).map_err(Failure::usage)
}

/// Waits for the nodes and prints a comparison. A run that fails is told; the cluster goes on serving.
async fn first_run(
    args: &CoordinatorArgs,
    spec: CompareSpec,
    handle: &ClusterHandle,
    service: &Arc<Service>,
    forming: Duration,
) -> Result<(), Failure> {
    if let Some(report) = service.finished_before(&spec) {
        output::say(
            "the first comparison was finished before; this is what it yielded (to measure again, ask as a client)",
        );
        return output::print(&report.to_text(Page::default()));
    }
    output::say(&format!("waiting for {} nodes", args.nodes));
    handle.wait_for_nodes(args.nodes, forming).await.map_err(Failure::failed)?;
    let meter = Meter::new(false);
    let mut progress = |news| meter.show(&news);
    match Box::pin(service.run(&spec, &mut progress)).await {
        Ok(report) => output::print(&report.to_text(Page::default())),
        Err(error) => {
            if let ClientError::Refused { incomplete: Some(report), .. } = &error {
                output::print(&report.to_text(Page::default()))?;
            }
            output::say(&format!("railyard: the first comparison failed: {error}"));
            Ok(())
        }
    }
}
