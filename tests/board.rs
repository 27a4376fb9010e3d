//! `railyard board` and `railyard roofline` from outside: keys, verdicts, sweeps, plots and what they refuse.

mod support;

use serde_json::Value;

#[track_caller]
fn text(args: &[&str]) -> String {
    support::works(&mut support::railyard(args))
}

#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).expect("one JSON object")
}

/// Runs and expects exit code 2 and one line that has every part.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    let error = support::fails(&mut support::railyard(args), 2);
    for part in parts {
        assert!(error.contains(part), "{args:?}: `{part}` is not in: {error}");
    }
}

#[test]
fn the_board_has_every_claim_with_all_keys() {
    let board = json(&["board", "--json"]);
    assert_eq!(board["schema_version"], 1);
    let claims = board["claims"].as_array().expect("a list");
    assert_eq!(claims.len(), 68);
    for claim in claims {
        for key in [
            "id",
            "chapter",
            "claim",
            "formula",
            "inputs",
            "computed",
            "unit",
            "stated",
            "tolerance",
            "verdict",
            "note",
        ] {
            assert!(claim.get(key).is_some(), "{}: {key}", claim["id"]);
        }
    }
    assert_eq!(json(&["board", "pipeline", "--json"])["claims"].as_array().map(Vec::len), Some(8));
    assert!(text(&["board", "B5"]).contains("flat, same tokens a GPU  4.056"));
    assert!(text(&["board", "--set", "throttle=18"]).contains("hierarchical: 1.048 -> 2.358"));
    assert_eq!(text(&["board", "--set", "rho=300"]), "what changes:\nnothing changes\n");
}

#[test]
fn what_the_board_lacks_is_refused() {
    refused(&["board", "Z9"], &["no chapter or claim `Z9`"]);
    refused(&["board", "--set", "rhho=1"], &["did you mean `rho`?"]);
    refused(&["board", "--set", "stages=0"], &["stages = 0 is not possible; give a whole number"]);
    refused(&["board", "--preset", "v3"], &["give talk or dsv3"]);
}

#[test]
fn a_step_is_told_in_the_units_of_its_keys() {
    let step = json(&[
        "roofline",
        "--model=deepseek-v3",
        "--hardware=gb200",
        "--racks=1",
        "--ranks=64",
        "--latency=zero",
        "--batch=2400",
        "--context=4989",
        "--kv-dtype=fp8",
        "--common-weights=even",
        "--json",
    ]);
    let near = |key: &str, stated: f64| {
        let value = step[key].as_f64().unwrap_or_else(|| panic!("{key} is no number"));
        assert!((value / stated - 1.0).abs() < 0.01, "{key} = {value}, known is {stated}");
    };
    // 36.6 billion weights a token and 17 MFLOP a token of context.
    near("t_compute_ms", 1.185);
    near("t_weights_ms", 1.3105);
    near("t_kv_ms", 0.8217);
    near("step_ms", 2.132);
    near("step_sum_ms", 2.132);
    near("tokens_per_s", 1.1256e6);
    near("optimal_batch", 5717.0);
    near("weights_gb_per_rank", 10.48);
    near("kv_gb_per_rank", 6.57);
    assert!(step["t_a2a_ms"].as_f64() > Some(0.0) && step["usd_per_mtok"].as_f64() > Some(0.0));
    assert_eq!(step["bound_by"], "weights");
    assert_eq!(step["config"]["racks"], 1);
}

#[test]
fn a_model_without_experts_has_a_roofline_and_no_all_to_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.json");
    let llama = r#"{"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 128256,
        "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8}"#;
    std::fs::write(&config, llama).expect("written");
    let config = config.display().to_string();
    // 70.6B in BF16 on 16 TPU v5e, without the input embedding: 139 GB over 16 x 0.819 TB/s.
    let step =
        json(&["roofline", "--model", &config, "--hardware=tpu-v5e", "--ranks=16", "--dtype=bf16", "--json"]);
    let weights = step["t_weights_ms"].as_f64().expect("a number");
    assert!((weights / 10.61 - 1.0).abs() < 0.01, "{weights}");
    assert_eq!(
        (&step["t_a2a_ms"], &step["bound_by"]),
        (&serde_json::json!(0.0), &serde_json::json!("weights"))
    );
    refused(&["compare", "--model", &config], &["config.json", "llama"]);
}

