//! Which racks have which experts, and whose tokens they serve.

use super::super::pack::Packing;
use super::super::routes::Routes;

/// Replicas by expert and rack, beside what is wanted of them.
pub(super) struct Places {
    pub(super) racks: usize,
    /// By expert: what each rack wants of it, `[experts, racks]` by rows.
    pub(super) wanted: Vec<f64>,
    /// Its sums by expert.
    pub(super) total: Vec<f64>,
    /// Replicas of an expert in a rack, `[experts, racks]` by rows.
    pub(super) replicas: Vec<u16>,
    pub(super) count: Vec<u16>,
}

impl Places {
    pub(super) fn new(rack_of: &[usize], by_rack: &[Vec<f64>], packing: &Packing) -> Self {
        let (racks, experts) = (by_rack.len(), packing.load.len());
        let (mut replicas, mut count) = (vec![0; experts * racks], vec![0; experts]);
        for (&rack, held) in rack_of.iter().zip(&packing.held) {
            for &expert in held {
                replicas[expert as usize * racks + rack] += 1;
                count[expert as usize] += 1;
            }
        }
        let wanted: Vec<f64> =
            (0..experts).flat_map(|expert| by_rack.iter().map(move |row| row[expert])).collect();
        let total = wanted.chunks(racks).map(|wanted| wanted.iter().sum()).collect();
        Self { racks, wanted, total, replicas, count }
    }

    pub(super) fn relocate(&mut self, expert: usize, from: usize, to: usize) {
        self.replicas[expert * self.racks + from] -= 1;
        self.replicas[expert * self.racks + to] += 1;
    }

    /// Where the tokens of each rack go for `expert`.
    pub(super) fn routes(&self, expert: usize, routes: &mut Routes) {
        self.routes_by(expert, &self.replicas[expert * self.racks..][..self.racks], routes);
    }

    /// The same with a replica moved from one rack to another.
    pub(super) fn routes_moved(&self, expert: usize, [from, to]: [usize; 2], routes: &mut Routes) {
        let mut replicas: smallvec::SmallVec<[u16; 16]> =
            self.replicas[expert * self.racks..][..self.racks].into();
        replicas[from] -= 1;
        replicas[to] += 1;
        self.routes_by(expert, &replicas, routes);
    }

    fn routes_by(&self, expert: usize, replicas: &[u16], routes: &mut Routes) {
        let each = self.total[expert] / f64::from(self.count[expert]);
        routes.fill(&self.wanted[expert * self.racks..][..self.racks], replicas, each);
    }
}
