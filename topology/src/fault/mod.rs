//! Faults as values: what goes wrong, with whom, when and until when. No clock, no randomness: whoever asks says what time it is and draws.
//!
//! A [`Fault`] is one line of a plan, written `kill rank=3 step=2 phase=combine at_us=5`. A [`FaultPlan`] is asked two things: the [`Fate`]
//! of a rank in a phase, and the [`Verdict`] on a frame. Both shells ask at the same place.

mod pace;
mod plan;
mod words;

pub use pace::Pace;
pub use plan::{Crossing, FAULTS_MAX, Fate, FaultPlan, Moment, Verdict};
pub use words::{FAULT_KEYS, FaultProblem};

use crate::{Cluster, LinkClass, Picos, RackId, RankId};

/// The part of a step in which a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPhase {
    /// Rows go out.
    Dispatch,
    /// Experts compute.
    Expert,
    /// Results go back.
    Combine,
    /// In a whole model: each rank computes for its own tokens.
    Local,
    /// In a whole model: states go to the next stage.
    Hop,
}

impl FaultPhase {
    /// Whether ranks compute in it; otherwise they send.
    #[must_use]
    pub fn computes(self) -> bool {
        matches!(self, Self::Expert | Self::Local)
    }

    /// Whether a layer has it; the others are a whole model's.
    #[must_use]
    pub fn is_of_layer(self) -> bool {
        matches!(self, Self::Dispatch | Self::Expert | Self::Combine)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A rank ends, with its process.
    Kill,
    /// A rank does nothing: its ports and its arithmetic stand still; without an end it is never heard again.
    Freeze,
    /// A rank's arithmetic takes so many thousandths of its time.
    Slow {
        /// At least 1,000.
        permille: u32,
    },
    /// Ports, or the path of a pair, take so many thousandths of their time for a byte.
    Degrade {
        /// At least 1,000.
        permille: u32,
    },
    /// Nothing passes: until the cut ends frames wait, without an end they are lost.
    Cut,
    /// A frame is lost.
    Drop,
    /// A frame comes twice.
    Duplicate,
    /// A frame comes after the next one of its flow.
    Reorder,
    /// A bit of a frame is turned on its way.
    Corrupt,
    /// Frames come so much later.
    Delay(Picos),
    /// A rank's clock is so much behind: it opens each phase so much late.
    Skew(Picos),
}

/// Whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A rank. Cuts and degraded ports are both ways; other faults of frames strike what it sends.
    Rank(RankId),
    /// All ranks of a rack; of its links those to other racks, unless `links` says otherwise.
    Rack(RackId),
    /// What one rank sends another.
    Pair {
        /// The sender.
        from: RankId,
        /// The receiver.
        to: RankId,
        /// Whether the other way as well.
        both: bool,
    },
    /// Everybody.
    All,
}

/// When it strikes, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// First step, warm-up steps counted, from 0; `None` for the first that counts where it happens once ([`Fault::after`]), else for 0.
    pub step: Option<u32>,
    /// How many steps; `None` for all that follow.
    pub steps: Option<u32>,
    /// The phase; `None` for each.
    pub phase: Option<FaultPhase>,
    /// Emulated time in the phase from which it holds; of a frame, when its last byte would arrive.
    pub from: Picos,
    /// Until when; `None` for the rest of the phase.
    pub until: Option<Picos>,
    /// Number of the frame in its flow that it strikes, where `ppm` doesn't say.
    pub frame: u32,
    /// Probability, in millionths, that it strikes a frame; of a rank, that it strikes in a step.
    pub ppm: Option<u32>,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub what: What,
    /// Whom.
    pub whom: Whom,
    /// Which links of theirs; `None` for all, of a rack those that leave it.
    pub links: Option<LinkClass>,
    /// When.
    pub when: When,
}

impl What {
    /// Whether it befalls single frames.
    #[must_use]
    pub fn is_of_frames(self) -> bool {
        matches!(self, Self::Drop | Self::Duplicate | Self::Reorder | Self::Corrupt)
    }

    /// Whether it befalls what travels, not who computes.
    #[must_use]
    pub fn is_of_links(self) -> bool {
        self.is_of_frames() || matches!(self, Self::Cut | Self::Degrade { .. } | Self::Delay(_))
    }

    /// Whether it can strike in `phase`: arithmetic is slow where ranks compute, and what travels is met where they send.
    #[must_use]
    pub fn strikes_in(self, phase: FaultPhase) -> bool {
        match self {
            Self::Slow { .. } => phase.computes(),
            Self::Kill | Self::Freeze | Self::Skew(_) => true,
            _ => !phase.computes(),
        }
    }

    /// Whether it happens rather than holds: a step that is begun anew because of it doesn't meet it again.
    #[must_use]
    pub fn happens(self) -> bool {
        self.is_of_frames() || matches!(self, Self::Kill | Self::Freeze)
    }
}

impl Fault {
    /// With its first step said, where so many steps of warm-up come before those that count: what happens once is to be seen in one of
    /// these, what holds is there from the beginning.
    #[must_use]
    pub fn after(mut self, warmup: u32) -> Self {
        if self.what.happens() && self.when.ppm.is_none() {
            self.when.step.get_or_insert(warmup);
        }
        self
    }

    /// Whether a seat of the run may be lost by it.
    #[must_use]
    pub fn ends_a_rank(&self) -> bool {
        self.what == What::Kill || self.what == What::Freeze && self.when.until.is_none()
    }

    /// The highest rank that it names.
    fn rank(&self) -> Option<RankId> {
        match self.whom {
            Whom::Rank(rank) => Some(rank),
            Whom::Pair { from, to, .. } => Some(from.max(to)),
            Whom::Rack(_) | Whom::All => None,
        }
    }

    /// Checks that those whom it names are there.
    ///
    /// # Errors
    /// Who is not, and who is.
    pub fn check(&self, cluster: &Cluster) -> Result<(), String> {
        let (ranks, racks) = (cluster.num_ranks(), cluster.num_racks());
        if let Some(rank) = self.rank().filter(|rank| rank.0 >= ranks) {
            return Err(format!("fault `{self}`: no {rank}; there are ranks 0 to {}", ranks - 1));
        }
        match self.whom {
            Whom::Rack(rack) if rack.0 >= racks => {
                Err(format!("fault `{self}`: no {rack}; there are racks 0 to {}", racks - 1))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
