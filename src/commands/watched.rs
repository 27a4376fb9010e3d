//! `railyard compare --ui`: workers of this machine behind a page, on which the comparison is watched and others are tried.

use super::workers::{host_of, start_workers};
use crate::cli::CompareArgs;
use crate::failure::Failure;
use crate::output;
use crate::progress::Meter;
use ::coordinator::RunError;
use anyhow::anyhow;
use std::time::Duration;
use study::layer::{BackendKind, CompareSpec, Report};
use study::service::{ClientError, Service, ServiceOptions};

/// How long a comparison waits for workers that are started anew.
const FORMING: Duration = Duration::from_secs(60);

/// Runs `spec` on workers here, shows it on a page, prints it, and serves the page until Ctrl-C.
pub(super) async fn run(
    spec: &CompareSpec,
    args: &CompareArgs,
    meter: &Meter,
    print: impl Fn(&Report) -> Result<(), Failure>,
) -> Result<Report, Failure> {
    if !spec.backends.contains(&BackendKind::Quic) {
        return Err(Failure::Usage(anyhow!(
            "--ui shows workers, which the backend quic has; add it, or leave --ui out"
        )));
    }
    let racks = spec.cluster().map_err(Failure::usage)?;
    meter.say(&format!("starting {} workers", racks.num_ranks()));
    let mut cluster = start_workers(&racks, args.in_process).await?;
    let ranks = racks.num_ranks();
    let host = host_of(&mut cluster, ranks, args.in_process, &args.gauge, meter).await?;
    let handle = cluster.handle().clone();
    let options = ServiceOptions {
        out: None,
        state: None,
        memory_limit_bytes: args.spec.memory_limit,
        host,
        forming: FORMING,
    };
    let service = Service::start(handle.clone(), options).map_err(Failure::failed)?;
    super::ui::open(&args.ui, &service, &handle, args.spec.memory_limit).await?;
    let mut progress = |news| meter.show(&news);
    let mut asked = Box::pin(service.run(spec, &mut progress));
    let mut tended = Box::pin(cluster.tend());
    let compared = tokio::select! {
        biased;
        ended = &mut tended => Err(ended_by(ended)),
        report = &mut asked => report.map_err(|error| match error {
            ClientError::Refused { error, .. } => Failure::Failed(anyhow!(error)),
            other => Failure::failed(other),
        }),
    };
    meter.clear();
    if let Ok(report) = &compared {
        print(report)?;
        output::say("the page stays open; Ctrl-C ends it and the workers");
        match tended.as_mut().await {
            RunError::Interrupted => {}
            other => output::say(&format!("railyard: {other}")),
        }
    }
    drop((asked, tended));
    service.stop();
    cluster.shutdown().await;
    compared
}

fn ended_by(error: RunError) -> Failure {
    match error {
        RunError::Interrupted => Failure::Interrupted(anyhow!("interrupted")),
        other => Failure::failed(other),
    }
}