#[test]
fn a_sweep_is_a_table_csv_or_json() {
    let sweep = ["roofline", "--sweep", "batch=1..8192*2"];
    let csv = text(&[&sweep[..], &["--csv"]].concat());
    assert!(csv.starts_with("batch,t_compute_ms,t_weights_ms,t_kv_ms,t_a2a_ms,t_tp_ms,step_ms"));
    assert_eq!(csv.lines().count(), 1 + 14);
    assert_eq!(json(&[&sweep[..], &["--json"]].concat())["points"].as_array().map(Vec::len), Some(14));
    assert!(text(&["roofline", "--sweep", "batch=1..1000"]).contains("40 of 1000 points"));
}

#[test]
fn a_sweep_goes_over_any_word_of_the_scenario() {
    let step = |more: &[&str]| {
        let args =
            ["roofline", "--batch=512", "--context=4096", "--mtp-depth=1", "--mtp-acceptance=0.8", "--json"];
        json(&[&args[..], more].concat())
    };
    for (word, values) in [
        ("tp", &["1", "2", "4"][..]),
        ("mtp-depth", &["1", "2"]),
        ("mtp-acceptance", &["0.5", "0.9"]),
        ("common-weights", &["replicated", "even"]),
        ("ranks-per-rack", &["8", "16"]),
        ("memory-share", &["0.5", "0.8"]),
        ("throttle", &["4", "9"]),
        ("top-k", &["4", "8"]),
        ("kv-dtype", &["bf16", "fp8"]),
        ("scheme", &["flat", "hierarchical"]),
        ("hardware", &["h100", "gb200"]),
        ("mode", &["max", "sum"]),
    ] {
        let points = step(&[&format!("--sweep={word}={}", values.join(","))]);
        for (point, value) in points["points"].as_array().expect("a list").iter().zip(values) {
            let alone = step(&[&format!("--{word}={value}")]);
            assert_eq!(point["step_ms"], alone["step_ms"], "{word}={value}");
        }
        assert_eq!(points["points"].as_array().map(Vec::len), Some(values.len()), "{word}");
    }
    let table = text(&["roofline", "--sweep=common-weights=replicated,even"]);
    assert!(table.contains("\nreplicated ") && table.contains("\neven "), "{table}");
    refused(&["roofline", "--sweep=tp=1,many"], &["tp", "many"]);
    refused(&["roofline", "--sweep=batch=1,many"], &["batch", "`many` is no number"]);
}

#[test]
fn impossible_deployments_are_refused_and_too_large_ones_named() {
    refused(&["roofline", "--ranks=0"], &["rack 0 has 0 ranks"]);
    refused(&["roofline", "--top-k=257"], &["top_k: 257: give between 1 and the 256 experts of deepseek-v3"]);
    refused(&["roofline", "--pp=3"], &["give a multiple of the 3 stages"]);
    refused(&["roofline", "--batch=nan"], &["batch = NaN: give a finite number above 0"]);
    refused(&["roofline", "--hardware=h10"], &["did you mean"]);
    refused(&["roofline", "--hardware=a100", "--dtype=fp8"], &["a100-sxm has no fp8 arithmetic; use bf16"]);
    refused(&["roofline", "--sweep=bach=1..2"], &["no input is called `bach`"]);
    let step = json(&["roofline", "--hardware=h100", "--ranks=8", "--json"]);
    let verdict = step["verdict"].as_str().expect("text");
    assert!(verdict.starts_with("over capacity: 98.9 GB a rank of 72.0 GB usable"), "{verdict}");
}

