//! What claims E7 and E8 say of a cache, and what its settings must be.

use blackboard::units::{DollarsPerS, FlopPerS, Params, Seconds};
use topology::{Picos, Rate};

use super::super::*;

/// 100B active and 2 KB a token, FP8 on a GB200: claim E8.
fn talk(tiers: &[&str]) -> CacheSpec {
    CacheSpec {
        tiers: tiers.iter().map(|name| tier_preset(name).expect("a preset")).collect(),
        block_tokens: 512,
        bytes_per_token: 2048,
        recompute: Recompute::of(Params(1e11), FlopPerS(5e15), DollarsPerS::per_hour(RANK_USD_PER_HOUR)),
        policy: Policy::HoldOrRecompute,
        load: LoadRule::Cheaper,
    }
}

fn seconds(span: Picos) -> f64 {
    span.as_micros_f64() / 1e6
}

#[test]
fn e8_hbm_alone_holds_an_hour() {
    let spec = talk(&["hbm"]);
    assert_eq!(seconds(residences(&spec)[0].stay).round(), 3633.0);
    // The rank's price cancels.
    let mut dear = spec.clone();
    dear.recompute.usd_per_hour *= 7.0;
    dear.tiers[0].usd_per_gb_hour *= 7.0;
    assert_eq!(seconds(residences(&dear)[0].stay).round(), 3633.0);
}

#[test]
fn e8_deepseek_v3_on_h800_holds_under_a_minute() {
    let rank = DollarsPerS::per_hour(2.0);
    let read = Rate::new(3_350_000_000_000).expect("not 0");
    let spec = CacheSpec {
        tiers: vec![hbm_tier(80_000_000_000, read, rank)],
        block_tokens: 64,
        bytes_per_token: 70_272,
        recompute: Recompute::of(Params(37e9), FlopPerS(1979e12), rank),
        ..talk(&[])
    };
    assert_eq!(format!("{:.1}", seconds(residences(&spec)[0].stay)), "42.6");
    // Eight ranks hold no longer than one: memory and arithmetic grow alike.
    let mut eight = spec.clone();
    eight.tiers = eight.tiers.into_iter().map(|tier| tier.times(8)).collect();
    eight.recompute.seconds_per_token /= 8.0;
    eight.recompute.usd_per_hour *= 8.0;
    assert_eq!(format!("{:.1}", seconds(residences(&eight)[0].stay)), "42.6");
}

#[test]
fn e7_each_preset_drains_in_its_time() {
    let drained: Vec<Seconds> = tier_preset_names()
        .into_iter()
        .map(|name| tier_preset(name).expect("a preset").drain_time())
        .collect();
    let rounded = drained.iter().map(|time| format!("{:.3e}", time.0));
    let stated = ["2.325e-2", "9.375e-1", "1.250e0", "3.257e0", "5.486e2", "4.389e3", "1.091e5"];
    assert_eq!(rounded.collect::<Vec<_>>(), stated);
}

