//! What a plan of faults does to one seat in one phase: to its pace, to the frames that it sends, and when it ends.
//!
//! The seat asks here, and both shells drive the seat: so a plan means the same on either clock. Nothing here waits or throws frames away
//! behind anybody's back: each is counted.

use crate::setup::Setup;
use crate::wire::{Flow, Frame, Phase, TrafficClass};
use moe::seed::{Purpose, derived_seed};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use topology::{Cluster, Crossing, Fate, FaultPhase, Moment, Pace, Picos, Port, RankId, Verdict};

/// A phase by the name that a plan has for it.
fn named(phase: Phase) -> FaultPhase {
    match phase {
        Phase::Dispatch => FaultPhase::Dispatch,
        Phase::Expert => FaultPhase::Expert,
        Phase::Combine => FaultPhase::Combine,
        Phase::Local => FaultPhase::Local,
        Phase::Hop => FaultPhase::Hop,
    }
}

/// Faults of a seat in the phase under way.
#[derive(Debug)]
pub(crate) struct Faults {
    setup: Arc<Setup>,
    cluster: Arc<Cluster>,
    me: RankId,
    at: Moment,
    /// Of everything that is drawn in this phase.
    seed: u64,
    fate: Fate,
    /// What the paths to peers carry, as far as they have a pace of their own.
    paths: BTreeMap<RankId, (Port, Pace)>,
    /// Stamp of each flow's newest frame, where uplinks are oversubscribed.
    newest: BTreeMap<RankId, Picos>,
    /// Frames that let the next one of their flow pass.
    held: BTreeMap<RankId, Frame>,
    /// Frames that go out before any other.
    out: VecDeque<Frame>,
    struck: u32,
    /// Whether the end of its rank kept a frame from leaving.
    cut_short: bool,
}

impl Faults {
    /// Those of `me` in a phase; `None` where the run has no faults.
    pub(crate) fn of(
        setup: &Arc<Setup>,
        cluster: &Arc<Cluster>,
        me: RankId,
        flow: Flow,
        phase: Phase,
    ) -> Option<Box<Self>> {
        let plan = &setup.faults;
        if plan.is_empty() {
            return None;
        }
        let at = Moment { step: setup.first_step.saturating_add(flow.step), phase: named(phase) };
        let half_and_layer = u64::from(flow.micro_batch) << 16 | u64::from(flow.layer);
        let of_phase = u64::from(at.step) << 3 | at.phase as u64;
        let seed = derived_seed(Purpose::Fault, setup.seed, [plan.attempt.into(), of_phase, half_and_layer]);
        let fate = plan.fate(cluster, me, at, |fault| drawn(seed, fault, [u64::from(me.0), u64::MAX]));
        let hindered = if phase.computes() {
            !fate.compute.is_steady()
        } else {
            !fate.ports.iter().all(Pace::is_steady)
        };
        let struck = u32::from(hindered);
        let (setup, cluster) = (Arc::clone(setup), Arc::clone(cluster));
        let (paths, held, out) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Some(Box::new(Self {
            setup,
            cluster,
            me,
            at,
            seed,
            fate,
            paths,
            newest: BTreeMap::new(),
            held,
            out,
            struck,
            cut_short: false,
        }))
    }

    /// How fast the ports are, by link.
    pub(crate) fn ports(&self) -> &[Pace; 2] {
        &self.fate.ports
    }

    /// How long a job takes that can begin at `ready` and would take `charge`; `None` where its rank ends before.
    pub(crate) fn charge(&self, ready: Picos, charge: Picos) -> Option<Picos> {
        let end = self.fate.compute.end(ready, charge);
        (!self.is_past(end)).then_some(end.saturating_sub(ready))
    }

    /// When the rank ends, and whether its process does.
    pub(crate) fn ends(&self) -> Option<(Picos, bool)> {
        self.fate.ends.map(|at| (at, self.fate.killed))
    }

    /// Whether the rank has ended by `time`.
    pub(crate) fn is_past(&self, time: Picos) -> bool {
        self.fate.ends.is_some_and(|ends| time > ends)
    }

    /// Whether the rank has something to send that its end has kept from leaving.
    pub(crate) fn cut_short(&self) -> bool {
        self.cut_short
    }

    /// How many frames of this rank have met a fault, and the rank itself if it has.
    pub(crate) fn struck(&self) -> u32 {
        self.struck
    }

    /// The next frame that goes out before what the card has.
    pub(crate) fn poll(&mut self) -> Option<Frame> {
        self.out.pop_front()
    }

    /// Takes a frame that has left the port; what becomes of it comes from [`Self::poll`].
    pub(crate) fn pass(&mut self, mut frame: Frame) {
        let fabric = self.setup.phase_links(frame.phase).fabric;
        let link = fabric.link(self.cluster.link_class(self.me, frame.destination));
        if self.is_past(frame.arrive.saturating_sub(link.latency)) {
            // Its last byte never left.
            self.cut_short = true;
            return;
        }
        let (plan, to) = (&self.setup.faults, frame.destination);
        let sequence = (frame.class != TrafficClass::Control).then_some(frame.sequence);
        let crossing = Crossing { from: self.me, to, sequence, arrive: frame.arrive };
        let coordinates = [u64::from(self.me.0) << 32 | u64::from(to.0), frame.sequence.into()];
        let chance = |fault| drawn(self.seed, fault, coordinates);
        let Verdict { lost, doubled, swapped, damaged, delay } =
            plan.verdict(&self.cluster, crossing, self.at, chance);
        let (_, pace) = self
            .paths
            .entry(to)
            .or_insert_with(|| (Port::new(), plan.path(&self.cluster, crossing.from, to, self.at)));
        let sent = frame.arrive;
        if !pace.is_steady() {
            let bytes = frame.charged_bytes();
            let Some((port, pace)) = self.paths.get_mut(&to) else { return };
            frame.arrive = port.ingress_paced(frame.arrive, bytes, link.rate, pace);
        }
        frame.arrive = frame.arrive.saturating_add(delay);
        let delayed = frame.arrive != sent;
        if fabric.oversubscription.blocks() && sequence.is_some() {
            // A flow stays in order: elsewhere its receiver sees to that, here an uplink would sort by time.
            let newest = self.newest.entry(to).or_default();
            *newest = frame.arrive.max(*newest);
            frame.arrive = *newest;
        }
        frame.damaged = damaged;
        self.struck += u32::from(lost || doubled || swapped || damaged || delayed);
        if lost {
            return;
        }
        // The end of a flow has nothing to let pass.
        if swapped && frame.last.is_none() && !self.held.contains_key(&to) {
            self.held.insert(to, frame);
            return;
        }
        let before = sequence.and_then(|_| self.held.remove(&to));
        if doubled {
            self.out.push_back(frame.clone());
        }
        self.out.push_back(frame);
        self.out.extend(before);
    }
}

/// A number below a million.
fn drawn(seed: u64, fault: usize, [of, sequence]: [u64; 2]) -> u32 {
    let drawn = derived_seed(Purpose::Fault, seed, [fault as u64, of, sequence]);
    u32::try_from(drawn % 1_000_000).unwrap_or(0)
}
