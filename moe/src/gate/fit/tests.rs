use super::*;
use crate::gate::{DrawnGate, GroupCounts, Race, Scratch};
use std::collections::BTreeSet;

/// The experts of tokens by the definition: scores `b + Gumbel noise`, groups by the sum of their best scores, then the best experts.
fn slow(rule: &SelectionRule, rarity: &[f64], tokens: u64) -> impl Iterator<Item = Vec<u32>> {
    let (rule, size) = (*rule, rule.group_size() as usize);
    (0..tokens).map(move |token| {
        let mut rng = generator(Purpose::Routing, 99, [token, 0, 0]);
        let scores: Vec<f64> =
            rarity.iter().map(|rarity| -rarity.ln() - (-(1.0 - rng.random::<f64>()).ln()).ln()).collect();
        let merit = |group: &[f64]| {
            let mut group = group.to_vec();
            group.sort_by(|a, b| b.total_cmp(a));
            group[..rule.summed as usize].iter().sum::<f64>()
        };
        let mut groups: Vec<(f64, usize)> = scores.chunks(size).map(merit).zip(0..).collect();
        groups.sort_by(|a, b| b.0.total_cmp(&a.0));
        let kept =
            groups[..rule.kept as usize].iter().flat_map(|&(_, group)| group * size..(group + 1) * size);
        let mut experts: Vec<u32> = kept.map(|expert| expert as u32).collect();
        experts.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        experts.truncate(rule.top_k as usize);
        experts
    })
}

/// Picks of each expert a token, and groups that a token uses.
fn seen(rule: &SelectionRule, tokens: impl Iterator<Item = Vec<u32>>) -> (Vec<f64>, f64) {
    let (mut picks, mut groups, mut count) = (vec![0.0; rule.experts as usize], 0.0, 0.0);
    for experts in tokens {
        let used: BTreeSet<u32> = experts.iter().map(|expert| expert / rule.group_size()).collect();
        let distinct: BTreeSet<&u32> = experts.iter().collect();
        assert!(used.len() <= rule.kept as usize && distinct.len() == rule.top_k as usize);
        experts.iter().for_each(|&expert| picks[expert as usize] += 1.0);
        (groups, count) = (groups + used.len() as f64, count + 1.0);
    }
    (picks.into_iter().map(|picks| picks / count).collect(), groups / count)
}

fn rule(experts: u32, top_k: u32, groups: u32, kept: u32, summed: u32) -> SelectionRule {
    SelectionRule { experts, zero: 0, top_k, groups, kept, summed, equal: false }
}

/// Loads of `experts` experts with a tail, the heaviest at the front of the groups.
fn popular(experts: u32) -> Vec<f64> {
    (0..experts).map(|e| 1000.0 / (4.0 + f64::from(e * 7 % experts)).powf(0.6)).collect()
}

#[test]
fn fitted_popularities_give_recorded_loads_their_shares() {
    for rule in [rule(32, 4, 8, 4, 2), rule(32, 4, 8, 3, 1), rule(32, 4, 1, 1, 2), rule(48, 6, 6, 2, 2)] {
        let loads = popular(rule.experts);
        let rarity = rarities(&rule, &loads, Fit::Close).expect("reachable");
        let total: f64 = loads.iter().sum();
        let tokens = 400_000;
        for (expert, share) in seen(&rule, slow(&rule, &rarity, tokens)).0.into_iter().enumerate() {
            let wanted = f64::from(rule.top_k) * loads[expert] / total;
            let noise = 3.5 * ((1.0 - wanted) / wanted / tokens as f64).sqrt();
            let off = (share / wanted - 1.0).abs();
            assert!(off < 0.007 + noise, "{rule:?}: expert {expert} {off}, noise {noise}");
        }
    }
}

