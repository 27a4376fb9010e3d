//! Replicas and pools, read from files: what they answer, what first tokens wait for, what is refused.

use super::*;

/// Prompts on one rack of four, answers on two racks of two.
const POOLS: &str = r#"
[serve]
model = "granite-1b"
hardware = "h100"
racks = 1
ranks_per_rack = 2
replicas = 2
cost = "analytic"
[prefill]
ranks_per_rack = 4
tp = 2
max_num_batched_tokens = 4096
[arrivals]
kind = "poisson"
request_rate = 200.0
num_prompts = 300
input_len = 1024
output_len = 16
"#;

#[test]
fn a_pool_of_prompts_has_the_others_words_but_its_own() {
    let spec = read(POOLS);
    let pool = spec.prefill.as_deref().unwrap();
    assert_eq!((pool.replicas, spec.serve.replicas), (1, 2));
    assert_eq!((&pool.scenario.ranks_per_rack, pool.scenario.racks), (&vec![4], Some(1)));
    assert_eq!((pool.scenario.tp, spec.scenario.tp), (2, 1));
    assert_eq!(
        (pool.scheduler.max_num_batched_tokens, spec.scheduler.max_num_batched_tokens),
        (4_096, 8_192)
    );
    assert_eq!(pool.scenario.model, spec.scenario.model);
    // One word of racks stands against the others.
    let ranks = read(&POOLS.replace("[prefill]\nranks_per_rack = 4", "[prefill]\nranks = 8"));
    let ranks = ranks.prefill.unwrap().scenario;
    assert_eq!((ranks.ranks, ranks.racks, ranks.ranks_per_rack), (Some(8), None, Vec::new()));
    // None at all: the others compute their prompts.
    assert_eq!(read(&POOLS.replace("[prefill]", "[prefill]\nreplicas = 0")).prefill, None);
}

#[test]
fn first_tokens_wait_for_what_the_record_says() {
    let record = run(POOLS);
    assert_eq!((record.completed, record.failed, record.ranks), (300, 0, 8));
    let pools = record.pools.as_deref().unwrap();
    let sum: f64 = pools.ttft.named().iter().map(|(_, part)| part.mean_ms).sum();
    assert!((sum / record.times["mean_ttft_ms"] - 1.0).abs() < 1e-9, "{pools:?}");
    assert_eq!(record.times["mean_queue_wait_ms"], pools.ttft.queue.mean_ms);
    // All of the cache crosses, through one port at a time at best: 24 layers of 8 heads of 64 BF16 keys and values.
    let deployment = Deployment::new(&read(POOLS), &Presets).unwrap();
    let bytes = deployment.memory[0].cache.bytes(1_024);
    assert_eq!((pools.handover.caches, pools.handover.bytes), (300, 300 * bytes as u64));
    let link = deployment.fabric.scale_out;
    // Two ranks of the group of prompts have half of the heads each; the rank of answers receives at one port's rate.
    let least = bytes / link.rate.bytes_per_s() as f64 * 1e3;
    assert!(pools.handover.times.median_ms >= least * 0.999, "{pools:?} for {least}");
    let text = block(&record);
    assert!(text.lines().next().unwrap().contains("short"), "{text}");
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(serde_json::from_value::<ServeRecord>(json).unwrap(), record);
    assert_eq!(run(POOLS), record);
}

#[test]
fn replicas_are_as_good_as_their_share_of_requests() {
    let one = "[serve]\nreplicas = 1";
    let alone =
        POOLS[..POOLS.find("[prefill]").unwrap()].replace("replicas = 2\n", "").replace("[serve]", one)
            + &POOLS[POOLS.find("[arrivals]").unwrap()..].replace("200.0", "10.0");
    let four = alone.replace("replicas = 1", "replicas = 4").replace("10.0", "40.0");
    let (alone, four) = (run(&alone), run(&four));
    assert_eq!((alone.ranks, four.ranks, four.pools), (2, 8, None));
    let ratio = |key: &str| four.times[key] / alone.times[key];
    // Whoever comes finds the least busy of four: no longer than alone, and no shorter than a request by itself.
    assert!((0.8..=1.0).contains(&ratio("mean_ttft_ms")), "{}", ratio("mean_ttft_ms"));
    assert!((0.8..=1.05).contains(&ratio("mean_tpot_ms")), "{}", ratio("mean_tpot_ms"));
}

#[test]
fn what_pools_cannot_have_is_refused_by_name() {
    for (change, said) in [
        (("[prefill]", "[prefill]\nreplicas = 2000"), "prefill.replicas: 2000: give 1 to 1024"),
        (("replicas = 2", "replicas = 0"), "serve.replicas: 0: give 1 to 1024"),
        (("replicas = 2", "prefill = \"elsewhere\""), "serve.prefill: elsewhere: [prefill] says where"),
        (("[arrivals]", "[cache]\nhbm_share = 0.1\n[arrivals]"), "prefill: tiers keep the caches of one"),
        (
            ("[arrivals]", "[parallel]\nlockstep = true\n[arrivals]"),
            "prefill: stages in step are those of one",
        ),
        (("tp = 2", "tp = 3"), "prefill.tp: "),
        (("tp = 2", "scheme = \"flatt\""), "prefill.scheme: "),
        (("tp = 2", "placement = \"two-layers\""), "prefill.placement: two-layers: "),
        (
            ("max_num_batched_tokens = 4096", "max_num_batched_tokens = 0"),
            "prefill: max_num_batched_tokens = 0",
        ),
        (("max_num_batched_tokens = 4096", "memory_share = 0.001"), "prefill: stage 0: weights ("),
    ] {
        let text = POOLS.replacen(change.0, change.1, 1);
        let told = match parse_experiment(&text, "test.toml", &[&Serving::<Presets>::default()]) {
            Err(error) => error.problem,
            Ok((_, experiment)) => match serve_spec(&experiment.fixed, None) {
                Err(fault) => format!("{}: {}", fault.key, fault.problem),
                Ok(spec) => serve(&spec, &Presets, &mut |_| ()).unwrap_err().to_string(),
            },
        };
        assert!(told.starts_with(said) && !told.contains('\n'), "{said}: {told}");
    }
    let spec = read(POOLS);
    let error = Live::new(&spec, &Presets, Host::this(false), 0).unwrap_err().to_string();
    assert!(error.starts_with("prefill: real ranks are one deployment"), "{error}");
    let text = POOLS.replace("tp = 2", "pq = 2");
    let error = parse_experiment(&text, "test.toml", &[&Serving::<Presets>::default()]).unwrap_err();
    assert!(error.problem.contains("unknown key `prefill.pq`, did you mean"), "{}", error.problem);
}
