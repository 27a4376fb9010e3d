//! `railyard board --html` in a browser: its formulas give what the crate gives, sliders and search do what they say. Needs
//! Debian's `chromium`; where it is not installed the tests say so and check nothing.

mod support;

use lecture::claims::{Board, Claim, Preset, Reach, reaches};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Points at which each formula is tried.
const POINTS: usize = 1_000;
/// How near is near enough, relative.
const NEAR: f64 = 1e-9;

/// The page with a script behind its own, which leaves an object in `result`; nothing without a browser.
fn opened(args: &[&str], script: &str) -> Option<Value> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("lecture.html");
    support::works(support::railyard(&["board", "--html"]).arg(&file).args(args));
    let page = std::fs::read_to_string(&file).expect("a page");
    let tried = format!(
        "<script>\n(async () => {{\nlet result;\ntry {{\n{script}\n}} catch (problem) {{ result = {{ problem: String(problem.stack) }}; }}\n\
         const pre = document.createElement('pre'); pre.id = 'tried'; pre.textContent = JSON.stringify(result); document.body.append(pre);\n}})();\n</script>\n</body>"
    );
    std::fs::write(&file, page.replacen("</body>", &tried, 1)).expect("written");
    let dom = dom(&file, dir.path())?;
    let (_, text) = dom.split_once("<pre id=\"tried\">").expect("what was tried");
    let text = text.split_once("</pre>").expect("an end").0;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let result: Value = serde_json::from_str(&text).expect("JSON");
    assert!(result.get("problem").is_none(), "{result}");
    Some(result)
}

/// What a browser makes of a file.
fn dom(file: &Path, home: &Path) -> Option<String> {
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.join("browser").display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null());
    let Ok(done) = browser.output() else {
        // Written past the harness, so that it is seen in passing tests too.
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: chromium is not installed; the page was not opened");
        return None;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).expect("text"))
}

/// A value within its reach, by equal factors where it can't be 0.
fn drawn(reach: &Reach, rng: &mut Pcg64Mcg) -> f64 {
    let part: f64 = rng.random();
    let value =
        if reach.from == 0.0 { reach.to * part } else { reach.from * (reach.to / reach.from).powf(part) };
    if reach.whole { value.round() } else { value }
}

/// A number as JSON, which has neither infinite nor undefined ones.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(format!("{value}").to_lowercase()) }
}

/// Inputs, values and verdict of a claim at [`POINTS`] points.
fn points(claim: &Claim, all: &[Reach], rng: &mut Pcg64Mcg) -> Vec<Value> {
    let reach = |name: &str| all.iter().find(|reach| reach.name == name).expect("a reach");
    let mut points = Vec::with_capacity(POINTS);
    while points.len() < POINTS {
        let inputs: Vec<(&str, f64)> =
            claim.inputs.iter().map(|&(name, ..)| (name, drawn(reach(name), rng))).collect();
        let set: Vec<String> = inputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // More experts chosen than there are: refused, as the page refuses it.
        let Ok(board) = Board::varied(Preset::Talk, set.iter().map(String::as_str)) else { continue };
        let there = board.select(claim.id).expect("the claim").remove(0);
        let values: Vec<Value> = there.values.iter().map(|value| number(value.value)).collect();
        let inputs: serde_json::Map<String, Value> =
            inputs.iter().map(|&(name, value)| (name.to_owned(), json!(value))).collect();
        points.push(json!([inputs, values, there.verdict]));
    }
    points
}

#[test]
fn every_formula_gives_what_the_crate_gives_at_a_thousand_points() {
    let claims = Board::default().claims();
    let (all, mut rng) = (reaches(&claims), Pcg64Mcg::seed_from_u64(1));
    let tried: serde_json::Map<String, Value> = claims
        .iter()
        .filter(|claim| !claim.inputs.is_empty())
        .map(|claim| (claim.id.to_owned(), Value::Array(points(claim, &all, &mut rng))))
        .collect();
    let count = tried.len();
    let script = format!(
        "const points = {};
         const real = (value) => typeof value === 'number' ? value : {{ inf: Infinity, '-inf': -Infinity, nan: NaN }}[value];
         const near = (one, other) => Object.is(one, other) || one === other
           || Math.abs(one - other) <= {NEAR} * Math.max(Math.abs(one), Math.abs(other));
         const wrong = []; let tried = 0, worst = 0;
         for (const claim of board.claims) {{
           if (!(claim.id in points)) continue;
           if (!formulas[claim.id]) {{ wrong.push(claim.id + ': no formula'); continue; }}
           for (const [inputs, values, verdict] of points[claim.id]) {{
             const made = board.evaluate(claim, inputs);
             tried += 1;
             values.map(real).forEach((value, at) => {{
               if (!near(made[at], value)) wrong.push(`${{claim.id}}/${{at}} at ${{JSON.stringify(inputs)}}: ${{made[at]}}, the crate ${{value}}`);
               else if (Number.isFinite(value) && value !== 0) worst = Math.max(worst, Math.abs(made[at] / value - 1));
             }});
             if (board.judge(claim, real(values[0])) !== verdict) wrong.push(`${{claim.id}} at ${{values[0]}}: ${{verdict}}`);
           }}
         }}
         result = {{ tried, worst, count: wrong.length, wrong: wrong.slice(0, 20) }};",
        Value::Object(tried)
    );
    let Some(result) = opened(&[], &script) else { return };
    assert_eq!(result["count"], 0, "{result:#}");
    assert_eq!(result["tried"], count * POINTS);
}

