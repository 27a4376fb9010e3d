//! Tests of placements: spread, replicas, and the errors of placement files.

use super::*;
use proptest::prelude::*;
use topology::RackId;

fn cluster(racks: &[u32]) -> Cluster {
    Cluster::new(racks).expect("a valid cluster")
}

fn counts(cluster: &Cluster, placement: &Placement) -> Vec<usize> {
    cluster.ranks().map(|rank| placement.slots_of(rank).len()).collect()
}

fn experts_of(placement: &Placement, rank: u32) -> Vec<u32> {
    placement.slots_of(RankId(rank)).iter().map(|&slot| placement.expert_of(slot).0).collect()
}

#[test]
fn linear_gives_the_first_ranks_one_more() {
    let cluster = cluster(&[72]);
    let placement = Placement::linear(&cluster, 256).unwrap();
    let counts = counts(&cluster, &placement);
    assert_eq!((counts[..40].to_vec(), counts[40..].to_vec()), (vec![4; 40], vec![3; 32]));
    assert_eq!(experts_of(&placement, 39), [156, 157, 158, 159]);
    assert_eq!(experts_of(&placement, 40), [160, 161, 162]);
    assert_eq!((placement.max_slots_per_rank(), placement.num_slots(), placement.num_ranks()), (4, 256, 72));
}

