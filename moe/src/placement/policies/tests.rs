//! What every policy of the registry keeps to, and that one more needs no more than its line.

use super::*;
use crate::ids::ExpertId;
use crate::placement::{Demand, Placement, PlacementError, PlacementWord};
use proptest::prelude::*;
use snake::Snake;
use topology::Cluster;

/// The registry with one more line.
fn with_snake() -> Registry<dyn PlacementPolicy> {
    let entries: Vec<&dyn PlacementPolicy> = POLICIES.iter().chain([&Snake as _]).collect();
    Registry::new("placement policy", entries.leak())
}

/// Experts, slots, ranks of each rack, and a demand for them.
fn any_demand() -> impl Strategy<Value = (Cluster, u32, Demand)> {
    let racks = prop::collection::vec(1_u32..5, 1..4);
    let load = prop::collection::vec(prop_oneof![Just(0), 0_u64..100, 0_u64..100_000], 1..40);
    (racks, load, 0.0_f64..1.0, 1_u32..5).prop_map(|(racks, load, extra, top_k)| {
        let cluster = Cluster::new(&racks).expect("valid");
        let (experts, ranks) = (load.len() as u32, cluster.num_ranks());
        let slots = experts + (f64::from(experts * (ranks - 1)) * extra) as u32;
        (cluster, slots, Demand::new(load, top_k))
    })
}

/// Whatever a policy is asked for, it answers in the same way each time: with a reason, or every expert in a slot and as many
/// slots as were asked for or as it has.
fn check(policy: &dyn PlacementPolicy, cluster: &Cluster, slots: u32, demand: &Demand) {
    let name = policy.name();
    let asked = policy.is_for_demand().then_some(slots);
    let place = || Placement::by(policy, cluster, asked, demand);
    let placement = match (place(), place()) {
        (Ok(placement), Ok(again)) => {
            assert_eq!(placement, again, "{name}: the same demand");
            placement
        }
        (Err(error), Err(again)) => {
            assert_eq!(error.to_string(), again.to_string(), "{name}");
            return;
        }
        other => panic!("{name}: once so and once otherwise: {other:?}"),
    };
    assert!(placement.fits(cluster), "{name}: another cluster's");
    assert_eq!(placement.num_experts(), demand.num_experts(), "{name}");
    assert!(asked.is_none_or(|slots| slots == placement.num_slots()), "{name}: other slots");
    let hosted = |expert| !placement.replicas_of(ExpertId(expert)).is_empty();
    assert!((0..demand.num_experts()).all(hosted), "{name}: an expert without a slot");
    if !policy.is_for_demand() {
        let other = Some(placement.num_slots() + 1);
        let refused = Placement::by(policy, cluster, other, demand);
        assert!(matches!(refused, Err(PlacementError::FixedSlots { .. })), "{name}: {refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_policy_hosts_every_expert_in_the_slots_it_is_given((cluster, slots, demand) in any_demand()) {
        for policy in with_snake().iter() {
            check(policy, &cluster, slots, &demand);
        }
    }
}

#[test]
fn every_policy_places_where_all_numbers_divide() {
    let cluster = Cluster::new(&[4, 4]).unwrap();
    let demand = Demand::new((0..16).collect(), 2).in_groups(4);
    for policy in with_snake().iter() {
        assert!(Placement::by(policy, &cluster, None, &demand).is_ok(), "{}", policy.name());
    }
}

#[test]
fn a_policy_is_named_in_words_errors_and_documentation_by_its_line() {
    let registry = with_snake();
    let word = |text| PlacementWord::read(text, registry.names());
    assert_eq!(word("snake"), Ok(PlacementWord::Policy("snake".to_owned())));
    #[cfg(not(feature = "extending"))]
    assert_eq!("snake".parse(), Ok(PlacementWord::File("snake".into())), "not without the line");
    let error = registry.named("snak").unwrap_err().to_string();
    let known = registry.names().collect::<Vec<_>>().join(", ");
    assert!(error.contains("did you mean `snake`?") && error.ends_with(&known), "{error}");
    let line = format!("| `snake` | {} |\n", Snake.help());
    assert!(registry.markdown().ends_with(&line), "{}", registry.markdown());
}

#[test]
fn names_are_words_and_help_is_a_line() {
    for policy in POLICIES.iter() {
        let (name, help) = (policy.name(), policy.help());
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        assert!(!help.is_empty() && !help.contains(['\n', '|']) && !help.ends_with('.'), "{name}: {help}");
        assert_eq!(POLICIES.names().filter(|other| *other == name).count(), 1, "{name} twice");
    }
}

#[cfg(not(feature = "extending"))]
#[test]
fn the_documentation_has_every_policy() {
    let page = include_str!("../../../../docs/placement.md");
    assert!(page.contains(&POLICIES.markdown()), "docs/placement.md should have\n{}", POLICIES.markdown());
    let page = include_str!("../../../../docs/extending.md");
    assert!(page.contains(include_str!("tests/snake.rs")), "docs/extending.md shows another snake.rs");
}

#[test]
fn words_are_written_as_they_are_read() {
    for word in ["linear", "eplb-global", "a/b.json", "file:linear", "exec:./place.sh --fast", "exec:a:b"] {
        assert_eq!(word.parse::<PlacementWord>().expect(word).to_string(), word);
    }
    assert_eq!("file:a.json".parse::<PlacementWord>().unwrap().to_string(), "a.json");
    for wrong in ["", " ", "file:", "exec: "] {
        assert!(wrong.parse::<PlacementWord>().is_err(), "{wrong}");
    }
}