#[test]
fn numbers_look_as_the_command_prints_them_before_anything_moves() {
    let script = "
        const wrong = [];
        for (const claim of board.claims) {
          const at = document.getElementById(claim.id);
          const values = board.evaluate(claim, claim.inputs);
          values.forEach((value, index) => {
            const output = at.querySelector(`[data-at='${index}']`), text = board.told(value, claim.values[index].unit);
            if (output.textContent !== text) wrong.push(`${claim.id}/${index}: ${output.textContent}, the script ${text}`);
          });
          if (board.judge(claim, values[0]) !== claim.verdict) wrong.push(`${claim.id}: ${claim.verdict}`);
          for (const name of Object.keys(claim.inputs)) {
            const range = at.querySelector(`[data-move='${name}']`);
            if (!range.labels.length || !range.getAttribute('aria-valuetext')) wrong.push(`${claim.id}: ${name} has no label`);
          }
        }
        result = { wrong, shown: [...document.querySelectorAll('.move')].every((move) => !move.hidden) };";
    let Some(result) = opened(&[], script) else { return };
    assert_eq!(result, json!({"wrong": [], "shown": true}));
}

#[test]
fn a_slider_moves_its_input_in_every_claim_and_says_what_changes() {
    let script = "
        const text = (query) => document.querySelector(query).textContent;
        const range = document.querySelector('#B5 [data-move=throttle]');
        const field = document.querySelector('#B5 [data-type=throttle]');
        field.value = '18'; field.dispatchEvent(new Event('change'));
        await new Promise((done) => setTimeout(done, 400));
        const typed = { flat: text('#B5 [data-at=\"0\"]'), c1: text('#C1 [data-verdict]'), other: text('#C1 [data-is=throttle]'),
          said: text('#said'), same: text('#same'), bar: document.getElementById('moved').hidden };
        range.value = range.max; range.dispatchEvent(new Event('input'));
        const most = text('#B5 [data-is=throttle]');
        field.value = '-1'; field.dispatchEvent(new Event('change'));
        const refused = [field.validationMessage, text('#B5 [data-is=throttle]')];
        const picks = document.querySelector('#B11 [data-type=top_k]');
        picks.value = '300'; picks.dispatchEvent(new Event('change'));
        document.getElementById('back').click();
        result = { typed, most, refused, picks: picks.validationMessage,
          back: [text('#B5 [data-at=\"0\"]'), document.getElementById('moved').hidden] };";
    let Some(result) = opened(&[], script) else { return };
    let board = Board::varied(Preset::Talk, ["throttle=18"]).expect("an input");
    let flat = board.select("B5").expect("a claim").remove(0).computed().value;
    assert_eq!(result["typed"]["flat"], blackboard::text::number(flat));
    assert_eq!(result["typed"]["other"], "18");
    assert_eq!(result["typed"]["same"], "railyard board --set throttle=18");
    assert_eq!(result["typed"]["bar"], false);
    let said = result["typed"]["said"].as_str().expect("text");
    assert!(said.starts_with("throttle = 18: ") && said.contains("B5 4.056 \u{2192} 9.127"), "{said}");
    assert_eq!(result["most"], "80");
    assert_eq!(result["refused"], json!(["give a number above 0", "80"]));
    assert_eq!(result["picks"], "top_k can be at most as many as there are experts");
    assert_eq!(result["back"], json!(["4.056", true]));
}

#[test]
fn claims_are_found_by_words_and_numbers() {
    let script = "
        const found = {};
        for (const query of ['8x', 'half', '1000x', '2400', 'cache', 'second rack', '128k', 'zebra']) found[query] = board.search(query);
        const box = document.getElementById('find');
        box.value = '2400'; box.dispatchEvent(new Event('input'));
        const seen = [...document.querySelectorAll('.claim:not([hidden])')].map((claim) => claim.id);
        result = { found, seen, told: document.getElementById('found').textContent };";
    let Some(result) = opened(&[], script) else { return };
    let has = |query: &str, ids: &[&str]| {
        let found = result["found"][query].as_array().expect("a list");
        for id in ids {
            assert!(found.contains(&json!(id)), "{query}: {id} is not in {found:?}");
        }
        found.len()
    };
    assert!(has("8x", &["B3", "B5"]) < 20);
    assert!(has("half", &["B4", "A16"]) < 20);
    assert!(has("1000x", &["A4"]) < 12);
    assert!(has("2400", &["A6", "A1", "A4"]) < 20);
    assert!(has("cache", &["E6", "A9", "C4"]) < 40);
    assert!(has("second rack", &["B5"]) < 12);
    assert!(has("128k", &["A13", "A14"]) < 6);
    assert_eq!(has("zebra", &[]), 0);
    assert_eq!(result["found"]["8x"][0], "B3");
    assert_eq!(result["found"]["1000x"][0], "A4");
    let mut found: Vec<&str> =
        result["found"]["2400"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut seen: Vec<&str> =
        result["seen"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    found.sort_unstable();
    seen.sort_unstable();
    assert_eq!(found, seen);
    assert!(
        result["told"].as_str().is_some_and(|told| told.contains("the best first: ")),
        "{}",
        result["told"]
    );
}

#[test]
fn with_other_inputs_the_page_begins_there() {
    let script = "
        const text = (query) => document.querySelector(query).textContent;
        const field = document.querySelector('#B3 [data-type=scale_out_bw]');
        field.value = '1e11'; field.dispatchEvent(new Event('change'));
        result = { claims: board.claims.length, is: text('#B3 [data-is=scale_up_bw]'), beta: text('#B3 [data-at=\"0\"]'), same: text('#same') };";
    let args = ["B3", "--preset", "dsv3", "--set", "scale_up_bw=8e11"];
    let Some(result) = opened(&args, script) else { return };
    let same = "railyard board B3 --preset dsv3 --set scale_up_bw=8e11 --set scale_out_bw=1e11";
    assert_eq!(result, json!({"claims": 1, "is": "8e11 B/s", "beta": "8", "same": same}));
}
