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
