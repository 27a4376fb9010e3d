use super::*;
use crate::gate::{DrawnGate, Scratch};

/// The picks of each expert a token, by the definition: scores `b + Gumbel noise`, groups by the sum of their best scores, then the best experts.
fn slow_shares(rule: &SelectionRule, rarity: &[f64], tokens: u64) -> Vec<f64> {
    let (size, mut picks) = (rule.group_size() as usize, vec![0.0; rarity.len()]);
    for token in 0..tokens {
        let mut rng = generator(Purpose::Routing, 99, [token, 0, 0]);
        let gumbel = || -(-(1.0 - rng.random::<f64>()).ln()).ln();
        let scores: Vec<f64> = rarity
            .iter()
            .map(|rarity| -rarity.ln())
            .zip(std::iter::repeat_with(gumbel))
            .map(|(b, g)| b + g)
            .collect();
        let merit = |group: &[f64]| {
            let mut group = group.to_vec();
            group.sort_by(|a, b| b.total_cmp(a));
            group[..rule.summed as usize].iter().sum::<f64>()
        };
        let mut groups: Vec<(f64, usize)> = scores.chunks(size).map(merit).zip(0..).collect();
        groups.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut experts: Vec<usize> =
            groups[..rule.kept as usize].iter().flat_map(|&(_, g)| g * size..(g + 1) * size).collect();
        experts.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        experts[..rule.top_k as usize].iter().for_each(|&expert| picks[expert] += 1.0);
    }
    picks.iter().map(|picks| picks / tokens as f64).collect()
}

fn rule(experts: u32, top_k: u32, groups: u32, kept: u32, summed: u32) -> SelectionRule {
    SelectionRule { experts, top_k, groups, kept, summed }
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
        for (expert, share) in slow_shares(&rule, &rarity, tokens).into_iter().enumerate() {
            let wanted = f64::from(rule.top_k) * loads[expert] / total;
            let noise = 3.5 * ((1.0 - wanted) / wanted / tokens as f64).sqrt();
            let off = (share / wanted - 1.0).abs();
            assert!(off < 0.007 + noise, "{rule:?}: expert {expert} {off}, noise {noise}");
        }
    }
}

#[test]
fn a_drawn_gate_takes_experts_as_the_definition_has_it() {
    for rule in [rule(32, 4, 8, 4, 2), rule(32, 6, 8, 3, 1)] {
        let rarity: Vec<f64> = (0..32).map(|e| 1.0 + f64::from(e % 7) / 3.0).collect();
        let (gate, mut scratch, tokens) = (DrawnGate::new(&rule, None), Scratch::default(), 200_000_u64);
        let mut picks = vec![0.0; 32];
        for token in 0..tokens {
            let mut experts = Vec::new();
            gate.draw(&mut generator(Purpose::Demand, 5, [token, 0, 0]), &rarity, &mut scratch, &mut experts);
            let mut groups: Vec<u32> = experts.iter().map(|expert| expert / 4).collect();
            groups.sort_unstable();
            groups.dedup();
            assert!(groups.len() <= rule.kept as usize && experts.len() == rule.top_k as usize);
            experts.iter().for_each(|&expert| picks[expert as usize] += 1.0 / tokens as f64);
        }
        for (expert, share) in slow_shares(&rule, &rarity, tokens).into_iter().enumerate() {
            assert!(
                (picks[expert] / share - 1.0).abs() < 0.04,
                "{rule:?}: expert {expert} {} {share}",
                picks[expert]
            );
        }
    }
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
