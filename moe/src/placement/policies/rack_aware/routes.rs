//! Which rack serves whose tokens for one expert, as the search reckons: own racks first, then what others have left.

/// For each source rack, stretches of points and the racks that serve them.
#[derive(Default)]
pub(super) struct Routes {
    /// Stretches of rack r: `first[r]..first[r + 1]`.
    first: Vec<u32>,
    /// Where each ends in 0..1, and its rack.
    stretches: Vec<(f64, u8)>,
    /// Racks whose replicas' even share is more than they want themselves, and how much of that is left.
    spare: Vec<(u8, f64)>,
}

impl Routes {
    /// For each source rack, the racks that serve its tokens: its own as far as its replicas' even share goes, then others that
    /// have some left, in order. `wanted` and `replicas` are by rack; a replica's even share is `each`.
    pub(super) fn fill(&mut self, wanted: &[f64], replicas: &[u16], each: f64) {
        self.first.clear();
        self.stretches.clear();
        self.spare.clear();
        let holders = replicas.iter().enumerate().filter(|(_, held)| **held > 0);
        let spare = holders.map(|(rack, &held)| (rack as u8, each * f64::from(held) - wanted[rack]));
        self.spare.extend(spare.filter(|(_, spare)| *spare > 0.0));
        let mut spare = self.spare.iter_mut();
        let mut next = spare.next();
        for (rack, (&wanted_here, &held)) in wanted.iter().zip(replicas).enumerate() {
            let begin = self.stretches.len();
            self.first.push(begin as u32);
            let mut sum = if held > 0 { wanted_here.min(each * f64::from(held)) } else { 0.0 };
            if sum > 0.0 {
                self.stretches.push((sum / wanted_here, rack as u8));
            }
            while let Some((other, left)) = next.as_mut().filter(|_| sum < wanted_here) {
                let taken = left.min(wanted_here - sum);
                *left -= taken;
                sum += taken;
                self.stretches.push((sum / wanted_here, *other));
                if *left <= 0.0 {
                    next = spare.next();
                }
            }
            if self.stretches.len() == begin {
                let first_holder = || replicas.iter().position(|&held| held > 0).unwrap_or(0);
                let nearest = if held > 0 { rack } else { first_holder() };
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
