//! Flow of least cost in a small network: successive shortest paths by phases, blocking flows within a phase.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A directed network with integer capacities and small costs of at least 0.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// By node: its arcs, an index into `arcs`.
    leaving: Vec<Vec<u32>>,
    /// Arc `a` and its reverse `a ^ 1`.
    arcs: Vec<Arc>,
}

#[derive(Clone, Copy, Debug)]
struct Arc {
    to: u32,
    /// What may still pass.
    left: u64,
    cost: i32,
}

const UNREACHED: i32 = i32::MAX;

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self { leaving: vec![Vec::new(); nodes], arcs: Vec::new() }
    }

    /// Adds an arc and returns its number.
    pub(super) fn arc(&mut self, from: usize, to: usize, capacity: u64, cost: i32) -> usize {
        let arc = self.arcs.len();
        self.leaving[from].push(arc as u32);
        self.leaving[to].push(arc as u32 + 1);
        self.arcs.push(Arc { to: to as u32, left: capacity, cost });
        self.arcs.push(Arc { to: from as u32, left: 0, cost: -cost });
        arc
    }

    /// What passes through an arc.
    pub(super) fn flow(&self, arc: usize) -> u64 {
        self.arcs[arc ^ 1].left
    }

    /// Sends as much as can pass from `from` to `to`, at the least cost; returns the amount.
    pub(super) fn maximise(&mut self, from: usize, to: usize) -> u64 {
        let mut potential = vec![0; self.leaving.len()];
        let mut sent = 0;
        while self.shorten(from, to, &mut potential) {
            sent += self.fill(from, to, &potential);
        }
        sent
    }

    /// Nodes that can still be reached from `from`.
    pub(super) fn reachable(&self, from: usize) -> Vec<bool> {
        self.levels(from, &vec![0; self.leaving.len()], false)
            .iter()
            .map(|&level| level != UNREACHED)
            .collect()
    }

    /// Raises potentials by the shortest distances; false where `to` can't be reached.
    fn shorten(&self, from: usize, to: usize, potential: &mut [i32]) -> bool {
        let mut distance = vec![UNREACHED; self.leaving.len()];
        distance[from] = 0;
        let mut next = BinaryHeap::from([Reverse((0, from as u32))]);
        while let Some(Reverse((at, node))) = next.pop() {
            if at > distance[node as usize] {
                continue;
            }
            for &arc in &self.leaving[node as usize] {
                let Arc { to, left, cost } = self.arcs[arc as usize];
                let reached = at + cost + potential[node as usize] - potential[to as usize];
                if left > 0 && reached < distance[to as usize] {
                    distance[to as usize] = reached;
                    next.push(Reverse((reached, to)));
                }
            }
        }
        let end = distance[to];
        if end == UNREACHED {
            return false;
        }
        for (potential, distance) in potential.iter_mut().zip(&distance) {
            *potential += distance.min(&end);
        }
        true
    }

    /// Dinic's algorithm on the arcs without reduced cost.
    fn fill(&mut self, from: usize, to: usize, potential: &[i32]) -> u64 {
        let mut sent = 0;
        loop {
            let level = self.levels(from, potential, true);
            if level[to] == UNREACHED {
                return sent;
            }
            let mut tried = vec![0_usize; self.leaving.len()];
            let mut path: Vec<u32> = Vec::new();
            let mut node = from;
            loop {
                if node == to {
                    let amount = path.iter().map(|&arc| self.arcs[arc as usize].left).min().unwrap_or(0);
                    for &arc in &path {
                        self.arcs[arc as usize].left -= amount;
                        self.arcs[arc as usize ^ 1].left += amount;
                    }
                    sent += amount;
                    let full = path.iter().position(|&arc| self.arcs[arc as usize].left == 0);
                    let keep = full.expect("an arc is full");
                    node = self.arcs[path[keep] as usize ^ 1].to as usize;
                    path.truncate(keep);
                    continue;
                }
                let Some(&arc) = self.leaving[node].get(tried[node]) else {
                    let Some(back) = path.pop() else { break };
                    node = self.arcs[back as usize ^ 1].to as usize;
                    tried[node] += 1;
                    continue;
                };
                let Arc { to: next, left, cost } = self.arcs[arc as usize];
                let next = next as usize;
                let admissible = left > 0
                    && level[next] == level[node] + 1
                    && cost + potential[node] - potential[next] == 0;
                if admissible {
                    path.push(arc);
                    node = next;
                } else {
                    tried[node] += 1;
                }
            }
        }
    }

    /// Arcs from `from` to each node, over arcs with room, and where `tight` without reduced cost.
    fn levels(&self, from: usize, potential: &[i32], tight: bool) -> Vec<i32> {
        let mut level = vec![UNREACHED; self.leaving.len()];
        level[from] = 0;
        let mut next = VecDeque::from([from]);
        while let Some(node) = next.pop_front() {
            for &arc in &self.leaving[node] {
                let Arc { to, left, cost } = self.arcs[arc as usize];
                let to = to as usize;
                let free = !tight || cost + potential[node] - potential[to] == 0;
                if left > 0 && free && level[to] == UNREACHED {
                    level[to] = level[node] + 1;
                    next.push_back(to);
                }
            }
        }
        level
    }
}
