//! What of a step may be opened when: the stops of its program, stage by stage.
//!
//! Stages know nothing of each other until the hop, which is everybody's. In a stage a stop waits for the one before it of its own half,
//! and for arithmetic or the network, whichever it uses.

use node::program::Stop;
use node::wire::Phase;

/// The stops of a step in all stages.
#[derive(Debug)]
pub(super) struct Schedule {
    program: Vec<Stop>,
    /// `[stages][stops]`.
    states: Vec<Vec<State>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Closed,
}

/// A stop to be opened: its index in the program, and the stage; `None` for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) at: usize,
    pub(super) stage: Option<u32>,
}

impl Schedule {
    /// A step of which nothing is open.
    pub(super) fn new(program: Vec<Stop>, stages: u32) -> Self {
        let states = vec![vec![State::Waiting; program.len()]; stages as usize];
        Self { program, states }
    }

    pub(super) fn program(&self) -> &[Stop] {
        &self.program
    }

    /// Begins the step anew.
    pub(super) fn reset(&mut self) {
        self.states.iter_mut().for_each(|stops| stops.fill(State::Waiting));
    }

    /// The stage of a stop that a rank of `stage` answers for.
    pub(super) fn of(&self, at: usize, stage: u32) -> Opening {
        Opening { at, stage: (self.program[at].phase != Phase::Hop).then_some(stage) }
    }

    /// What can be opened now; it is open then.
    pub(super) fn open(&mut self) -> Vec<Opening> {
        let mut openings = Vec::new();
        for stage in 0..self.states.len() {
            for computes in [true, false] {
                let Some(at) = self.next(stage, computes) else { continue };
                let opening = self.of(at, u32::try_from(stage).expect("stages are bounded"));
                if opening.stage.is_none()
                    && (0..self.states.len()).any(|stage| self.next(stage, false) != Some(at))
                {
                    continue;
                }
                self.set(opening, State::Open);
                openings.push(opening);
            }
        }
        openings
    }

    /// The stop has closed on all ranks that it was opened on.
    pub(super) fn close(&mut self, opening: Opening) {
        self.set(opening, State::Closed);
    }

    /// True once all stops have closed.
    pub(super) fn is_done(&self) -> bool {
        self.states.iter().flatten().all(|&state| state == State::Closed)
    }

    fn set(&mut self, Opening { at, stage }: Opening, state: State) {
        match stage {
            Some(stage) => self.states[stage as usize][at] = state,
            None => self.states.iter_mut().for_each(|stops| stops[at] = state),
        }
    }

    /// The next stop that uses what it uses, if that is free and the stop before it of its half has closed.
    fn next(&self, stage: usize, computes: bool) -> Option<usize> {
        let states = &self.states[stage];
        let mut of_kind = (0..self.program.len()).filter(|&at| self.program[at].computes() == computes);
        let at = of_kind.find(|&at| states[at] != State::Closed)?;
        let half = self.program[at].half;
        let before = (0..at).rev().find(|&before| self.program[before].half == half);
        let ready = before.is_none_or(|before| states[before] == State::Closed);
        (ready && states[at] == State::Waiting).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(halves: u16) -> Vec<Stop> {
        let stops =
            [(0, Phase::Local), (0, Phase::Dispatch), (0, Phase::Expert), (1, Phase::Local), (1, Phase::Hop)];
        let of_halves = |(layer, phase)| (0..halves).map(move |half| Stop { half, layer, phase });
        stops.into_iter().flat_map(of_halves).collect()
    }

    fn opened(schedule: &mut Schedule) -> Vec<(usize, Option<u32>)> {
        schedule.open().into_iter().map(|Opening { at, stage }| (at, stage)).collect()
    }

    #[test]
    fn one_half_in_one_stage_is_one_stop_after_the_other() {
        let mut schedule = Schedule::new(program(1), 1);
        for at in 0..5 {
            assert!(!schedule.is_done());
            let stage = (at < 4).then_some(0);
            assert_eq!(opened(&mut schedule), [(at, stage)]);
            assert_eq!(opened(&mut schedule), []);
            schedule.close(Opening { at, stage });
        }
        assert!(schedule.is_done());
        schedule.reset();
        assert_eq!(opened(&mut schedule), [(0, Some(0))]);
    }

    #[test]
    fn stages_wait_for_each_other_at_the_hop_alone() {
        let mut schedule = Schedule::new(program(1), 2);
        assert_eq!(opened(&mut schedule), [(0, Some(0)), (0, Some(1))]);
        for at in 0..4 {
            schedule.close(Opening { at, stage: Some(1) });
            assert_eq!(opened(&mut schedule), if at < 3 { vec![(at + 1, Some(1))] } else { vec![] });
        }
        for at in 0..4 {
            schedule.close(Opening { at, stage: Some(0) });
            assert_eq!(opened(&mut schedule), [(at + 1, (at < 3).then_some(0))]);
        }
        schedule.close(Opening { at: 4, stage: None });
        assert!(schedule.is_done());
    }

    #[test]
    fn of_two_halves_one_computes_while_the_other_communicates() {
        let mut schedule = Schedule::new(program(2), 1);
        assert_eq!(opened(&mut schedule), [(0, Some(0))]);
        schedule.close(Opening { at: 0, stage: Some(0) });
        // The second half's attention beside the first one's dispatch.
        assert_eq!(opened(&mut schedule), [(1, Some(0)), (2, Some(0))]);
        schedule.close(Opening { at: 1, stage: Some(0) });
        assert_eq!(
            opened(&mut schedule),
            [],
            "the network is taken, and the first half still waits for its rows"
        );
        schedule.close(Opening { at: 2, stage: Some(0) });
        assert_eq!(opened(&mut schedule), [(4, Some(0)), (3, Some(0))]);
    }
}
