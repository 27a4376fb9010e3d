//! Swaps that let fewer tokens cross racks, with every rank below a limit on its load.
//!
//! The cost is counted on a sample of tokens. Each pass works out what it would cost to move each replica to each other rack,
//! pairs moves up into swaps of two replicas, or of all that two ranks hold, and makes those that turn out to help.

mod expected;
mod level;
mod places;
mod sampled;
mod swaps;

use super::pack::Packing;
use crate::placement::Demand;
use crate::placement::demand::Sample;
use expected::Expected;
use places::Places;
use sampled::Sampled;
use std::ops::Range;
use topology::Cluster;

/// A pass that gains less than this part of the cost is the last.
const LEAST_GAIN: f64 = 3e-3;
/// Racks beyond this are not searched: the start is kept.
const MAX_RACKS: usize = 256;

/// What crosses, as it is reckoned.
trait Crossings {
    /// Crossings of all tokens, weighted.
    fn cost(&mut self) -> i64;

    /// Takes note that replicas of `expert` are elsewhere.
    fn serve(&mut self, places: &Places, expert: usize);

    /// What a move of one replica of `expert` in rack `from` to each rack would add to the cost, to `added`, which is 0.
    fn moves_of(&mut self, places: &Places, expert: usize, from: usize, added: &mut [i64]);
}

pub(super) struct Search {
    packing: Packing,
    rack_of: Vec<usize>,
    racks: usize,
    /// Ranks of each rack, ascending.
    ranks: Vec<Range<usize>>,
    /// Load by rack.
    rack_load: Vec<f64>,
    places: Places,
    /// `None` where there is nothing to search for.
    crossings: Option<Box<dyn Crossings>>,
}

/// What a swap has to keep to.
enum Bound {
    /// The most that a rank may carry.
    Ranks(f64),
    /// The most that each rack may carry.
    Racks(Vec<f64>),
}

type Slot = (usize, usize);

impl Search {
    pub(super) fn new(
        cluster: &Cluster,
        by_rack: &[Vec<f64>],
        demand: &Demand,
        sample: &Sample,
        packing: Packing,
    ) -> Self {
        let racks = cluster.num_racks() as usize;
        let rack_of: Vec<usize> = cluster.ranks().map(|rank| cluster.rack_of(rank).0 as usize).collect();
        let places = Places::new(&rack_of, by_rack, &packing);
        let ranks: Vec<Range<usize>> = (0..racks)
            .map(|rack| rack_of.partition_point(|&of| of < rack)..rack_of.partition_point(|&of| of <= rack))
            .collect();
        let crossings = (2..=MAX_RACKS).contains(&racks).then(|| -> Box<dyn Crossings> {
            if demand.has_picks() {
                Box::new(Sampled::new(&places, sample))
            } else {
                Box::new(Expected::new(&places, sample, demand.gate_groups() as usize))
            }
        });
        let rack_load = ranks.iter().map(|ranks| packing.carried[ranks.clone()].iter().sum()).collect();
        Self { packing, rack_of, racks, ranks, rack_load, places, crossings }
    }

    pub(super) fn finish(self) -> Packing {
        self.packing
    }

    /// Crossings of the sample, weighted.
    pub(super) fn cost(&mut self) -> i64 {
        self.crossings.as_mut().map_or(0, |crossings| crossings.cost())
    }

    /// Load of the fullest rank.
    pub(super) fn fullest(&self) -> f64 {
        self.packing.fullest()
    }

    /// Whether there is anything to search for.
    fn is_open(&self) -> bool {
        self.crossings.is_some()
    }

    /// Swaps in at most `passes` passes, no rank above `limit` or the fullest that there is.
    pub(super) fn improve(&mut self, limit: f64, passes: usize) {
        if !self.is_open() {
            return;
        }
        let bound = Bound::Ranks(limit.max(self.packing.fullest()));
        for _ in 0..passes {
            let before = self.cost();
            let moves = self.moves();
            self.swap_slots(&moves, &bound);
            if self.cost() > before - (before as f64 * LEAST_GAIN) as i64 {
                self.swap_ranks();
            }
            if self.cost() >= before - (before as f64 * LEAST_GAIN) as i64 {
                break;
            }
        }
    }

    /// All slots, by rank.
    fn slots(&self) -> Vec<Slot> {
        let held = self.packing.held.iter().enumerate();
        held.flat_map(|(rank, held)| (0..held.len()).map(move |at| (rank, at))).collect()
    }

    /// What each replica's move to each rack would add to the cost, `[slots, racks]` by rows.
    fn moves(&mut self) -> Vec<i64> {
        // Replicas of an expert in one rack are alike: the row of the first.
        let mut known: Vec<Option<usize>> = vec![None; self.places.count.len() * self.racks];
        let slots = self.slots();
        let mut all = vec![0; slots.len() * self.racks];
        for (begin, (rank, at)) in (0..).step_by(self.racks).zip(slots) {
            let (expert, from) = (self.packing.held[rank][at] as usize, self.rack_of[rank]);
            let first = *known[expert * self.racks + from].get_or_insert(begin);
            if first < begin {
                all.copy_within(first..first + self.racks, begin);
            } else {
                self.moves_of(expert, from, &mut all[begin..][..self.racks]);
            }
        }
        all
    }

    /// What a move of one replica of `expert` in rack `from` to each rack would add to the cost.
    fn moves_of(&mut self, expert: usize, from: usize, added: &mut [i64]) {
        added.fill(0);
        if let Some(crossings) = &mut self.crossings {
            crossings.moves_of(&self.places, expert, from, added);
        }
    }

    /// Moves one replica from rack to rack, with the cost.
    fn relocate(&mut self, expert: usize, from: usize, to: usize) {
        self.places.relocate(expert, from, to);
        if let Some(crossings) = &mut self.crossings {
            crossings.serve(&self.places, expert);
        }
    }
}
