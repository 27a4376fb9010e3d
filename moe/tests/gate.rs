//! What a placement makes of a gate with limits, against the gate's definition spelled out and its copies counted one by one.

use moe::evaluation::Evaluation;
use moe::gate::{Fit, SelectionRule, rarities};
use moe::placement::{Demand, POLICIES, Placement};
use moe::seed::{Purpose, generator};
use moe::{DispatchScheme, ExpertId};
use rand::RngExt;
use std::collections::BTreeSet;
use topology::{Cluster, RankId};

const RULE: SelectionRule =
    SelectionRule { experts: 64, top_k: 8, groups: 8, kept: 4, summed: 2, equal: false };
const TOKENS: u64 = 60_000;

/// The experts of a token: scores of popularity and Gumbel noise, four groups by the sum of their two best, eight experts of them.
fn token(number: u64, rarity: &[f64]) -> Vec<u32> {
    let mut rng = generator(Purpose::Routing, 1, [number, 0, 0]);
    let scores: Vec<f64> =
        rarity.iter().map(|rarity| -rarity.ln() - (-(1.0 - rng.random::<f64>()).ln()).ln()).collect();
    let mut groups: Vec<(f64, u32)> = (0..8)
        .map(|group| {
            let mut best = scores[group as usize * 8..][..8].to_vec();
            best.sort_by(|a, b| b.total_cmp(a));
            (best[0] + best[1], group)
        })
        .collect();
    groups.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut experts: Vec<u32> = groups[..4].iter().flat_map(|&(_, group)| group * 8..group * 8 + 8).collect();
    experts.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    experts.truncate(8);
    experts
}

/// Copies between racks a token: dedup has one for each rank of another rack, hierarchical one for each other rack.
fn crossings(cluster: &Cluster, placement: &Placement, rarity: &[f64]) -> [f64; 2] {
    let (mut ranks, mut racks) = (0, 0);
    for number in 0..TOKENS {
        let source = RankId((number % u64::from(cluster.num_ranks())) as u32);
        let turn = (number / u64::from(cluster.num_ranks())) as u32;
        let host = |expert| placement.rank_of(placement.slot_for(cluster, source, turn, ExpertId(expert)));
        let away: BTreeSet<RankId> = token(number, rarity)
            .into_iter()
            .map(host)
            .filter(|&rank| !cluster.same_rack(rank, source))
            .collect();
        ranks += away.len();
        racks += away.iter().map(|&rank| cluster.rack_of(rank)).collect::<BTreeSet<_>>().len();
    }
    [ranks, racks].map(|count| count as f64 / TOKENS as f64)
}

#[test]
fn what_crosses_is_what_the_gate_sends() {
    let cluster = Cluster::uniform(4, 2).expect("small");
    let popular: Vec<u64> = (0..64).map(|expert: u64| 9000 / (3 + expert * 11 % 64)).collect();
    for load in [vec![5; 64], popular] {
        let loads: Vec<f64> = load.iter().map(|&load| load as f64).collect();
        let rarity = rarities(&RULE, &loads, Fit::Close).expect("reachable");
        let demand = Demand::new(load, 1).under(&RULE).expect("reachable");
        assert_eq!((demand.groups(), demand.top_k(), demand.is_gated()), (8, 8, true));
        for policy in POLICIES.iter() {
            let slots = policy.is_for_demand().then_some(72);
            let placement = Placement::by(policy, &cluster, slots, &demand).expect("placed");
            let judged = Evaluation::new(&cluster, &placement, &demand).expect("judged");
            let slow = crossings(&cluster, &placement, &rarity);
            for ((copies, error), slow) in judged.copies.iter().zip(judged.inter_errors).skip(1).zip(slow) {
                let near = 0.01 * slow + 2.0 * error;
                assert!(
                    (copies.inter - slow).abs() <= near,
                    "{}: {} {slow} {error}",
                    policy.name(),
                    copies.inter
                );
                assert!(error < 0.004 * slow.max(0.1), "{}: {error}", policy.name());
            }
            assert_eq!(DispatchScheme::ALL.len(), 3);
        }
    }
}

#[test]
fn loads_that_the_gate_can_not_have_are_refused() {
    let mut load = vec![1; 64];
    load[9] = 50;
    let error = Demand::new(load, 8).of_layer(7).under(&RULE).expect_err("too popular");
    let said = "layer 7 asks what its gate can't: expert 9 has 44.25% of the picks; with 8 experts a token none has more than 12.50%";
    assert!(error.to_string().contains(said), "{error}");
}
