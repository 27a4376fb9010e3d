//! Generators against their formulas.

use super::*;
use crate::request::Request;
use proptest::prelude::*;
use std::io::{self, BufRead};

pub(super) const LENGTHS: &str = "input_len = 1000\noutput_len = 100\n";

pub(super) fn no_file(_: &str) -> io::Result<Box<dyn BufRead>> {
    Err(io::Error::other("no files here"))
}

pub(super) fn build(text: &str) -> Result<Source, ArrivalError> {
    let spec: ArrivalSpec = toml::from_str(text).unwrap();
    spec.build(1, &mut no_file)
}

/// All requests of an open loop.
fn requests(text: &str) -> Vec<Request> {
    let mut arrivals = build(text).unwrap().arrivals;
    std::iter::from_fn(|| {
        let at = arrivals.next_at().unwrap();
        let request = arrivals.take_next().unwrap();
        assert_eq!(at, request.as_ref().map(|request| request.arrived));
        request
    })
    .collect()
}

fn times(text: &str) -> Vec<u64> {
    requests(&format!("{text}\n{LENGTHS}")).iter().map(|request| request.arrived.0).collect()
}

/// Mean of the gaps in seconds, and the square of their coefficient of variation.
fn gaps(times: &[u64]) -> (f64, f64) {
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e12).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    (mean, variance / (mean * mean))
}

#[test]
fn gaps_have_the_mean_of_the_rate_and_the_variance_of_the_burstiness() {
    for (kind, burstiness) in [
        ("kind = \"poisson\"", 1.0),
        ("kind = \"gamma\"\nburstiness = 0.25", 0.25),
        ("kind = \"gamma\"\nburstiness = 4", 4.0),
    ] {
        let (mean, squared_cv) = gaps(&times(&format!("{kind}\nrequest_rate = 50\nnum_prompts = 40000")));
        // Four standard errors of the mean, and well over those of the variance.
        assert!((mean * 50.0 - 1.0).abs() < 4.0 / f64::sqrt(40_000.0 * burstiness), "{kind}: {mean}");
        assert!((squared_cv * burstiness - 1.0).abs() < 0.12, "{kind}: {squared_cv}");
    }
}

#[test]
fn a_gamma_process_of_shape_one_is_a_poisson_process() {
    let poisson = times("kind = \"poisson\"\nrequest_rate = 3\nnum_prompts = 100");
    assert_eq!(times("kind = \"gamma\"\nburstiness = 1\nrequest_rate = 3\nnum_prompts = 100"), poisson);
}

#[test]
fn constant_arrivals_do_not_drift_and_bursts_take_no_time() {
    let constant = times("kind = \"constant\"\nrequest_rate = 3\nnum_prompts = 30001");
    assert_eq!((constant[0], constant[1], constant[30_000]), (0, 333_333_333_333, 10_000_000_000_000_000));
    assert_eq!(times("kind = \"burst\"\nnum_prompts = 3"), [0, 0, 0]);
}

#[test]
fn whichever_limit_comes_first_ends_a_loop() {
    let constant = "kind = \"constant\"\nrequest_rate = 2\nduration_s = 2";
    assert_eq!(times(constant).len(), 4);
    assert_eq!(times(&format!("{constant}\nnum_prompts = 3")).len(), 3);
    assert_eq!(times("kind = \"poisson\"\nrequest_rate = 0.000001\nduration_s = 1"), [0; 0]);
    let mut slow =
        build(&format!("kind = \"constant\"\nrequest_rate = 0.000001\nnum_prompts = 100\n{LENGTHS}"))
            .unwrap();
    for _ in 0..10 {
        slow.arrivals.take_next().unwrap();
    }
    assert_eq!(
        slow.arrivals.next_at().unwrap_err().to_string(),
        "num_prompts = 100: request 10 would come after 106 days; ask for fewer or faster"
    );
}

#[test]
fn log_normal_lengths_have_their_median_and_their_mean() {
    let drawn = |of: &str| -> Vec<u32> {
        let text = format!(
            "kind = \"burst\"\nnum_prompts = 20000\ninput_len = {{ dist = \"lognormal\", {of}, sigma = 0.5, max = 100000 }}\noutput_len = 1"
        );
        requests(&text).iter().map(|request| request.input_tokens).collect()
    };
    let mut lengths = drawn("median = 1000.0");
    lengths.sort_unstable();
    assert!((970..1030).contains(&lengths[10_000]), "{}", lengths[10_000]);
    let lengths = drawn("mean = 1000");
    let mean = lengths.iter().map(|&tokens| f64::from(tokens)).sum::<f64>() / 20_000.0;
    // The standard deviation is 533: this is four standard errors.
    assert!((mean - 1000.0).abs() < 15.0, "{mean}");
}

#[test]
fn prompts_of_one_prefix_share_its_blocks_and_nothing_else() {
    let text = "kind = \"burst\"\nnum_prompts = 300\noutput_len = 1\n\
        input_len = { dist = \"uniform\", min = 1, max = 2000 }\n\
        [prefixes]\nnum_prefixes = 5\nprefix_len = 1100\nzipf = 1.0\n";
    let requests = requests(text);
    let mut chosen = [0_u32; 5];
    let mut own = std::collections::BTreeSet::new();
    for request in &requests {
        let blocks = &request.prefix.blocks;
        assert_eq!(
            (blocks.len() as u32, request.prefix.block_tokens),
            (request.input_tokens.div_ceil(512), 512)
        );
        assert!((1101..=3100).contains(&request.input_tokens));
        // 1100 tokens are two whole blocks.
        assert_eq!((blocks[0] % 2, blocks[1]), (0, blocks[0] + 1));
        chosen[(blocks[0] / 2) as usize] += 1;
        assert!(blocks[2..].iter().all(|&id| id >= 10 && own.insert(id)));
    }
    // Zipf's law over five: 60/137 and 30/137 of 300.
    assert!((105..160).contains(&chosen[0]) && (45..90).contains(&chosen[1]), "{chosen:?}");
}