#[test]
fn each_tier_is_left_when_holding_has_cost_what_fetching_from_below_costs_more() {
    let spec = talk(&["hbm", "ddr5", "nvme", "hdd"]);
    let ladder = residences(&spec);
    assert_eq!(ladder.iter().map(|place| place.tier).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // In tier i for (r_{i+1} - r_i) / h_i = (p_{i+1} D_{i+1} - p_i D_i) / p_i, the last for (R - r) / h.
    let price = |tier: usize| spec.tiers[tier].usd_per_gb_hour;
    let read = |tier: usize| if tier == 0 { 0.0 } else { price(tier) * spec.tiers[tier].drain_time().0 };
    let recompute = 4e-5 * 3.0 * 1e9 / 2048.0;
    for (tier, place) in ladder.iter().enumerate() {
        let below = if tier < 3 { read(tier + 1) } else { recompute };
        // On a disk for four years, beyond the end of time.
        let stay = ((below - read(tier)) / price(tier)).min(seconds(Picos::MAX));
        assert!((seconds(place.stay) / stay - 1.0).abs() < 1e-6, "{tier}: {} {stay}", seconds(place.stay));
    }
    let shown: Vec<String> = ladder.iter().map(|place| format!("{:.3e}", seconds(place.stay))).collect();
    assert_eq!(shown, ["4.608e-2", "1.046e1", "8.179e3", "1.845e7"]);
}

#[test]
fn tiers_that_are_never_the_cheapest_are_left_empty() {
    let mut spec = talk(&["hbm", "ddr5", "hdd"]);
    spec.tiers[1].usd_per_gb_hour = 1.0;
    assert_eq!(residences(&spec).iter().map(|place| place.tier).collect::<Vec<_>>(), [0, 2]);
    // Memory that costs nothing holds for good, and nothing is worth loading if computing costs nothing.
    spec.tiers[0].usd_per_gb_hour = 0.0;
    assert_eq!(
        residences(&spec).iter().map(|place| (place.tier, place.stay)).collect::<Vec<_>>(),
        [(0, Picos::MAX)]
    );
    spec.recompute.usd_per_hour = 0.0;
    assert_eq!(residences(&spec), []);
    // At these prices QLC is little cheaper than TLC and eight times slower.
    let flash = residences(&talk(&["nvme", "qlc", "hdd"]));
    assert_eq!(flash.iter().map(|place| place.tier).collect::<Vec<_>>(), [0, 2]);
    // A disk takes 7 us to read a token of 2 KB, 256 us for one of 70 KB; the ranks compute either in 40 us.
    let mut faster = CacheSpec { load: LoadRule::Faster, ..talk(&["hbm", "nvme", "hdd"]) };
    assert_eq!(residences(&faster).iter().map(|place| place.tier).collect::<Vec<_>>(), [0, 1, 2]);
    faster.bytes_per_token = 70_272;
    assert_eq!(residences(&faster).iter().map(|place| place.tier).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let told = |change: fn(&mut CacheSpec)| {
        let mut spec = talk(&["hbm", "hdd"]);
        change(&mut spec);
        KvStore::new(spec).map(|_| ()).expect_err("refused").to_string()
    };
    assert_eq!(told(|spec| spec.block_tokens = 0), "cache: block_tokens = 0: must be at least 1");
    assert_eq!(told(|spec| spec.bytes_per_token = 0), "cache: bytes_per_token = 0: must be at least 1");
    assert_eq!(
        told(|spec| spec.tiers[1].capacity_bytes = 1000),
        "cache: tiers[1].capacity_bytes = 1000: must be at least a block's 1048576 bytes; or leave the tier out"
    );
    assert_eq!(
        told(|spec| spec.tiers[1].name = "hbm".to_owned()),
        "cache: tiers[1].name = `hbm`: must be another name than the tiers before"
    );
    assert_eq!(
        told(|spec| spec.tiers[0].usd_per_gb_hour = -1.0),
        "cache: tiers[0].usd_per_gb_hour = -1: must be a finite number of dollars, 0 or more"
    );
    assert_eq!(
        told(|spec| spec.recompute.seconds_per_token = f64::NAN),
        "cache: recompute.seconds_per_token = NaN: must be finite, 0 or more"
    );
    let unknown = tier_preset("tape").expect_err("none").to_string();
    assert_eq!(
        unknown,
        "cache: no tier preset `tape`; presets: hbm, grace-lpddr, vera-lpddr, ddr5, nvme, qlc, hdd"
    );
}

#[test]
fn a_spec_is_read_from_its_words_and_no_others() {
    let text = r#"{"tiers": [{"name": "flash", "capacity_bytes": 1000000000, "read_bytes_per_s": 7000000000,
        "usd_per_gb_hour": 1e-6}], "block_tokens": 16, "bytes_per_token": 70272, "policy": "lru", "load": "faster",
        "recompute": {"seconds_per_token": 1.5e-5, "usd_per_hour": 3}}"#;
    let spec: CacheSpec = serde_json::from_str(text).expect("as documented");
    assert_eq!((spec.policy, spec.load, spec.tiers[0].in_place), (Policy::Lru, LoadRule::Faster, false));
    assert!(serde_json::from_str::<CacheSpec>(&text.replace("policy", "polciy")).is_err());
    assert!(serde_json::from_str::<CacheSpec>(&text.replace("7000000000", "0")).is_err());
}