#[test]
fn a_drawn_gate_takes_experts_as_the_definition_has_it() {
    let popular: Vec<f64> = (0..32).map(|expert| 1.0 + f64::from(expert % 7) / 3.0).collect();
    for (rule, rarity) in [
        (rule(32, 4, 8, 4, 2), None),
        (rule(32, 6, 8, 3, 1), None),
        (rule(32, 4, 8, 4, 2), Some(&popular[..])),
    ] {
        let (gate, mut scratch, tokens) = (DrawnGate::new(&rule, None), Scratch::default(), 200_000_u64);
        let drawn = (0..tokens).map(|token| {
            let mut experts = Vec::new();
            gate.draw(&mut generator(Purpose::Demand, 5, [token, 0, 0]), rarity, &mut scratch, &mut experts);
            experts
        });
        let (drawn, groups) = seen(&rule, drawn);
        let rarity = rarity.unwrap_or(&[1.0; 32]);
        let (slow, slow_groups) = seen(&rule, slow(&rule, rarity, tokens));
        let mut race = Race::new(&rule, rarity);
        let raced = (0..tokens).map(|token| {
            let mut experts = Vec::new();
            race.draw(&mut generator(Purpose::Demand, 6, [token, 0, 0]), &mut experts);
            experts
        });
        for (drawn, groups) in [(drawn, groups), seen(&rule, raced)] {
            assert!(
                (groups / slow_groups - 1.0).abs() < 0.005,
                "{rule:?}: {groups} groups a token, {slow_groups}"
            );
            for (expert, (share, slow)) in drawn.into_iter().zip(&slow).enumerate() {
                assert!((share / slow - 1.0).abs() < 0.04, "{rule:?}: expert {expert} {share} {slow}");
            }
        }
    }
}

#[test]
fn equal_shares_of_each_group_are_kept_to() {
    let rule = SelectionRule { equal: true, ..rule(32, 8, 4, 4, 1) };
    // In each group the same, so that a group's share is what it must be.
    let loads: Vec<f64> = (0..32).map(|expert| f64::from(1 + expert % 8)).collect();
    let rarity = rarities(&rule, &loads, Fit::Close).expect("reachable");
    let (gate, mut scratch, tokens) = (DrawnGate::new(&rule, None), Scratch::default(), 100_000_u64);
    let mut race = Race::new(&rule, &rarity);
    for (rarity, raced) in [(Some(&rarity[..]), false), (None, false), (Some(&rarity[..]), true)] {
        let drawn = (0..tokens).map(|token| {
            let mut experts = Vec::new();
            let mut rng = generator(Purpose::Demand, 5, [token, 0, 0]);
            if raced {
                race.draw(&mut rng, &mut experts);
            } else {
                gate.draw(&mut rng, rarity, &mut scratch, &mut experts);
            }
            assert!((0..4).all(|group| experts.iter().filter(|&&expert| expert / 8 == group).count() == 2));
            experts
        });
        for (expert, share) in seen(&rule, drawn).0.into_iter().enumerate() {
            let wanted = rarity.map_or(0.25, |_| 2.0 * loads[expert] / 36.0);
            assert!((share / wanted - 1.0).abs() < 0.05, "{expert}: {share} {wanted}");
        }
    }
    let counts = GroupCounts::of(&rule);
    assert_eq!((counts.tokens(), counts.miss(&[4])), (None, 6.0 / 28.0));
    let error = rarities(&rule, &(1..33).map(f64::from).collect::<Vec<_>>(), Fit::Close).expect_err("uneven");
    assert_eq!(
        error.to_string(),
        "group 0 has 6.82% of the picks; a token takes as many of each of 4 groups"
    );
}

#[test]
fn loads_that_no_gate_has_are_refused_with_what_can_not_be() {
    let refused = |rule: &SelectionRule, loads: &[f64]| {
        rarities(rule, loads, Fit::Close).expect_err("unreachable").to_string()
    };
    let mut loads = vec![1.0; 16];
    loads[3] = 30.0;
    assert_eq!(
        refused(&rule(16, 2, 1, 1, 2), &loads),
        "expert 3 has 66.67% of the picks; with 2 experts a token none has more than 50.00%"
    );
    // One expert of each of eight groups, two of which a token may use.
    let apart: Vec<f64> = (0..32).map(|e| if e % 4 == 0 { 1.0 } else { 0.0 }).collect();
    assert_eq!(
        refused(&rule(32, 4, 8, 2, 1), &apart),
        "a token would use 4.00 groups at least, and the gate keeps 2"
    );
    assert_eq!(rarities(&rule(16, 2, 4, 2, 2), &[7.0; 16], Fit::Rough), Ok(vec![1.0; 16]));
}
