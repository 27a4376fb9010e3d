//! A plan of faults, asked what becomes of a rank in a phase and of a frame on its way.

use super::{Fault, FaultPhase, Pace, What, When, Whom};
use crate::{Cluster, LinkClass, Picos, RankId};
use serde::{Deserialize, Serialize};

/// Most faults of a plan.
pub const FAULTS_MAX: usize = 64;

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// The faults; where several strike one thing, all do.
    pub faults: Vec<Fault>,
    /// How often steps have been begun anew: what strikes by chance is drawn again.
    pub attempt: u32,
    /// The last step that was begun anew: up to there what happens once has happened.
    pub begun: Option<u32>,
}

/// A phase of a step, for one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The step, from 0.
    pub step: u32,
    /// The phase.
    pub phase: FaultPhase,
}

/// What becomes of a rank in a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// From when on it does nothing for good.
    pub ends: Option<Picos>,
    /// Whether its process ends then.
    pub killed: bool,
    /// How fast it computes.
    pub compute: Pace,
    /// How fast its ports are, by link: [`LinkClass::ScaleUp`], [`LinkClass::ScaleOut`].
    pub ports: [Pace; 2],
}

/// A frame as a plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Its sender.
    pub from: RankId,
    /// Its receiver.
    pub to: RankId,
    /// Its number in its flow; `None` for one without rows or mark, which carries credit.
    pub sequence: Option<u32>,
    /// When its last byte would arrive.
    pub arrive: Picos,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It never comes.
    pub lost: bool,
    /// It comes twice.
    pub doubled: bool,
    /// It comes after the next one of its flow.
    pub swapped: bool,
    /// A bit of it is turned.
    pub damaged: bool,
    /// How much later it comes.
    pub delay: Picos,
}

impl FaultPlan {
    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether some rank or link may be lost for good.
    #[must_use]
    pub fn ends_ranks(&self) -> bool {
        self.faults.iter().any(Fault::ends_a_rank)
    }

    /// How many ranks may end by it, each counted as often as it may.
    #[must_use]
    pub fn deaths(&self, cluster: &Cluster) -> u32 {
        let of = |fault: &Fault| match fault.whom {
            Whom::Rack(rack) => cluster.rack_size(rack),
            Whom::All => cluster.num_ranks(),
            Whom::Rank(_) | Whom::Pair { .. } => 1,
        };
        let ending = self.faults.iter().filter(|fault| fault.ends_a_rank());
        ending
            .map(|fault| of(fault).saturating_mul(fault.when.steps.unwrap_or(1)))
            .fold(0, u32::saturating_add)
    }

    /// Step `step` is begun anew.
    pub fn begin_anew(&mut self, step: u32) {
        self.attempt += 1;
        self.begun = Some(step);
    }