#[test]
fn tenants_ask_by_their_weights() {
    let count = |text: &str| {
        let mut counts = [0_u32; 3];
        requests(&format!("kind = \"burst\"\nnum_prompts = 3000\n{text}\n{LENGTHS}"))
            .iter()
            .for_each(|request| counts[request.tenant as usize] += 1);
        counts
    };
    assert_eq!(count(""), [3000, 0, 0]);
    assert!(count("tenants = 3").iter().all(|n| (900..1100).contains(n)));
    let weighted = count("tenant_weights = [2, 0, 1]");
    assert!((1900..2100).contains(&weighted[0]) && weighted[1] == 0, "{weighted:?}");
}

#[test]
fn users_of_a_closed_loop_think_and_ask_again() {
    let text =
        format!("kind = \"closed\"\nmax_concurrency = 2\nthink_time_s = 1\nnum_prompts = 4\n{LENGTHS}");
    let mut arrivals = build(&text).unwrap().arrivals;
    // Ends that belong to no request make no users.
    arrivals.ended(RequestId(0), Picos(5));
    assert_eq!(arrivals.take_next().unwrap().unwrap().arrived, Picos::ZERO);
    assert_eq!(arrivals.take_next().unwrap().unwrap().arrived, Picos::ZERO);
    assert_eq!(arrivals.next_at(), Ok(None));
    arrivals.ended(RequestId(0), Picos(7));
    assert_eq!(arrivals.next_at(), Ok(Some(Picos(1_000_000_000_007))));
    assert_eq!(arrivals.take_next().unwrap().unwrap().id.0, 2);
    arrivals.ended(RequestId(0), Picos(8));
    arrivals.ended(RequestId(0), Picos(9));
    assert_eq!(arrivals.take_next().unwrap().unwrap().id.0, 3);
    assert_eq!(arrivals.take_next(), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn open_loops_are_sorted_seeded_and_bounded(
        seed: u64,
        rate in 0.01..1000.0,
        burstiness in 0.1..10.0,
        num_prompts in 1_u64..200,
        (min, max) in (1_u32..500, 500_u32..2000),
    ) {
        let text = |rate: f64, num_prompts| format!(
            "kind = \"gamma\"\nseed = {}\nrequest_rate = {rate:?}\nburstiness = {burstiness:?}\nnum_prompts = {num_prompts}\n\
             tenants = 7\ninput_len = {{ dist = \"lognormal\", median = 700.0, sigma = 1.0, min = {min}, max = {max} }}\n\
             output_len = {{ dist = \"uniform\", min = {min}, max = {max} }}\n\
             prefixes = {{ num_prefixes = 3, prefix_len = 64, block_tokens = 16 }}", seed >> 1
        );
        let all = requests(&text(rate, num_prompts));
        prop_assert_eq!(all.len() as u64, num_prompts);
        prop_assert!(all.is_sorted_by_key(|request| request.arrived));
        prop_assert_eq!(&all, &requests(&text(rate, num_prompts)));
        // More of them, at another rate: the same requests at other times.
        let more = requests(&text(rate * 2.0, num_prompts + 10));
        for (index, (request, other)) in all.iter().zip(&more).enumerate() {
            prop_assert_eq!(request.id.0, index as u64);
            prop_assert_eq!(&Request { arrived: request.arrived, ..other.clone() }, request);
            prop_assert!((min + 64..=max + 64).contains(&request.input_tokens));
            prop_assert!((min..=max).contains(&request.output_tokens));
        }
    }

    #[test]
    fn no_more_requests_are_under_way_than_there_are_users(
        users in 1_u32..20,
        num_prompts in 1_u64..200,
        think_time in 0.0..2.0,
        takes in prop::collection::vec((any::<bool>(), 0_u64..1_000_000_000_000), 0..600),
    ) {
        let text = format!("kind = \"closed\"\nusers = {users}\nthink_time_s = {think_time:?}\nnum_prompts = {num_prompts}\n{LENGTHS}");
        let mut arrivals = build(&text).unwrap().arrivals;
        let (mut now, mut last, mut taken, mut under_way) = (0, Picos::ZERO, 0, 0);
        for (take, pause) in takes {
            now += pause;
            if take {
                let at = arrivals.next_at().unwrap();
                let request = arrivals.take_next().unwrap();
                prop_assert_eq!(at, request.as_ref().map(|request| request.arrived));
                if let Some(request) = request {
                    prop_assert!(request.arrived >= last);
                    last = request.arrived;
                    (taken, under_way) = (taken + 1, under_way + 1);
                } else {
                    prop_assert!(under_way == users || taken == num_prompts);
                }
            } else if under_way > 0 {
                arrivals.ended(RequestId(0), Picos(now));
                under_way -= 1;
            }
            prop_assert!(under_way <= users && taken <= num_prompts);
        }
    }
}
