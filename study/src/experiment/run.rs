//! Runs the points of a shard that are not finished yet, and writes each down as it is done.

use super::error::ExperimentError;
use super::plan::{Plan, failed, point_line};
use super::points::Point;
use super::record::PointLine;
use super::results::Results;
use super::subject::Note;
use coordinator::LocalCluster;
use coordinator::pace::Host;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Most points that are finished and not written down.
const AHEAD: usize = 16;

/// Runs `points` on `jobs` threads without workers. `note` is told how far points are, `done` of every finished one.
///
/// # Errors
/// The first [`ExperimentError`] that a point or the file gave; what was finished by then is kept.
pub fn run_offline(
    plan: &Plan<'_>,
    points: &[Point],
    jobs: usize,
    results: &mut Results,
    note: Note<'_>,
    done: &mut dyn FnMut(&PointLine),
) -> Result<(), ExperimentError> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // No thread runs far ahead of what is on disk, nor waits for each line.
        let (send, finished) = mpsc::sync_channel::<Result<PointLine, ExperimentError>>(AHEAD);
        for _ in 0..jobs.min(points.len()) {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more once a point has failed.
                    if send.send(run_point(plan, point, note)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for line in finished {
            let line = line?;
            results.append(&line)?;
            done(&line);
        }
        Ok(())
    })
}

fn run_point(plan: &Plan<'_>, point: &Point, note: Note<'_>) -> Result<PointLine, ExperimentError> {
    let resolved = plan.resolve(point)?;
    let records = resolved.work.run(note).map_err(|source| failed(point, source))?;
    Ok(point_line(point.clone(), &resolved.command, records))
}

/// Measures `points` one after the other on the workers of `cluster`, which live on `host`.
///
/// # Errors
/// As [`run_offline`].
pub async fn run_on_workers(
    plan: &Plan<'_>,
    points: &[Point],
    (cluster, host): (&mut LocalCluster, Host),
    results: &mut Results,
    note: Note<'_>,
    done: &mut (dyn FnMut(&PointLine) + Send),
) -> Result<(), ExperimentError> {
    for point in points {
        let resolved = plan.resolve(point)?;
        let records = resolved.work.measure(cluster, host, note).await;
        let records = records.map_err(|source| failed(point, source))?;
        let line = point_line(point.clone(), &resolved.command, records);
        results.append(&line)?;
        done(&line);
    }
    Ok(())
}
