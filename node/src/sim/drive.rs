//! The virtual clock: runs driven that send each other frames until nothing moves.

use super::error::SimError;
use super::uplinks::Uplinks;
use super::wakes::Wakes;
use crate::wire::Frame;
use topology::{Cluster, Fabric, Picos};

/// Something with a card, as the clock sees it.
pub(super) trait Driven {
    /// Does all that can be done at `now`; what it sends goes to `out`.
    fn serve(&mut self, now: Picos, out: &mut Vec<Frame>) -> Result<(), SimError>;

    /// Takes a frame that another one sent at `now`.
    fn handle_arrival(&mut self, now: Picos, frame: Frame) -> Result<(), SimError>;

    /// When one that was handed a frame with this stamp wants to be served.
    fn wake_for(&self, arrive: Picos) -> Picos;

    /// When it next has something to do.
    fn poll_timeout(&self) -> Option<Picos>;
}

/// How long after one has done something others can feel it at the earliest: the shortest latency in use.
pub(super) fn lookahead(cluster: &Cluster, fabric: &Fabric) -> Picos {
    let inside = cluster.rack_sizes().iter().any(|&size| size > 1).then_some(fabric.scale_up.latency);
    let between = (cluster.num_racks() > 1).then_some(fabric.scale_out.latency);
    inside.into_iter().chain(between).min().unwrap_or(Picos::ZERO)
}

/// Runs until nothing moves; the i-th is rank i.
///
/// Time goes in windows as long as the lookahead. What one of them does in a window reaches others after its end, so each
/// goes through its own events of a window at once, in their order, while its memory is at hand. Frames between racks meet `uplinks` at
/// the end of the window in which they leave their ports, and those of the other rack in a later one, a latency on.
pub(super) fn drive<S: Driven>(
    driven: &mut [S],
    lookahead: Picos,
    mut uplinks: Option<Uplinks<'_>>,
) -> Result<(), SimError> {
    let mut wakes = Wakes::new(driven.len(), Picos::ZERO);
    let mut out = Vec::new();
    loop {
        let next = uplinks.as_ref().and_then(Uplinks::next);
        let Some(start) = wakes.first().map(|(time, _)| time).into_iter().chain(next).min() else {
            return Ok(());
        };
        let end = start.saturating_add(lookahead.max(Picos(1)));
        if let Some(uplinks) = &mut uplinks {
            // Whose port ends now was sent before; without latency it is at the other rack at once.
            uplinks.leave_before(start.saturating_add(Picos(1)));
            while let Some(frame) = uplinks.enter_before(end) {
                carry(driven, start, frame, &mut wakes)?;
            }
        }
        while let Some((mut now, at)) = wakes.first().filter(|(time, _)| *time < end) {
            loop {
                driven[at].serve(now, &mut out)?;
                let next = driven[at].poll_timeout().map_or(Picos::MAX, |next| next.max(now));
                wakes.set(at, next);
                for frame in out.drain(..) {
                    let past = match &mut uplinks {
                        Some(uplinks) => uplinks.take(frame),
                        None => Some(frame),
                    };
                    if let Some(frame) = past {
                        carry(driven, now, frame, &mut wakes)?;
                    }
                }
                if next >= end || lookahead == Picos::ZERO {
                    break;
                }
                now = next;
            }
        }
        if let Some(uplinks) = &mut uplinks {
            uplinks.leave_before(end);
        }
    }
}

/// Hands a frame to its receiver.
fn carry<S: Driven>(driven: &mut [S], now: Picos, frame: Frame, wakes: &mut Wakes) -> Result<(), SimError> {
    let (to, arrive) = (frame.destination.0 as usize, frame.arrive);
    driven[to].handle_arrival(now, frame)?;
    let wake = driven[to].wake_for(arrive);
    if wake < wakes.of(to) {
        wakes.set(to, wake);
    }
    Ok(())
}