#[test]
fn round_robin_deals_experts_like_cards() {
    let placement = Placement::round_robin(&cluster(&[2, 1]), 7).unwrap();
    assert_eq!([0, 1, 2].map(|rank| experts_of(&placement, rank)), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    let sparse = Placement::round_robin(&cluster(&[4]), 2).unwrap();
    assert_eq!(experts_of(&sparse, 3), [0_u32; 0]);
}

#[test]
fn fewer_experts_than_ranks_leave_ranks_without_slots() {
    let cluster = cluster(&[3, 2]);
    for placement in [Placement::linear(&cluster, 2), Placement::round_robin(&cluster, 2)] {
        assert_eq!(counts(&cluster, &placement.unwrap()), [1, 1, 0, 0, 0]);
    }
    let placement = Placement::one_rack(&cluster, 5, RackId(1)).unwrap();
    assert_eq!(counts(&cluster, &placement), [0, 0, 0, 3, 2]);
}

/// The fraction of the tokens of `rack` for `expert` that goes to each slot.
fn shares(placement: &Placement, rack: u32, expert: u32) -> Vec<(u32, f64)> {
    placement.choices(RackId(rack), ExpertId(expert)).map(|(slot, share)| (slot.0, share)).collect()
}

#[test]
fn a_full_set_in_each_rack_keeps_every_token_there_however_ragged_the_racks() {
    for (racks, experts) in [(vec![3, 5], 15), (vec![4, 4], 6), (vec![72, 72], 256), (vec![8; 64], 12)] {
        let cluster = cluster(&racks);
        let placement = Placement::replicated_per_rack(&cluster, experts).unwrap();
        for rack in cluster.racks() {
            for expert in (0..experts).map(ExpertId) {
                let choices: Vec<_> = placement.choices(rack, expert).collect();
                assert!(choices.len() == 1 && choices[0].1 == 1.0, "{racks:?}");
                assert_eq!(cluster.rack_of(placement.rank_of(choices[0].0)), rack);
            }
        }
    }
}

#[test]
fn the_own_rack_is_preferred_only_where_ranks_stay_even() {
    // Expert 0 thrice in rack 0 and once in rack 1, each replica alone on its rank: a quarter of all for each, so half of
    // rack 1's tokens cross.
    let cluster = cluster(&[3, 3]);
    let json = r#"{"physical_to_logical_map": [0, 0, 0, 0], "slots_per_rank": [1, 1, 1, 1, 0, 0]}"#;
    let placement = Placement::from_json(json, "here", &cluster, 1).unwrap();
    let crossing: f64 =
        shares(&placement, 1, 0).iter().filter(|&&(slot, _)| slot < 3).map(|&(_, share)| share).sum();
    assert!((crossing - 0.5).abs() < 1e-3, "{crossing}");
    let near: f64 =
        shares(&placement, 0, 0).iter().filter(|&&(slot, _)| slot < 3).map(|&(_, share)| share).sum();
    assert_eq!(near, 1.0);
    // With all tokens in rack 0, a quarter crosses the other way; unless a fuller rank is allowed.
    let skewed = placement.clone().for_demand(&cluster, &[vec![8.0], vec![0.0]], 0.0).unwrap();
    let away: f64 =
        shares(&skewed, 0, 0).iter().filter(|&&(slot, _)| slot == 3).map(|&(_, share)| share).sum();
    assert!((away - 0.25).abs() < 1e-3, "{away}");
    let relaxed = placement.for_demand(&cluster, &[vec![8.0], vec![0.0]], 3.0).unwrap();
    assert!(shares(&relaxed, 0, 0).iter().all(|&(slot, _)| slot < 3));
}

#[test]
fn tokens_of_a_rank_follow_the_shares() {
    let cluster = cluster(&[2, 2]);
    let json = r#"{"physical_to_logical_map": [0, 1, 0, 1, 0, 1, 2], "slots_per_rank": [2, 2, 2, 1]}"#;
    let placement = Placement::from_json(json, "here", &cluster, 3).unwrap();
    for source in cluster.ranks() {
        for expert in (0..3).map(ExpertId) {
            let mut counts = [0_u32; 7];
            for token in 0..1000 {
                counts[placement.slot_for(&cluster, source, token, expert).0 as usize] += 1;
            }
            let mut expected = [0.0; 7];
            for (slot, share) in placement.choices(cluster.rack_of(source), expert) {
                assert_eq!(placement.expert_of(slot), expert);
                expected[slot.0 as usize] += 1000.0 * share;
            }
            for (count, expected) in counts.into_iter().zip(expected) {
                assert!((f64::from(count) - expected).abs() < 5.0, "{count} for {expected}");
            }
        }
    }
    for rack in cluster.racks() {
        let joint: Vec<_> = placement.joint_choices(rack).collect();
        assert!((joint.iter().map(|(weight, _)| weight).sum::<f64>() - 1.0).abs() < 1e-12);
        for (slot, share) in placement.choices(rack, ExpertId(0)) {
            let met =
                joint.iter().filter(|(_, slots)| slots[0] == slot).map(|(weight, _)| weight).sum::<f64>();
            assert!((met - share).abs() < 1e-12);
        }
    }
}

#[test]
fn files_split_slots_evenly_unless_they_say_otherwise() {
    let cluster = cluster(&[2, 1]);
    let read = |json: &str| Placement::from_json(json, "map.json", &cluster, 3).unwrap();
    let even = read(r#"{"physical_to_logical_map": [2, 1, 0, 0, 1]}"#);
    assert_eq!(counts(&cluster, &even), [2, 2, 1]);
    let uneven = read(r#"{"physical_to_logical_map": [2, 1, 0, 0, 1], "slots_per_rank": [0, 1, 4]}"#);
    assert_eq!(counts(&cluster, &uneven), [0, 1, 4]);
    assert_eq!(uneven.replicas_of(ExpertId(1)), [SlotId(1), SlotId(4)]);
}

#[test]
fn errors_name_the_origin_the_slot_and_the_remedy() {
    let cluster = cluster(&[2, 1]);
    let message = |json: &str| Placement::from_json(json, "map.json", &cluster, 3).unwrap_err().to_string();
    for (json, expected) in [
        (
            r#"{"physical_to_logical_map": [0, 1, 2, 3]}"#,
            "map.json: physical_to_logical_map[3] is 3, but the model has experts 0 to 2: correct that slot",
        ),
        (
            r#"{"physical_to_logical_map": [0, 0, 0]}"#,
            "map.json: expert 1 has no slot (2 experts have none): add it to physical_to_logical_map",
        ),
        (
            r#"{"physical_to_logical_map": [0, 1, 2], "slots_per_rank": [3]}"#,
            "map.json: slots_per_rank has 1 entries for 3 ranks: give one number per rank",
        ),
        (
            r#"{"physical_to_logical_map": [0, 1, 2], "slots_per_rank": [3, 4294967295, 0]}"#,
            "map.json: slots_per_rank adds up to 4294967298, but physical_to_logical_map has 3 slots: make them agree",
        ),
    ] {
        assert_eq!(message(json), expected);
    }
    for json in ["", "[]", r#"{"physical_to_logical_map": [[0, 1, 2]]}"#, r#"{"phy2log": [0]}"#] {
        let message = message(json);
        assert!(message.starts_with("map.json: ") && message.contains("for one layer"), "{message}");
    }
    assert_eq!(
        Placement::one_rack(&cluster, 3, RackId(2)).unwrap_err().to_string(),
        "one-rack placement: rack 2 does not exist: the cluster has racks 0 to 1"
    );
}

#[test]
fn sizes_are_bounded() {
    let cluster = Cluster::uniform(512, 1).unwrap();
    let refused = |placement: Result<Placement, PlacementError>, problem: &str| {
        let error = placement.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    };
    refused(Placement::linear(&cluster, 0), ": 0 logical experts; a placement covers 1 to ");
    refused(Placement::linear(&cluster, MAX_EXPERTS + 1), " logical experts; ");
    refused(Placement::round_robin(&cluster, u32::MAX), " logical experts; ");
    let slots = 512 * 4096;
    refused(Placement::replicated_per_rack(&cluster, MAX_EXPERTS), &format!(": {slots} slots, more than "));
    let long = " ".repeat((32 << 20) + 1);
    refused(Placement::from_json(&long, "-", &cluster, 1), "not a placement file");
}

#[test]
fn the_stored_form_is_checked_again() {
    let cluster = cluster(&[2, 2]);
    let placement = Placement::replicated_per_rack(&cluster, 3).unwrap();
    let json = serde_json::to_string(&placement).unwrap();
    assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
    let broken = json.replace("[0,1,2,0,1,2]", "[0,1,1,0,1,1]");
    let error = serde_json::from_str::<Placement>(&broken).unwrap_err().to_string();
    assert!(error.contains("expert 2 has no slot"), "{error}");
    let broken = json.replacen("\"slot\":0", "\"slot\":1", 1);
    assert_ne!(broken, json);
    let error = serde_json::from_str::<Placement>(&broken).unwrap_err().to_string();
    assert!(error.contains("shares of replicas don't fit"), "{error}");
    assert!(placement.fits(&cluster) && !placement.fits(&Cluster::new(&[4]).unwrap()));
    assert!(!placement.fits(&Cluster::new(&[2, 3]).unwrap()));
}

proptest! {
    #[test]
    fn every_policy_hosts_every_expert_and_indexes_agree(
        racks in prop::collection::vec(1_u32..6, 1..5),
        num_experts in 1_u32..40,
    ) {
        let cluster = cluster(&racks);
        for placement in [
            Placement::linear(&cluster, num_experts),
            Placement::round_robin(&cluster, num_experts),
            Placement::replicated_per_rack(&cluster, num_experts),
            Placement::one_rack(&cluster, num_experts, RackId(racks.len() as u32 - 1)),
        ] {
            let placement = placement.unwrap();
            let by_rank: Vec<SlotId> =
                cluster.ranks().flat_map(|rank| placement.slots_of(rank).to_vec()).collect();
            prop_assert_eq!(by_rank, (0..placement.num_slots()).map(SlotId).collect::<Vec<_>>());
            for rank in cluster.ranks() {
                prop_assert!(placement.slots_of(rank).iter().all(|&slot| placement.rank_of(slot) == rank));
            }
            for expert in (0..num_experts).map(ExpertId) {
                prop_assert!(!placement.replicas_of(expert).is_empty());
                prop_assert!(placement.replicas_of(expert).iter().all(|&s| placement.expert_of(s) == expert));
                for source in cluster.ranks() {
                    for token in 0..3 {
                        let slot = placement.slot_for(&cluster, source, token, expert);
                        prop_assert_eq!(placement.expert_of(slot), expert);
                        let rack = cluster.rack_of(source);
                        prop_assert!(placement.choices(rack, expert).any(|(choice, _)| choice == slot));
                    }
                }
            }
        }
    }

    /// No shares leave the fullest rank emptier: by Hall's theorem, over every set of experts.
    #[test]
    fn the_fullest_rank_is_as_empty_as_it_can_be(
        racks in prop::collection::vec(1_u32..4, 1..4),
        map in prop::collection::vec(0_u32..5, 0..12),
        load in prop::collection::vec(0_u32..100, 5 * 3),
    ) {
        let cluster = cluster(&racks);
        let map: Vec<ExpertId> = (0..5).chain(map).map(ExpertId).collect();
        let counts = even_split(map.len() as u32, cluster.num_ranks());
        let demand: Vec<Vec<f64>> =
            load.chunks(5).take(racks.len()).map(|rack| rack.iter().copied().map(f64::from).collect()).collect();
        let placement = Placement::from_parts(&cluster, map, &counts, 5, "test").unwrap();
        let placement = placement.for_demand(&cluster, &demand, 0.0).unwrap();
        let sent = |expert: usize| demand.iter().map(|rack| rack[expert]).sum::<f64>();
        let mut least = 0.0_f64;
        for set in 1_u32..32 {
            let members = || (0..5).filter(|expert| set >> expert & 1 == 1);
            let slots = members().flat_map(|expert| placement.replicas_of(ExpertId(expert)));
            let holders: BTreeSet<RankId> = slots.map(|&slot| placement.rank_of(slot)).collect();
            least = least.max(members().map(|expert| sent(expert as usize)).sum::<f64>() / holders.len() as f64);
        }
        let mut loads = vec![0.0; cluster.num_ranks() as usize];
        for (rack, demand) in cluster.racks().zip(&demand) {
            for (expert, amount) in (0..).map(ExpertId).zip(demand) {
                for (slot, share) in placement.choices(rack, expert) {
                    loads[placement.rank_of(slot).0 as usize] += share * amount;
                }
            }
        }
        let fullest = loads.iter().copied().fold(0.0, f64::max);
        let total = loads.iter().sum::<f64>();
        prop_assert!(fullest >= least - 1e-6 * total && fullest <= least + 2e-3 * total, "{} {}", fullest, least);
    }
}
