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

#[test]
fn replicas_are_found_in_the_sources_own_rack_and_shared_by_its_ranks() {
    let cluster = cluster(&[4, 3]);
    let placement = Placement::replicated_per_rack(&cluster, 6).unwrap();
    assert_eq!(counts(&cluster, &placement), [2, 2, 1, 1, 2, 2, 2]);
    for source in cluster.ranks() {
        for expert in (0..6).map(ExpertId) {
            let slot = placement.slot_for(&cluster, source, expert);
            assert_eq!(placement.expert_of(slot), expert);
            assert!(cluster.same_rack(source, placement.rank_of(slot)));
        }
    }
    // Expert 1 thrice on rack 0's ranks 0, 1, 2 and once on rack 1; expert 0 only on rack 0's rank 3.
    let json = r#"{"physical_to_logical_map": [1, 1, 1, 0, 1, 0], "slots_per_rank": [1, 1, 1, 1, 1, 1, 0]}"#;
    let placement = Placement::from_json(json, "here", &cluster, 2).unwrap();
    let chosen = |source, expert| placement.slot_for(&cluster, RankId(source), ExpertId(expert)).0;
    assert_eq!([0, 1, 2, 3].map(|source| chosen(source, 1)), [0, 1, 2, 0]);
    assert_eq!([4, 5, 6].map(|source| chosen(source, 1)), [4, 4, 4]);
    let placement = Placement::from_json(
        r#"{"physical_to_logical_map": [0, 0, 0], "slots_per_rank": [1, 1, 1, 0, 0, 0, 0]}"#,
        "here",
        &cluster,
        1,
    );
    let placement = placement.unwrap();
    let far = |source| placement.slot_for(&cluster, RankId(source), ExpertId(0)).0;
    assert_eq!([4, 5, 6].map(far), [0, 1, 2], "no replica in the rack: all of them are shared");
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
        "rack 2 does not exist: the cluster has racks 0 to 1"
    );
}

#[test]
fn sizes_are_bounded() {
    let cluster = Cluster::uniform(512, 1).unwrap();
    assert!(matches!(Placement::linear(&cluster, 0), Err(PlacementError::NumExperts { .. })));
    assert!(matches!(Placement::linear(&cluster, MAX_EXPERTS + 1), Err(PlacementError::NumExperts { .. })));
    assert!(matches!(Placement::round_robin(&cluster, u32::MAX), Err(PlacementError::NumExperts { .. })));
    let too_many = Placement::replicated_per_rack(&cluster, MAX_EXPERTS);
    assert!(matches!(too_many, Err(PlacementError::TooManySlots { slots, .. }) if slots == 512 * 4096));
    let long = " ".repeat((32 << 20) + 1);
    assert!(matches!(Placement::from_json(&long, "-", &cluster, 1), Err(PlacementError::TooLong { .. })));
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
                    let slot = placement.slot_for(&cluster, source, expert);
                    prop_assert_eq!(placement.expert_of(slot), expert);
                    let near = |&s: &SlotId| cluster.same_rack(placement.rank_of(s), source);
                    prop_assert_eq!(near(&slot), placement.replicas_of(expert).iter().any(near));
                }
            }
        }
    }
}
