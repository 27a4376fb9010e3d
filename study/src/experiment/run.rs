//! Runs the points of a shard that are not finished yet, several at a time, and writes each down as it is done.

use super::error::ExperimentError;
use super::plan::{Plan, Resolver, failed, point_line};
use super::points::Point;
use super::results::{PointLine, Results};
use crate::layer::compare_offline;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Runs `points` on `jobs` threads without quic. `done` hears of every finished point.
///
/// # Errors
/// The first [`ExperimentError`] that a point or the file gave; what was finished by then is kept.
pub fn run_offline(
    plan: &Plan,
    points: &[Point],
    resolver: &dyn Resolver,
    jobs: usize,
    results: &mut Results,
    done: &mut dyn FnMut(&PointLine),
) -> Result<(), ExperimentError> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // No thread runs far ahead of what is on disk.
        let (send, finished) = mpsc::sync_channel::<Result<PointLine, ExperimentError>>(1);
        for _ in 0..jobs.min(points.len()) {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more once a point has failed.
                    if send.send(run_point(plan, point, resolver)).is_err() {
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

fn run_point(plan: &Plan, point: &Point, resolver: &dyn Resolver) -> Result<PointLine, ExperimentError> {
    let (resolved, rows) = plan.resolve(point, resolver)?;
    let report = compare_offline(&resolved.spec, &rows).map_err(|source| failed(point, source))?;
    Ok(point_line(point, &resolved, report))
}
