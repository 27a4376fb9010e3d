//! Serving by ranks that compute: the same tokens however they are spread, and what they can't have.

use super::*;

const LAB: &str = r#"
[serve]
model = "lab-moe"
hardware = "lab"
racks = 2
ranks_per_rack = 2
routing = "gate"
scheme = "flat"
[scheduler]
max_num_seqs = 2
max_num_batched_tokens = 8
[arrivals]
kind = "trace"
file = "any"
"#;

/// What a lab run on the simulator's ranks yields.
async fn live(text: &str) -> (ServeRecord, TokenDigests) {
    let spec = read(text);
    let live = Live::new(&spec, &Presets, Host::this(true), 0).unwrap();
    live.serve(&mut SimRunner::default(), &Presets, "simulated", &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn ranks_that_compute_answer_the_same_tokens_however_they_are_spread() {
    let (one, tokens) = live(LAB).await;
    assert_eq!((one.completed, one.total_input, one.total_output), (3, 43, 10));
    // Every token of every prompt, and of every answer but the last, is computed once. (Flat: a hierarchical combine rounds a rack's
    // sum, so that its bits depend on where a sequence sits.)
    assert_eq!(tokens.len(), 43 + 10 - 3);
    assert_eq!((one.over_sim, one.problem), (Some(1.0), None));
    for spread in ["pp = 2", "pp = 2\nmicro_batches = 1", "pp = 4"] {
        let (_, others) =
            live(&LAB.replace("[scheduler]", &format!("[parallel]\n{spread}\n[scheduler]"))).await;
        assert_eq!(others, tokens, "{spread}");
    }
    let (_, fewer) = live(&LAB.replace("max_num_seqs = 2", "max_num_seqs = 1")).await;
    assert_eq!(fewer, tokens);
}

#[tokio::test]
async fn halves_and_caches_from_elsewhere_change_no_token() {
    let (_, tokens) = live(LAB).await;
    for (more, note) in [
        ("[parallel]\noverlap = \"two_batch\"\n[scheduler]", None),
        ("[parallel]\noverlap = \"two_batch\"\npp = 2\n[scheduler]", None),
        ("prefill = \"elsewhere\"\n[scheduler]", Some("40 tokens of caches from elsewhere")),
        ("prefill = \"elsewhere\"\n[parallel]\noverlap = \"two_batch\"\n[scheduler]", Some("40 tokens")),
    ] {
        let (record, others) = live(&LAB.replace("[scheduler]", more)).await;
        assert_eq!(others, tokens, "{more}");
        assert_eq!((record.over_sim, record.problem), (Some(1.0), None));
        let noted = record.notes.iter().any(|said| note.is_some_and(|note| said.starts_with(note)));
        assert_eq!(noted, note.is_some(), "{:?}", record.notes);
    }
    // Which replica serves a token depends on what its rank has in hand, which is half a batch.
    for scheme in ["dedup", "hierarchical"] {
        let placed = LAB.replace("\"gate\"", "\"zipf:1.2\"\nplacement = \"eplb\"\nslots = 32");
        let placed = placed.replace("\"flat\"", &format!("\"{scheme}\""));
        let halves = placed.replace("[scheduler]", "[parallel]\noverlap = \"two_batch\"\n[scheduler]");
        assert_eq!(live(&halves).await.0.problem, None, "{scheme}");
    }
    // What a tier hands over is right too: three askers share their prompts' beginnings.
    let shared = LAB.replace("kind = \"trace\"\nfile = \"any\"", "kind = \"closed\"\nusers = 1\nnum_prompts = 6\ninput_len = 8\noutput_len = 2\nprefixes = { num_prefixes = 2, prefix_len = 32, block_tokens = 8 }");
    let (_, computed) = live(&shared).await;
    let (record, found) = live(&shared.replace(
        "[scheduler]",
        "[cache]\nblock_tokens = 8\nhbm_share = 0.1\ntiers = [{ preset = \"hbm\" }]\n[scheduler]",
    ))
    .await;
    assert!(record.cache.is_some_and(|cache| cache.hit_tokens > 0));
    assert!(record.notes.iter().any(|note| note.contains("off the clock")), "{:?}", record.notes);
    assert_eq!(found, computed);
}

#[tokio::test]
async fn turns_of_a_session_wait_for_its_answers_on_every_clock() {
    let talks = LAB.replace("\"any\"", "\"talks\"\nblock_tokens = 8");
    let untiered = "prompts share beginnings (7 of 15 blocks were seen before), and no tier holds them: give cache.tiers";
    let tiers = "[cache]\nblock_tokens = 8\nhbm_share = 0.1\ntiers = [{ preset = \"hbm\" }]\n[scheduler]";
    for more in ["[scheduler]", "[parallel]\nlockstep = true\n[scheduler]"] {
        let text = talks.replace("\"gate\"", "\"uniform\"\ncost = \"frames\"").replace("[scheduler]", more);
        let record = serve(&read(&text), &Presets, &mut |_| ()).unwrap();
        assert_eq!((record.completed, record.total_input, record.total_output), (4, 20 + 28 + 34 + 20, 8));
        assert!(record.notes.iter().any(|note| note == untiered), "{:?}", record.notes);
        // The delay at least.
        assert!(record.duration > 0.0055, "{}", record.duration);
        assert_eq!(record, serve(&read(&text), &Presets, &mut |_| ()).unwrap());
        let tiered = serve(&read(&text.replace("[scheduler]", tiers)), &Presets, &mut |_| ()).unwrap();
        assert!(tiered.cache.is_some_and(|cache| cache.hit_tokens >= 16 + 24));
        assert!(!tiered.notes.iter().any(|note| note.contains("no tier")), "{:?}", tiered.notes);
        let none = text.replace("[scheduler]", &tiers.replace("[cache]", "[cache]\npolicy = \"none\""));
        let notes = serve(&read(&none), &Presets, &mut |_| ()).unwrap().notes;
        assert!(
            notes.iter().any(|note| note.contains("none was found: the policy uses no tier")),
            "{notes:?}"
        );
    }
    let (record, computed) = live(&talks).await;
    assert_eq!((record.completed, record.total_input, record.problem), (4, 102, None));
    let (_, found) = live(&talks.replace("[scheduler]", tiers)).await;
    assert_eq!(found, computed);
}

/// What ranks take, and what the virtual clock says of the same requests, to the 10% that docs/trust.md allows: the virtual clock adds a
/// tick up from its slowest stage and its slowest hop, ranks measure both.
#[tokio::test]
async fn the_virtual_clock_says_what_ranks_take() {
    let lab = LAB.replace("\"gate\"", "\"uniform\"\ncost = \"frames\"");
    // Prompts whose rows take longer to hop than links take to answer.
    let long = lab.replace("max_num_batched_tokens = 8", "max_num_batched_tokens = 512").replace(
        "kind = \"trace\"\nfile = \"any\"",
        "kind = \"closed\"\nusers = 6\nnum_prompts = 8\ninput_len = 384\noutput_len = 2",
    );
    let spreads = ["", "pp = 2", "pp = 4", "overlap = \"two_batch\"", "overlap = \"two_batch\"\npp = 2"];
    for (lab, more) in [&lab, &long].into_iter().flat_map(|lab| spreads.map(|more| (lab, more))) {
        let text = lab.replace("[scheduler]", &format!("[parallel]\nlockstep = true\n{more}\n[scheduler]"));
        let computed = serve(&read(&text), &Presets, &mut |_| ()).unwrap();
        let (ranks, _) = live(&text).await;
        assert_eq!(ranks.steps, computed.steps, "{more}");
        let off = ranks.duration / computed.duration - 1.0;
        assert!(off.abs() < 0.10, "{more}: {off:+.3}");
    }
}

#[tokio::test]
async fn ranks_that_compute_have_a_placement_of_each_layer() {
    let lab = LAB.replace("\"gate\"", "\"zipf:1.2\"");
    let (_, linear) = live(&lab).await;
    for (spread, slots) in [("", 20), ("[parallel]\npp = 2\n", 18)] {
        let serve = format!("placement = \"eplb\"\nslots = {slots}\n{spread}[scheduler]");
        let text = lab.replace("[scheduler]", &serve);
        let spec = read(&text);
        let request = Live::new(&spec, &Presets, Host::this(true), 0).unwrap().request().clone();
        let Program::Stack(model) = &request.setup.program else { panic!("a whole model") };
        assert!(model.placements.distinct().len() > 1, "{spread}");
        // Every token is as the reference has it, and wherever an expert is, it says the same.
        assert_eq!(live(&text).await.1, linear, "{spread}");
    }
}

#[test]
fn what_ranks_that_compute_can_not_have_is_refused() {
    for (more, said) in [
        ("prefill = \"elsewhere\"\n[parallel]\npp = 2\n[scheduler]", "serve.prefill: "),
        ("[parallel]\npp = 2\n[cache]\nhbm_share = 0.2\n[scheduler]", "cache: "),
        ("[parallel]\nhop_us = 1.0\n[scheduler]", "parallel.hop_us: "),
        ("[parallel]\noverlap = \"full\"\n[scheduler]", "parallel.overlap: "),
    ] {
        let spec = read(&LAB.replace("[scheduler]", more));
        let error = Live::new(&spec, &Presets, Host::this(true), 0).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}
