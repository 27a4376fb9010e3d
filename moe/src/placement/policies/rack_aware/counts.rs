//! How many replicas each expert has, by load alone.

/// An expert's replicas and the load of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) load: f64,
}

/// One slot an expert, then each further one to the expert with the most load a replica that still has a rank without it.
pub(super) fn replica_loads(load: &[f64], slots: u32, ranks: u32) -> Vec<Replicas> {
    let mut replicas: Vec<Replicas> = load.iter().map(|&load| Replicas { count: 1, load }).collect();
    for _ in load.len() as u32..slots {
        let open = (0..load.len()).rev().filter(|&expert| replicas[expert].count < ranks);
        // The first of the hottest; without any load left, the one with the fewest.
        let hottest = open.max_by(|&a, &b| {
            let (a, b) = (replicas[a], replicas[b]);
            a.load.total_cmp(&b.load).then(b.count.cmp(&a.count))
        });
        let hottest = hottest.expect("no more slots than experts times ranks");
        replicas[hottest].count += 1;
        replicas[hottest].load = load[hottest] / f64::from(replicas[hottest].count);
    }
    replicas
}

/// A load that the fullest rank has whatever is placed where: experts without a second replica, of which so many share a rank.
pub(super) fn least_full(load: &[f64], slots: u32, ranks: u32) -> f64 {
    let single = (2 * load.len()).saturating_sub(slots as usize);
    let mut load = load.to_vec();
    load.sort_unstable_by(f64::total_cmp);
    // Were the lightest ones the single ones, some rank would have this many of them or of heavier ones.
    let shared = (0..).zip((0..single).step_by(ranks as usize));
    shared.map(|(others, at): (u32, usize)| f64::from(others + 1) * load[single - 1 - at]).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rank_is_less_full_than_single_experts_have_it() {
        // 7 of 9 equal experts are single, 4 ranks: one has two of them. Of 2, 3, 3, 3 with a fifth slot, three are single.
        assert_eq!(least_full(&[1.0; 9], 11, 4), 2.0);
        assert_eq!(least_full(&[3.0, 2.0, 3.0, 3.0], 5, 2), 2.0 * 2.0);
        assert_eq!(least_full(&[1.0; 4], 8, 2), 0.0);
    }
}
