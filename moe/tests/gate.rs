//! What a placement makes of a gate with limits, against the gate's definition spelled out and its copies counted one by one.

use moe::evaluation::Evaluation;
use moe::gate::{Fit, SelectionRule, rarities};
use moe::load::parse_loads;
use moe::placement::{Aim, Demand, POLICIES, Placement, PlacementPolicy, RackAware};
use moe::seed::{Purpose, generator};
use moe::{DispatchScheme, ExpertId};
use rand::RngExt;
use std::collections::BTreeSet;
use topology::{Cluster, RankId};

/// DeepSeek-V3's.
const RULE: SelectionRule =
    SelectionRule { experts: 256, zero: 0, top_k: 8, groups: 8, kept: 4, summed: 2, equal: false };
const SIZE: u32 = 32;
const TOKENS: u64 = 60_000;

/// The experts of a token: scores of popularity and Gumbel noise, four groups by the sum of their two best, eight experts of them.
fn token(number: u64, rarity: &[f64]) -> Vec<u32> {
    let mut rng = generator(Purpose::Routing, 1, [number, 0, 0]);
    let scores: Vec<f64> =
        rarity.iter().map(|rarity| -rarity.ln() - (-(1.0 - rng.random::<f64>()).ln()).ln()).collect();
    let mut groups: Vec<(f64, u32)> = (0..8)
        .map(|group| {
            let mut best = scores[(group * SIZE) as usize..][..SIZE as usize].to_vec();
            best.sort_by(|a, b| b.total_cmp(a));
            (best[0] + best[1], group)
        })
        .collect();
    groups.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut experts: Vec<u32> =
        groups[..4].iter().flat_map(|&(_, group)| group * SIZE..(group + 1) * SIZE).collect();
    experts.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    experts.truncate(8);
    experts
}

/// Copies between racks a token: flat has one for each expert of another rack, dedup one for each rank there, hierarchical one for each
/// other rack.
fn crossings(cluster: &Cluster, placement: &Placement, tokens: &[Vec<u32>]) -> [f64; 3] {
    let mut sums = [0; 3];
    for (number, experts) in (0..).zip(tokens) {
        let (source, turn) = (RankId(number % cluster.num_ranks()), number / cluster.num_ranks());
        let host =
            |&expert: &u32| placement.rank_of(placement.slot_for(cluster, source, turn, ExpertId(expert)));
        let away: Vec<RankId> =
            experts.iter().map(host).filter(|&rank| !cluster.same_rack(rank, source)).collect();
        let ranks: BTreeSet<RankId> = away.iter().copied().collect();
        let racks: BTreeSet<_> = ranks.iter().map(|&rank| cluster.rack_of(rank)).collect();
        sums.iter_mut().zip([away.len(), ranks.len(), racks.len()]).for_each(|(sum, copies)| *sum += copies);
    }
    sums.map(|count| count as f64 / tokens.len() as f64)
}

/// A record of one layer, as counts: uneven within groups, and groups uneven too.
fn recorded() -> Vec<u64> {
    let count = |expert: u64| {
        let own = ((expert * 167 + 59) % 256) as f64 / 256.0 - 0.5;
        (20_000.0 * (1.6 * own + 0.08 * (expert / 32 * 5 % 8) as f64).exp()) as u64
    };
    let counts: Vec<String> = (0..256).map(|expert| count(expert).to_string()).collect();
    let text = format!("[[{}]]", counts.join(","));
    let loads = parse_loads(text.as_bytes(), "recorded.json").expect("a record");
    let one_rack = Cluster::uniform(1, 1).expect("small");
    Demand::measured(&one_rack, &loads, 0, 8).expect("a layer").load().to_vec()
}

#[test]
fn what_crosses_is_what_the_gate_sends() {
    let cluster = Cluster::uniform(4, 8).expect("small");
    let popular: Vec<u64> = (0..256).map(|expert: u64| 90_000 / (9 + expert * 11 % 256)).collect();
    let ends = [Aim::FewestCopies, Aim::Balance(0.9)].map(|aim| RackAware { aim });
    for (name, load) in [("uniform", vec![5; 256]), ("popular", popular), ("recorded", recorded())] {
        let loads: Vec<f64> = load.iter().map(|&load| load as f64).collect();
        let rarity = rarities(&RULE, &loads, Fit::Close).expect("reachable");
        let tokens: Vec<Vec<u32>> = (0..TOKENS).map(|number| token(number, &rarity)).collect();
        let demand = Demand::new(load, 1).under(&RULE).expect("reachable");
        assert_eq!((demand.groups(), demand.top_k(), demand.is_gated()), (8, 8, true));
        let registry = POLICIES.iter().map(|policy| policy as &dyn PlacementPolicy);
        for policy in registry.chain(ends.iter().map(|end| end as _)) {
            let slots = policy.is_for_demand().then_some(288);
            let placement = Placement::by(policy, &cluster, slots, &demand).expect("placed");
            let judged = Evaluation::new(&cluster, &placement, &demand).expect("judged");
            let slow = crossings(&cluster, &placement, &tokens);
            for ((copies, error), slow) in judged.copies.iter().zip(judged.inter_errors).zip(slow) {
                let case = format!("{name}, {}: {} {slow} {error}", policy.name(), copies.inter);
                assert!((copies.inter - slow).abs() <= 0.01 * slow, "{case}");
                assert!(error < 0.004 * slow.max(0.1), "{case}");
            }
        }
    }
    assert_eq!(DispatchScheme::ALL.len(), 3);
}

#[test]
fn loads_that_the_gate_can_not_have_are_refused() {
    let mut load = vec![1; 256];
    load[9] = 200;
    let error = Demand::new(load, 8).of_layer(7).under(&RULE).expect_err("too popular");
    let said = "layer 7 asks what its gate can't: expert 9 has 43.96% of the picks; with 8 experts a token none has more than 12.50%";
    assert!(error.to_string().contains(said), "{error}");
}
