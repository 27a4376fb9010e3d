//! What a few requests find, by hand.

use std::sync::Arc;

use topology::{Picos, Rate};

use super::super::*;
use crate::request::Prefix;

const SECOND: u64 = 1_000_000_000_000;

/// Blocks of 10 tokens and 100 bytes; a fast tier of 3 blocks at 100 bytes/s, a slow one of 4 at 10 bytes/s.
fn two_tiers() -> CacheSpec {
    let tier = |name: &str, blocks: u64, rate: u64, usd_per_gb_hour: f64| TierSpec {
        name: name.to_owned(),
        capacity_bytes: blocks * 100,
        read_bytes_per_s: Rate::new(rate).expect("not 0"),
        usd_per_gb_hour,
        in_place: false,
    };
    CacheSpec {
        tiers: vec![tier("fast", 3, 100, 1e6), tier("slow", 4, 10, 1e4)],
        block_tokens: 10,
        bytes_per_token: 10,
        // 5 s a block.
        recompute: Recompute { seconds_per_token: 0.5, usd_per_hour: 1.0 },
        policy: Policy::Lru,
        load: LoadRule::Always,
    }
}

fn prefix(ids: &[u64]) -> Prefix {
    Prefix { block_tokens: 10, blocks: Arc::from(ids) }
}

#[test]
fn the_longest_beginning_is_found_and_tiers_read_side_by_side() {
    let mut store = KvStore::new(two_tiers()).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2, 3, 4, 5]), 59).expect("room");
    let found = store.lookup(Picos(0), &prefix(&[1, 2, 3, 4, 6]), 50).expect("blocks of 10");
    // The first three are in the fast tier and take 3 s; the fourth is in the slow one and takes 10 s.
    assert_eq!((found.hit_tokens, found.by_tier, found.load), (40, vec![30, 10], Picos(10 * SECOND)));
    assert_eq!(found.recompute_saved, Picos(20 * SECOND));
    // The next one waits for both ports.
    let next = store.lookup(Picos(SECOND), &prefix(&[1, 2]), 50).expect("blocks of 10");
    assert_eq!((next.hit_tokens, next.load), (20, Picos(4 * SECOND)));
    let report = store.report(Picos(SECOND));
    assert_eq!((report.lookups, report.input_tokens, report.hit_tokens), (2, 100, 60));
    assert_eq!([report.tiers[0].busy, report.tiers[1].busy], [Picos(5 * SECOND), Picos(10 * SECOND)]);
    assert_eq!(report.hit_rate(), 0.6);
}

#[test]
fn a_cache_in_which_nothing_was_found_says_why() {
    let asked = |policy, load, idle: u64, blocks: &[u64]| {
        let mut store = KvStore::new(CacheSpec { policy, load, ..two_tiers() }).expect("sound");
        store.store(Picos(0), &prefix(&[1, 2]), 20).expect("room");
        store.store(Picos(0), &prefix(blocks), 10 * blocks.len() as u32).expect("room");
        store.lookup(Picos(idle * SECOND), &prefix(&[1, 2]), 30).expect("blocks of 10");
        store.report(Picos(idle * SECOND)).why_nothing().unwrap_or_default()
    };
    // A block costs 0.001 $ an hour in the slow tier, and 5 s at 1 $ an hour less 40 s of the tier's thousandth to compute again.
    let why = asked(Policy::HoldOrRecompute, LoadRule::Always, 5000, &[]);
    assert!(why.starts_with("blocks stay 4960.00 s in slow, until holding has cost what is saved"), "{why}");
    assert_eq!(asked(Policy::HoldOrRecompute, LoadRule::Always, 4900, &[]), "");
    assert!(asked(Policy::None, LoadRule::Always, 1, &[]).starts_with("the policy uses no tier"));
    assert!(
        asked(Policy::Lru, LoadRule::Always, 1, &[3, 4, 5, 6, 7, 8, 9]).starts_with("blocks left for want")
    );
    assert_eq!(asked(Policy::Lru, LoadRule::Always, 1, &[]), "");
}