#[cfg(feature = "plots")]
#[test]
fn plots_are_written_and_the_same_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for into in [&one, &two] {
        let listed = text(&["board", "--plots", &into.display().to_string()]);
        assert!(listed.lines().count() > 20 && listed.contains("b-slowdown.svg"));
    }
    let read = |dir: &std::path::Path| std::fs::read(dir.join("b-slowdown.svg")).expect("written");
    assert_eq!(read(&one), read(&two));
    let part = dir.path().join("part").display().to_string();
    assert_eq!(text(&["board", "F", "--plots", &part]).lines().count(), 1);
}

#[test]
fn the_page_has_every_claim_and_its_data_is_that_of_json() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("lecture.html");
    let path = file.display().to_string();
    let of = |args: &[&str]| {
        assert_eq!(text(&[&["board", "--html", &path], args].concat()), format!("{path}\n"));
        let page = std::fs::read_to_string(&file).expect("a page");
        let (_, record) =
            page.split_once("<script type=\"application/json\" id=\"record\">").expect("the record");
        let record = record.split_once("</script>").expect("an end").0;
        let record: Value = serde_json::from_str(record).expect("JSON");
        assert_eq!(record, json(&[&["board", "--json"], args].concat()), "{args:?}");
        for claim in record["claims"].as_array().expect("a list") {
            let id = claim["id"].as_str().expect("text");
            assert!(page.contains(&format!("<article id=\"{id}\"")), "{id}");
        }
        page
    };
    let page = of(&[]);
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    assert!(page.contains("Content-Security-Policy") && !page.contains("src=\"http"));
    assert!(
        of(&["--preset=dsv3", "--set", "rho=295"]).contains("railyard board --preset dsv3 --set rho=295")
    );
    of(&["scale-up"]);
    refused(&["board", "--html", &path, "--json"], &["cannot be used with"]);
    refused(&["board", "--html", &path, "--plots", "plots"], &["cannot be used with"]);
    let nowhere = dir.path().join("no/such/page.html").display().to_string();
    let error = support::fails(&mut support::railyard(&["board", "--html", &nowhere]), 1);
    assert!(error.contains("give a file that can be written"), "{error}");
}

/// The words of a command as a shell has them; the claims' quote nothing but whole words.
fn words(command: &str) -> Vec<&str> {
    command.split(' ').map(|word| word.trim_matches('\'')).collect()
}

#[test]
fn commands_that_claims_name_can_be_run_and_their_files_are_in_the_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("lecture.html");
    text(&["board", "--html", &file.display().to_string()]);
    let page = std::fs::read_to_string(&file).expect("a page");
    let claims = lecture::claims::Board::default().claims();
    let commands: std::collections::BTreeSet<&str> =
        claims.iter().flat_map(|claim| claim.runs).map(String::as_str).collect();
    assert!(commands.len() > 20);
    for command in commands {
        let mut words = words(command);
        assert_eq!(words.remove(0), "railyard", "{command}");
        if ["run", "serve-bench"].contains(&words[0]) {
            words.push("--dry-run");
        }
        let mut run = support::railyard(&words);
        support::works(run.current_dir(env!("CARGO_MANIFEST_DIR")));
        for path in words.iter().filter(|word| word.starts_with("examples/")) {
            let anchor = path.trim_end_matches(".toml").replace('/', "-");
            assert!(page.contains(&format!("<details id=\"{anchor}\"")), "{path}");
        }
    }
    // An experiment that names a claim is named by it.
    for entry in
        std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("there")
    {
        let path = entry.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = format!("examples/{}", path.file_name().expect("a name").to_string_lossy());
        let named = text
            .lines()
            .find_map(|line| line.strip_prefix("claim = \""))
            .and_then(|line| line.split_once(':'));
        for id in
            named.map_or("", |(ids, _)| ids).split([',', '-']).map(str::trim).filter(|id| !id.is_empty())
        {
            // Some name another source's table.
            let Some(claim) = claims.iter().find(|claim| claim.id == id) else { continue };
            assert!(claim.runs.iter().any(|run| run.contains(&name)), "{id} doesn't name {name}");
        }
    }
}