    /// Checks that there are not too many, and that those whom they name are there.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn check(&self, cluster: &Cluster) -> Result<(), String> {
        if self.faults.len() > FAULTS_MAX {
            return Err(format!("{} faults; at most {FAULTS_MAX} are taken", self.faults.len()));
        }
        self.faults.iter().try_for_each(|fault| fault.check(cluster))
    }

    /// What becomes of `rank`. `chance` draws a number below a million for the fault of an index.
    pub fn fate(&self, cluster: &Cluster, rank: RankId, at: Moment, chance: impl Fn(usize) -> u32) -> Fate {
        let (mut fate, mut compute, mut ports) = (Fate::default(), Vec::new(), [Vec::new(), Vec::new()]);
        for (_, fault) in
            self.at(at).filter(|(index, fault)| fault.holds_for(cluster, rank) && hits(fault, chance(*index)))
        {
            let When { from, until, .. } = fault.when;
            let end = until.unwrap_or(Picos::MAX);
            match fault.what {
                What::Kill | What::Freeze if fault.ends_a_rank() => {
                    fate.killed |= fault.what == What::Kill;
                    fate.ends = Some(fate.ends.map_or(from, |other| other.min(from)));
                }
                What::Freeze | What::Skew(_) => {
                    let window =
                        if let What::Skew(by) = fault.what { (Picos::ZERO, by, 0) } else { (from, end, 0) };
                    compute.push(window);
                    ports.iter_mut().for_each(|port| port.push(window));
                }
                What::Slow { permille } => compute.push((from, end, permille)),
                What::Degrade { permille } if !matches!(fault.whom, Whom::Pair { .. }) => {
                    for (port, link) in ports.iter_mut().zip(LinkClass::ALL) {
                        if fault.is_of_link(link) {
                            port.push((from, end, permille));
                        }
                    }
                }
                _ => {}
            }
        }
        fate.compute = Pace::new(&compute);
        fate.ports = ports.map(|windows| Pace::new(&windows));
        fate
    }

    /// How fast the path from one rank to another is by itself, beside their ports; cuts that end stand in it.
    #[must_use]
    pub fn path(&self, cluster: &Cluster, from: RankId, to: RankId, at: Moment) -> Pace {
        let of_path = |fault: &Fault| match fault.what {
            What::Cut => fault.when.until.map(|until| (fault.when.from, until, 0)),
            What::Degrade { permille } if matches!(fault.whom, Whom::Pair { .. }) => {
                Some((fault.when.from, fault.when.until.unwrap_or(Picos::MAX), permille))
            }
            _ => None,
        };
        let of_pair = self.at(at).filter(|(_, fault)| fault.is_of_path(cluster, from, to));
        Pace::new(&of_pair.filter_map(|(_, fault)| of_path(fault)).collect::<Vec<_>>())
    }

    /// What becomes of a frame. `chance` draws as for [`Self::fate`].
    pub fn verdict(
        &self,
        cluster: &Cluster,
        frame: Crossing,
        at: Moment,
        chance: impl Fn(usize) -> u32,
    ) -> Verdict {
        let Crossing { from, to, sequence, arrive } = frame;
        let mut verdict = Verdict::default();
        for (index, fault) in self.at(at) {
            let When { from: start, until, frame, ppm, .. } = fault.when;
            if arrive < start
                || until.is_some_and(|until| arrive >= until)
                || !fault.is_of_path(cluster, from, to)
            {
                continue;
            }
            let struck = |ppm: Option<u32>| match ppm {
                Some(_) => hits(fault, chance(index)),
                None => sequence == Some(frame),
            };
            match fault.what {
                What::Cut => verdict.lost |= until.is_none(),
                What::Delay(by) if ppm.is_none() || hits(fault, chance(index)) => {
                    verdict.delay = verdict.delay.saturating_add(by);
                }
                What::Drop => verdict.lost |= sequence.is_some() && struck(ppm),
                What::Duplicate => verdict.doubled |= sequence.is_some() && struck(ppm),
                What::Reorder => verdict.swapped |= sequence.is_some() && struck(ppm),
                What::Corrupt => verdict.damaged |= sequence.is_some() && struck(ppm),
                _ => {}
            }
        }
        verdict
    }

    /// Most by which a frame is delayed, and by how much at most something takes longer, thousandths: for who holds stamps against limits.
    #[must_use]
    pub fn worst(&self) -> (Picos, u64) {
        let mut worst = (Picos::ZERO, 1_000_u64);
        for fault in &self.faults {
            match fault.what {
                What::Delay(by) | What::Skew(by) => worst.0 = worst.0.saturating_add(by),
                What::Degrade { permille } => worst.1 = worst.1.saturating_mul(permille.into()) / 1_000,
                What::Freeze | What::Cut => {
                    worst.0 = worst.0.saturating_add(fault.when.until.unwrap_or(Picos::ZERO));
                }
                _ => {}
            }
        }
        worst
    }

    /// The faults of a phase, with their indices.
    fn at(&self, at: Moment) -> impl Iterator<Item = (usize, &Fault)> {
        self.faults.iter().enumerate().filter(move |(_, fault)| {
            let When { step, steps, phase, ppm, .. } = fault.when;
            let step = step.unwrap_or(0);
            let held = at.step >= step && steps.is_none_or(|steps| at.step - step < steps);
            let past =
                fault.what.happens() && ppm.is_none() && self.begun.is_some_and(|begun| at.step <= begun);
            held && !past && phase.is_none_or(|phase| phase == at.phase)
        })
    }
}

/// Whether a draw below a million strikes.
fn hits(fault: &Fault, drawn: u32) -> bool {
    fault.when.ppm.is_none_or(|ppm| drawn < ppm)
}

impl Fault {
    /// Whether it is about a rank itself or its ports.
    fn holds_for(&self, cluster: &Cluster, rank: RankId) -> bool {
        match self.whom {
            Whom::Rank(of) => of == rank,
            Whom::Rack(of) => of == cluster.rack_of(rank),
            Whom::Pair { .. } => false,
            Whom::All => true,
        }
    }

    /// Whether a kind of link is meant.
    fn is_of_link(&self, link: LinkClass) -> bool {
        let of_rack = matches!(self.whom, Whom::Rack(_)).then_some(LinkClass::ScaleOut);
        self.links.or(of_rack).is_none_or(|links| links == link)
    }

    /// Whether it is about the way from one rank to another.
    fn is_of_path(&self, cluster: &Cluster, from: RankId, to: RankId) -> bool {
        let both_ways = self.what == What::Cut;
        let whom = match self.whom {
            Whom::Rank(of) => of == from || both_ways && of == to,
            Whom::Rack(of) => of == cluster.rack_of(from) || both_ways && of == cluster.rack_of(to),
            Whom::Pair { from: a, to: b, both } => (a, b) == (from, to) || both && (b, a) == (from, to),
            Whom::All => true,
        };
        whom && self.is_of_link(cluster.link_class(from, to))
    }
}