#[test]
fn a_prompt_that_is_all_there_computes_its_last_block() {
    let mut store = KvStore::new(two_tiers()).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2]), 20).expect("room");
    let hits = |store: &mut KvStore, tokens| {
        store.lookup(Picos(0), &prefix(&[1, 2]), tokens).expect("blocks of 10").hit_tokens
    };
    assert_eq!([20, 21, 11, 10, 1].map(|tokens| hits(&mut store, tokens)), [10, 20, 10, 0, 0]);
}

#[test]
fn only_full_blocks_are_kept_and_equal_ids_elsewhere_are_other_blocks() {
    let mut store = KvStore::new(two_tiers()).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2, 1]), 29).expect("room");
    assert_eq!(store.report(Picos(0)).stored_blocks, 2);
    assert_eq!(store.lookup(Picos(0), &prefix(&[2, 1]), 30).expect("blocks of 10").hit_tokens, 0);
    assert_eq!(store.lookup(Picos(0), &prefix(&[1, 2, 1]), 31).expect("blocks of 10").hit_tokens, 20);
}

#[test]
fn what_a_slow_tier_holds_is_computed_again_where_that_is_faster() {
    let mut store = KvStore::new(CacheSpec { load: LoadRule::Faster, ..two_tiers() }).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2, 3, 4, 5]), 50).expect("room");
    // 10 s to read a block of the slow tier, 5 s to compute it.
    let found = store.lookup(Picos(0), &prefix(&[1, 2, 3, 4, 5]), 51).expect("blocks of 10");
    assert_eq!((found.hit_tokens, found.declined_tokens, found.load), (30, 20, Picos(3 * SECOND)));
    // A port that is asked too much is left alone: 3 s each, until waiting takes as long as computing 15 s.
    let loads: Vec<u64> = (0..5)
        .map(|_| store.lookup(Picos(0), &prefix(&[1, 2, 3]), 31).expect("blocks of 10").load.0 / SECOND)
        .collect();
    assert_eq!(loads, [6, 9, 12, 0, 0]);
    let report = store.report(Picos(0));
    assert_eq!([report.tiers[0].declined_blocks, report.tiers[1].declined_blocks], [6, 2]);
    assert_eq!(report.declined_tokens, 80);
}

#[test]
fn the_block_idle_for_longest_goes_down_first_and_a_prompt_from_its_end() {
    let mut store = KvStore::new(two_tiers()).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2]), 20).expect("room");
    store.store(Picos(1), &prefix(&[7]), 10).expect("room");
    store.lookup(Picos(2), &prefix(&[1, 2]), 11).expect("blocks of 10"); // uses block 1 only
    store.store(Picos(3), &prefix(&[8, 9]), 20).expect("room");
    let tier = |store: &mut KvStore, ids: &[u64]| {
        let tokens = ids.len() as u32 * 10 + 1;
        store.clone().lookup(Picos(3), &prefix(ids), tokens).expect("blocks of 10").by_tier
    };
    assert_eq!(tier(&mut store, &[1, 2]), [10, 10]);
    assert_eq!(tier(&mut store, &[7]), [0, 10]);
    assert_eq!(tier(&mut store, &[8, 9]), [20, 0]);
}

#[test]
fn no_policy_keeps_nothing_and_other_blocks_are_refused() {
    let mut store = KvStore::new(CacheSpec { policy: Policy::None, ..two_tiers() }).expect("sound");
    store.store(Picos(0), &prefix(&[1, 2]), 20).expect("room");
    assert_eq!(store.lookup(Picos(0), &prefix(&[1, 2]), 21).expect("blocks of 10").hit_tokens, 0);
    assert_eq!(store.lookup(Picos(0), &Prefix::none(), 21).expect("no blocks").hit_tokens, 0);
    let other = Prefix { block_tokens: 16, blocks: Arc::from([1]) };
    assert_eq!(
        store.lookup(Picos(0), &other, 21).expect_err("16 is not 10").to_string(),
        "cache: a prompt in blocks of 16 tokens, but block_tokens = 10: make them equal"
    );
}

#[test]
#[should_panic(expected = "ran backwards")]
fn time_does_not_run_backwards() {
    let mut store = KvStore::new(two_tiers()).expect("sound");
    store.report(Picos(2));
    store.report(Picos(1));
}
