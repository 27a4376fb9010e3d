//! Which rack serves whose tokens for one expert, as the search reckons: own racks first, then what others have left.

/// For each source rack, stretches of points and the racks that serve them.
#[derive(Default)]
pub(super) struct Routes {
    /// Stretches of rack r: `first[r]..first[r + 1]`.
    first: Vec<u32>,
    /// Where each ends in 0..1, and its rack.
    stretches: Vec<(f64, u8)>,
}

impl Routes {
    /// For each source rack, the racks that serve its tokens: its own as far as its replicas' even share goes, then others that
    /// have some left, in order. `wanted` and `replicas` are by rack; `count` is the sum of the latter.
    pub(super) fn fill(&mut self, wanted: &[f64], replicas: &[u16], count: u16) {
        let racks = wanted.len();
        let each = wanted.iter().sum::<f64>() / f64::from(count);
        let part = |rack: usize| each * f64::from(replicas[rack]);
        let first_holder = replicas.iter().position(|&n| n > 0).unwrap_or(0);
        self.first.clear();
        self.stretches.clear();
        let (mut next, mut left) = (0, (part(0) - wanted[0]).max(0.0));
        for (rank_wants, (rack, &held)) in wanted.iter().zip(replicas.iter().enumerate()) {
            let (begin, wanted_here) = (self.stretches.len(), *rank_wants);
            self.first.push(begin as u32);
            let mut sum = wanted_here.min(part(rack));
            if sum > 0.0 {
                self.stretches.push((sum / wanted_here, rack as u8));
            }
            while sum < wanted_here && next < racks {
                let taken = left.min(wanted_here - sum);
                left -= taken;
                if taken > 0.0 {
                    sum += taken;
                    self.stretches.push((sum / wanted_here, next as u8));
                }
                if left <= 0.0 {
                    next += 1;
                    left = if next < racks { (part(next) - wanted[next]).max(0.0) } else { 0.0 };
                }
            }
            if self.stretches.len() == begin {
                let nearest = if held > 0 { rack } else { first_holder };
                self.stretches.push((1.0, nearest as u8));
            }
        }
        self.first.push(self.stretches.len() as u32);
    }

    /// The stretches of a source rack.
    pub(super) fn of(&self, source: u8) -> &[(f64, u8)] {
        let source = usize::from(source);
        &self.stretches[self.first[source] as usize..self.first[source + 1] as usize]
    }

    /// The way through the stretches of a source rack, for points that don't fall.
    pub(super) fn way(&self, source: u8) -> Way<'_> {
        Way { left: self.of(source) }
    }
}

/// A place in the stretches of a source rack.
pub(super) struct Way<'a> {
    left: &'a [(f64, u8)],
}

impl Way<'_> {
    /// The rack that serves `point`, which is no less than the one before.
    pub(super) fn to(&mut self, point: f64) -> u8 {
        while self.left.len() > 1 && point >= self.left[0].0 {
            self.left = &self.left[1..];
        }
        self.left[0].1
    }
}
