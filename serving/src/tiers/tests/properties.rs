//! What must hold whatever is asked of a cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use topology::{Picos, Rate};

use super::super::*;
use super::slow::Slow;
use crate::request::Prefix;

const BLOCK_TOKENS: u32 = 4;
const BLOCK_BYTES: u64 = 40;

/// Something that is asked of a cache, so much later than what was before.
#[derive(Clone, Debug)]
struct Ask {
    after: Picos,
    store: bool,
    ids: Vec<u64>,
    tokens: u32,
}

/// Prompts that often share beginnings; sometimes the same id at another place, which is another block.
fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let after = prop_oneof![Just(0), 1..3_000_000_000_000_u64];
    let ask = (after, any::<bool>(), prop::collection::vec(0..3_u64, 0..7), 1..30_u32)
        .prop_map(|(after, store, ids, tokens)| Ask { after: Picos(after), store, ids, tokens });
    prop::collection::vec(ask, 0..80)
}

/// Tiers of a few blocks, each slower and cheaper than the one before, from which blocks sink after seconds.
fn specs() -> impl Strategy<Value = CacheSpec> {
    let policy = prop_oneof![
        3 => Just(Policy::HoldOrRecompute),
        2 => Just(Policy::Lru),
        1 => Just(Policy::None),
    ];
    (prop::collection::vec(1..9_u64, 0..4), policy).prop_map(|(capacities, policy)| CacheSpec {
        tiers: capacities
            .iter()
            .enumerate()
            .map(|(tier, blocks)| TierSpec {
                name: tier.to_string(),
                capacity_bytes: blocks * BLOCK_BYTES + 1,
                read_bytes_per_s: Rate::new(400 >> (2 * tier)).expect("not 0"),
                usd_per_gb_hour: 1e6 / f64::from(1_u32 << (3 * tier)),
                in_place: tier == 0,
            })
            .collect(),
        block_tokens: BLOCK_TOKENS,
        bytes_per_token: BLOCK_BYTES / u64::from(BLOCK_TOKENS),
        recompute: Recompute { seconds_per_token: 1.0, usd_per_hour: 0.03 },
        policy,
        load: LoadRule::Always,
    })
}

fn prefix(ids: &[u64]) -> Prefix {
    Prefix { block_tokens: BLOCK_TOKENS, blocks: Arc::from(ids) }
}

/// Whole paths by tier in use, in the order in which they leave; checks that every block is in one place, after its parent.
fn paths(store: &KvStore) -> Vec<Vec<Vec<u64>>> {
    let parents: BTreeMap<u32, (u32, u64)> =
        store.blocks.edges().map(|(parent, id, child)| (child, (parent, id))).collect();
    let mut paths = Vec::new();
    for (index, shelf) in store.shelves.iter().enumerate() {
        let path = |slot: u32| {
            assert_eq!(usize::from(store.blocks[slot].shelf), index);
            let mut path = Vec::new();
            let mut at = Some(slot);
            while let Some((parent, id)) = at.and_then(|slot| parents.get(&slot)) {
                path.insert(0, *id);
                at = Some(*parent);
            }
            path
        };
        let standing: Vec<_> = shelf.in_order(&store.blocks).map(path).collect();
        assert_eq!(standing.len() as u64, shelf.blocks);
        assert!(shelf.blocks <= shelf.capacity && shelf.counts.high_water <= shelf.capacity);
        paths.push(standing);
    }
    assert_eq!(paths.iter().map(Vec::len).sum::<usize>(), store.blocks.held());
    let places = paths.concat();
    for path in places.iter().filter(|path| path.len() > 1) {
        let place = |wanted: &[u64]| places.iter().position(|path| path == wanted);
        assert!(place(&path[..path.len() - 1]).is_some(), "{path:?} is held without its beginning");
    }
    paths
}

