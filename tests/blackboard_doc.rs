//! docs/blackboard.md says what the code computes: its tables and plots are generated, and every number in its prose is
//! held against a claim.
//!
//! In the prose a number stands between `<!-- KEY -->` and `<!-- -->`, where KEY is a claim's id and either `/N`, its N-th value,
//! or `:NAME`, an input; a word after it scales: `%`, `m`, `k`, `M`, `G`, `T`, `min`, `h`. Other numbers may stand in names, in code and in what is
//! quoted from a source. `RAILYARD_BLESS=1 cargo test --test blackboard_doc` writes tables and plots anew.

use blackboard::text::number;
use lecture::claims::{Board, Chapter, Claim};
use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/blackboard.md";
const PLOTS: &str = "docs/plots";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn bless() -> bool {
    std::env::var_os("RAILYARD_BLESS").is_some()
}

fn page() -> String {
    fs::read_to_string(path(PAGE)).expect("the page is there")
}

/// The table of a chapter's claims.
fn table(chapter: Chapter) -> String {
    let mut text =
        "\n| | claim | computed | stated | verdict |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for claim in Board::default().select(chapter.name()).expect("a chapter") {
        let computed = claim.computed();
        let unit = if computed.unit.is_empty() { String::new() } else { format!(" {}", computed.unit) };
        text.push_str(&format!(
            "| {} | {} | {}{unit} ({}) | {} | {} |\n",
            claim.id,
            claim.claim,
            number(computed.value),
            computed.label.replace('|', "/"),
            claim.stated.text(),
            claim.verdict
        ));
    }
    text
}

#[test]
fn its_tables_are_those_of_the_code() {
    let mut found = page();
    for chapter in Chapter::ALL {
        let open = format!("<!-- claims: {chapter} -->\n");
        let begin = found.find(&open).unwrap_or_else(|| panic!("no {open}")) + open.len();
        let end = begin + found[begin..].find("\n<!-- end -->").expect("an end");
        let wanted = table(chapter);
        if bless() {
            found.replace_range(begin..end, &wanted);
        } else {
            assert_eq!(
                &found[begin..end],
                wanted,
                "RAILYARD_BLESS=1 cargo test --test blackboard_doc writes it anew"
            );
        }
    }
    if bless() {
        fs::write(path(PAGE), found).expect("written");
    }
}

#[cfg(feature = "plots")]
#[test]
fn its_plots_are_those_of_the_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let into = if bless() { path(PLOTS) } else { dir.path().to_owned() };
    let drawn = Command::new(env!("CARGO_BIN_EXE_railyard")).args(["board", "--plots"]).arg(&into).output();
    assert!(drawn.expect("the command starts").status.success());
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).expect("a directory").map(|file| file.expect("a file").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&path(PLOTS)), names(&into));
    let page = page();
    for name in names(&into) {
        assert_eq!(
            fs::read(path(PLOTS).join(&name)).ok(),
            fs::read(into.join(&name)).ok(),
            "{name:?} is out of date"
        );
        let shown = format!("(plots/{})", name.to_string_lossy());
        assert!(page.contains(&shown), "{name:?} is not shown");
    }
}

/// The value that a key names.
fn value(claims: &[Claim], key: &str) -> f64 {
    let (key, scale) = key.split_once(' ').unwrap_or((key, ""));
    let scale = match scale {
        "" => 1.0,
        "%" => 0.01,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "min" => 60.0,
        "h" => 3600.0,
        "m" => 1e-3,
        other => panic!("{key}: no scale is called `{other}`"),
    };
    let (id, what) = key.split_at(key.find(['/', ':']).unwrap_or_else(|| panic!("`{key}` is no key")));
    let claim = claims.iter().find(|claim| claim.id == id).unwrap_or_else(|| panic!("{key}: no such claim"));
    let value = if let Some(at) = what.strip_prefix('/') {
        claim.values.get(at.parse::<usize>().expect("a number")).map(|value| value.value)
    } else {
        claim.inputs.iter().find(|(name, ..)| *name == &what[1..]).map(|&(.., value)| value)
    };
    value.unwrap_or_else(|| panic!("{key}: the claim has no such value")) / scale
}

/// Whether `value` rounds to `text` at its last digit.
fn reads(value: f64, text: &str) -> bool {
    let text = text.replace(',', "");
    let Ok(stated) = text.parse::<f64>() else { return false };
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
    (value - stated).abs() <= 0.5 * 10f64.powi(-decimals) * (1.0 + 1e-9)
}

/// Cuts out all that stands between `open` and `close`.
fn without(text: &str, open: &str, close: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(open) {
        kept.push_str(&rest[..begin]);
        let inside = &rest[begin + open.len()..];
        rest =
            &inside[inside.find(close).unwrap_or_else(|| panic!("no {close} after {open}")) + close.len()..];
    }
    kept + rest
}

#[test]
fn every_number_in_its_prose_comes_from_the_code() {
    let claims = Board::default().claims();
    let mut prose = page();
    for chapter in Chapter::ALL {
        prose = without(&prose, &format!("<!-- claims: {chapter} -->"), "<!-- end -->");
    }
    let mut rest = prose.as_str();
    let mut checked = 0;
    let mut unmarked = String::new();
    while let Some(begin) = rest.find("<!-- ") {
        unmarked.push_str(&rest[..begin]);
        let (key, after) = rest[begin + 5..].split_once(" -->").expect("an end of the marker");
        let (text, after) =
            after.split_once("<!-- -->").unwrap_or_else(|| panic!("{key}: no <!-- --> after it"));
        let value = value(&claims, key);
        assert!(reads(value, text), "{key}: the page says {text}, the code {value}");
        checked += 1;
        rest = after;
    }
    unmarked.push_str(rest);
    assert!(checked > 80, "{checked} numbers are held against the code");

    let known: Vec<&str> =
        claims.iter().flat_map(|claim| [claim.claim, claim.stated.text(), claim.note]).collect();
    for quote in
        unmarked.split('"').skip(1).step_by(2).filter(|quote| quote.contains(|c: char| c.is_ascii_digit()))
    {
        let quote = quote.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(known.iter().any(|text| text.contains(&quote)), "no claim says \"{quote}\"");
    }
    let mut plain = without(&without(&without(&unmarked, "```", "```"), "`", "`"), "](", ")");
    plain = without(&plain, "\"", "\"");
    let named = |word: &str| {
        const NAMES: [&str; 31] = [
            "2026",
            "A100",
            "BF16",
            "DDR5",
            "ConnectX-7",
            "DeepSeek-V3",
            "DeepSeek-V3's",
            "FP4",
            "FP8",
            "GB200",
            "GB300",
            "H100",
            "H200",
            "H800",
            "MI300X",
            "MI355X",
            "NVL72",
            "NVL576",
            "S1",
            "S2",
            "TPU7x",
            "v5e",
            "v5p",
            "v6e",
            "V3",
            "1F1B",
            "ZB1P",
            "Llama-70B",
            "B200",
            "S2's",
            "S1's",
        ];
        let id = |word: &str| claims.iter().any(|claim| claim.id == word);
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        NAMES.contains(&word) || id(word) || word.split('-').all(|part| part.is_empty() || id(part))
    };
    let stray: Vec<&str> = plain
        .split_whitespace()
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()) && !named(word))
        .collect();
    assert!(stray.is_empty(), "numbers without a claim behind them: {stray:?}");
}
