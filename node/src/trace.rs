//! What a timeline is made of: when each frame was at a port, and when each job ran. Kept only where the setup asks for it.
//!
//! Times are emulated picoseconds since the phase's start, as the port arithmetic has them: equal in both shells as long as no frame is
//! overtaken. A frame is at two ports; both keep it or neither, for whether it is kept follows from what it says of itself.

use serde::{Deserialize, Serialize};
use topology::{Picos, RankId};

/// Most frames of one direction and most jobs that a rank keeps of a phase; what is beyond is counted.
pub const EVENTS_MAX: usize = 1 << 16;

/// What is kept of a run: one frame in `every`, in some of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracing {
    /// Of so many frames one is kept: those whose sender, receiver and number in their flow have a sum that it divides.
    pub every: u32,
    /// The first step, as a run without losses counts them.
    pub first_step: u32,
    /// How many steps.
    pub steps: u32,
}

impl Tracing {
    /// Whether `step` is one of those.
    #[must_use]
    pub fn covers(&self, step: u32) -> bool {
        step.checked_sub(self.first_step).is_some_and(|at| at < self.steps)
    }
}

/// Whether a frame is one of the one in `every` that are kept.
#[must_use]
pub fn is_kept(every: u32, from: RankId, to: RankId, sequence: u32) -> bool {
    let sum = u64::from(from.0) + u64::from(to.0) + u64::from(sequence);
    sum.is_multiple_of(u64::from(every.max(1)))
}

/// A frame at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameTrace {
    /// When the port begins with it.
    pub start: Picos,
    /// When its last byte is through.
    pub end: Picos,
    /// From when on it waits for the port: at the sender's once its rows are there, at the receiver's by its stamp, less the transfer.
    pub ready: Picos,
    /// The rank at the other end.
    pub peer: RankId,
    /// Its number in its flow.
    pub sequence: u32,
    /// Bytes that the port is charged; 0 of a mark that ends a flow.
    pub bytes: u64,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobKind {
    /// Picks experts.
    Gate,
    /// Makes FP8 rows.
    Quantise,
    /// Makes an expert's weights.
    Weights,
    /// Experts compute.
    Expert,
    /// Tokens take up their states.
    Enter,
    /// Attention and what every token uses.
    Local,
    /// States leave for the next stage.
    Leave,
    /// Sums the parts of a token.
    Sum,
}

/// A job of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobTrace {
    /// When it begins; 0 of one that precedes the phases and takes no emulated time.
    pub start: Picos,
    /// When it is done: what it is charged later.
    pub end: Picos,
    /// What it does.
    pub kind: JobKind,
}

/// What is kept of one rank's phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTrace {
    /// Frames at the two ports that send.
    pub sent: Vec<FrameTrace>,
    /// Frames at the two ports that receive.
    pub received: Vec<FrameTrace>,
    /// Jobs of the phase, and those that preceded it.
    pub jobs: Vec<JobTrace>,
    /// What should have been kept and was too much.
    pub left_out: u64,
}

impl PhaseTrace {
    /// Adds a job.
    pub fn job(&mut self, job: JobTrace) {
        if self.jobs.len() < EVENTS_MAX {
            self.jobs.push(job);
        } else {
            self.left_out += 1;
        }
    }
}

/// Keeps the frames that pass one port.
#[derive(Debug)]
pub struct Recorder {
    me: RankId,
    every: u32,
    frames: Vec<FrameTrace>,
    left_out: u64,
}

impl Recorder {
    /// One for a port of `me`.
    #[must_use]
    pub const fn new(me: RankId, every: u32) -> Self {
        Self { me, every, frames: Vec::new(), left_out: 0 }
    }

    /// A frame passes the port.
    pub fn frame(&mut self, frame: FrameTrace) {
        if !is_kept(self.every, self.me, frame.peer, frame.sequence) {
            return;
        }
        // A rank has two ports in each direction.
        if self.frames.len() < EVENTS_MAX / 2 {
            self.frames.push(frame);
        } else {
            self.left_out += 1;
        }
    }

    /// What was kept, and how much was too much.
    pub fn take(&mut self) -> (Vec<FrameTrace>, u64) {
        (std::mem::take(&mut self.frames), std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_frame_keep_it_or_neither() {
        for every in [0, 1, 3, 8] {
            let kept = |sequence| is_kept(every, RankId(2), RankId(7), sequence);
            assert!((0..100).all(|number| kept(number) == is_kept(every, RankId(7), RankId(2), number)));
            assert_eq!((0..240).filter(|&number| kept(number)).count(), 240 / every.max(1) as usize);
        }
        assert!(is_kept(1, RankId(u32::MAX), RankId(u32::MAX), u32::MAX));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut recorder = Recorder::new(RankId(0), 1);
        let zero = Picos::ZERO;
        for sequence in 0..EVENTS_MAX as u32 {
            let peer = RankId(1);
            recorder.frame(FrameTrace { start: zero, end: zero, ready: zero, peer, sequence, bytes: 0 });
        }
        let (kept, left_out) = recorder.take();
        assert_eq!((kept.len(), left_out), (EVENTS_MAX / 2, EVENTS_MAX as u64 / 2));
        assert_eq!(recorder.take(), (Vec::new(), 0));
    }

    #[test]
    fn steps_are_counted_from_the_first() {
        let tracing = Tracing { every: 1, first_step: 2, steps: 3 };
        assert_eq!((0..7).filter(|&step| tracing.covers(step)).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