proptest! {
    #[test]
    fn it_does_what_the_slow_cache_does(spec in specs(), asks in asks(), then in 0..9_000_000_000_000_u64) {
        let mut store = KvStore::new(spec.clone()).expect("a sound spec");
        let mut slow = Slow::new(&spec);
        let mut now = Picos::ZERO;
        for ask in &asks {
            now += ask.after;
            if ask.store {
                store.store(now, &prefix(&ask.ids), ask.tokens).expect("few blocks");
                slow.store(now, &ask.ids, ask.tokens);
            } else {
                let found = store.lookup(now, &prefix(&ask.ids), ask.tokens).expect("few blocks");
                let shelves = slow.lookup(now, &ask.ids, ask.tokens);
                prop_assert_eq!(found.hit_tokens, shelves.len() as u32 * BLOCK_TOKENS);
                prop_assert!(found.hit_tokens < ask.tokens);
                prop_assert_eq!(found.by_tier.iter().sum::<u32>(), found.hit_tokens);
                for (shelf, place) in store.residences().iter().enumerate() {
                    let there = shelves.iter().filter(|&&at| at == shelf).count() as u32;
                    prop_assert_eq!(found.by_tier[place.tier], there * BLOCK_TOKENS);
                }
            }
            prop_assert_eq!(paths(&store), slow.paths());
        }
        now += Picos(then);
        let (report, integrals) = (store.report(now), slow.integrals(now));
        prop_assert_eq!(report.stored_blocks, slow.stored);
        prop_assert_eq!(report.dropped_blocks, slow.dropped);
        for (shelf, integral) in store.shelves.iter().zip(integrals) {
            prop_assert_eq!(shelf.held(now), integral);
        }
    }

    #[test]
    fn nothing_is_lost_and_money_adds_up(spec in specs(), asks in asks()) {
        let mut store = KvStore::new(spec.clone()).expect("a sound spec");
        let mut now = Picos::ZERO;
        for ask in &asks {
            now += ask.after;
            if ask.store {
                store.store(now, &prefix(&ask.ids), ask.tokens).expect("few blocks");
            } else {
                store.lookup(now, &prefix(&ask.ids), ask.tokens).expect("few blocks");
            }
        }
        let report = store.report(now);
        let held: u64 = report.tiers.iter().map(|tier| tier.blocks).sum();
        prop_assert_eq!(report.stored_blocks, held + report.dropped_blocks);
        for (tier, spec) in report.tiers.iter().zip(&spec.tiers) {
            let left = tier.raised_blocks + tier.evicted_blocks + tier.demoted_blocks;
            prop_assert_eq!(tier.arrived_blocks, tier.blocks + left);
            let price = tier.held_gb_hours * spec.usd_per_gb_hour;
            prop_assert!((tier.hold_usd - price).abs() <= 1e-9 * price);
            prop_assert!(tier.hold_usd <= tier.capacity_usd * (1.0 + 1e-9));
        }
        prop_assert_eq!(report.tiers.iter().map(|tier| tier.hit_tokens).sum::<u64>(), report.hit_tokens);
        let all = report.input_tokens as f64 * spec.recompute.seconds_per_token * spec.recompute.price().0;
        let saved: f64 = report.tiers.iter().map(|tier| tier.saved_usd).sum();
        prop_assert!((report.compute_usd + saved - all).abs() <= 1e-9 * all.abs().max(1e-12));
    }

    #[test]
    fn with_lru_more_room_never_finds_less(asks in asks(), blocks in 1..12_u64, more in 1..6_u64, spec in specs()) {
        let of = |blocks: u64| {
            let tier = TierSpec {
                name: "one".to_owned(),
                capacity_bytes: blocks * BLOCK_BYTES,
                read_bytes_per_s: Rate::new(1).expect("not 0"),
                usd_per_gb_hour: 0.0,
                in_place: true,
            };
            KvStore::new(CacheSpec { tiers: vec![tier], policy: Policy::Lru, ..spec.clone() }).expect("sound")
        };
        let (mut small, mut large) = (of(blocks), of(blocks + more));
        for ask in &asks {
            if ask.store {
                for store in [&mut small, &mut large] {
                    store.store(Picos::ZERO, &prefix(&ask.ids), ask.tokens).expect("few blocks");
                }
            } else {
                let [few, many] = [&mut small, &mut large]
                    .map(|store| store.lookup(Picos::ZERO, &prefix(&ask.ids), ask.tokens).expect("few blocks"));
                prop_assert!(few.hit_tokens <= many.hit_tokens);
            }
            let large = paths(&large).concat();
            prop_assert!(paths(&small).concat().iter().all(|path| large.contains(path)));
        }
    }

    #[test]
    fn an_idle_prompt_costs_at_most_twice_what_it_would_if_the_future_were_known(
        prices in prop::collection::vec((1e3..1e7_f64, 1..10_000_u64), 1..6), idle in 0.0..2e4_f64,
    ) {
        let tiers = prices.iter().enumerate().map(|(tier, &(usd_per_gb_hour, rate))| TierSpec {
            name: tier.to_string(),
            capacity_bytes: 100 * BLOCK_BYTES,
            read_bytes_per_s: Rate::new(rate).expect("not 0"),
            usd_per_gb_hour,
            in_place: tier == 0,
        });
        let spec = CacheSpec {
            tiers: tiers.collect(),
            block_tokens: BLOCK_TOKENS,
            bytes_per_token: BLOCK_BYTES / u64::from(BLOCK_TOKENS),
            recompute: Recompute { seconds_per_token: 1.0, usd_per_hour: 300.0 },
            policy: Policy::HoldOrRecompute,
            load: LoadRule::Cheaper,
        };
        let again = 4.0 * 300.0 / 3600.0;
        let mut all = spec.clone();
        all.policy = Policy::Lru;
        let known = residences(&all).iter().map(|place| place.hold.0 * idle + place.read.0).fold(again, f64::min);
        let (mut spent, mut left, mut fetch) = (0.0, idle, again);
        for place in residences(&spec) {
            let stay = place.stay.as_micros_f64() / 1e6;
            spent += place.hold.0 * left.min(stay);
            if left < stay {
                fetch = place.read.0;
                break;
            }
            left -= stay;
        }
        prop_assert!(spent + fetch <= 2.0 * known * (1.0 + 1e-6), "{} {known}", spent + fetch);
    }

    #[test]
    fn a_prompt_is_found_until_holding_has_cost_as_much_as_computing(share in 0.0..2.0_f64, blocks in 1..20_u64) {
        let tier = TierSpec {
            name: "hbm".to_owned(),
            capacity_bytes: 20 * BLOCK_BYTES,
            read_bytes_per_s: Rate::new(1).expect("not 0"),
            usd_per_gb_hour: 1e6,
            in_place: true,
        };
        let spec = CacheSpec {
            tiers: vec![tier],
            block_tokens: BLOCK_TOKENS,
            bytes_per_token: BLOCK_BYTES / u64::from(BLOCK_TOKENS),
            recompute: Recompute { seconds_per_token: 1.0, usd_per_hour: 1.0 },
            policy: Policy::HoldOrRecompute,
            load: LoadRule::Cheaper,
        };
        let mut store = KvStore::new(spec).expect("a sound spec");
        let ids: Vec<u64> = (0..blocks).collect();
        let tokens = blocks as u32 * BLOCK_TOKENS;
        store.store(Picos(7), &prefix(&ids), tokens).expect("few blocks");
        // 4 s at $1 an hour buy 40 bytes at $10^6 a GB and hour for 100 s.
        let stay = 100e12;
        let found = store.lookup(Picos(7 + (share * stay) as u64), &prefix(&ids), tokens + 1).expect("few blocks");
        prop_assert_eq!(found.hit_tokens, if share < 1.0 { tokens } else { 0 });
    }
}
