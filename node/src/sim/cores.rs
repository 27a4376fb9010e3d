//! Work in parts, on several cores: what comes out is in the order of the parts, whoever has done them.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Cores that there are.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What `work` makes of each of `parts`, each but the first on a thread of its own.
pub fn on_threads<P: Send, T: Send>(
    parts: impl IntoIterator<Item = P>,
    work: impl Fn(P) -> T + Sync,
) -> Vec<T> {
    let (mut parts, work) = (parts.into_iter(), &work);
    thread::scope(|scope| {
        let first = parts.next();
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let mut done: Vec<T> = first.map(work).into_iter().collect();
        done.extend(
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))),
        );
        done
    })
}
