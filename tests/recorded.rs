//! What the command put out once it puts out still: every number of some ninety commands, equal to the last bit.
//!
//! `recorded/cases.toml` has the commands by family, `recorded/FAMILY/NAME.json` what each one printed, and
//! `recorded/inputs/` the files they read. A case runs its commands, takes the last one's output as JSON (lines of JSON
//! and of CSV become a list of objects, other text a list of lines) and compares:
//!
//! - every value that is recorded must be there and be equal, numbers as `f64`; lists have as many elements as before;
//! - keys that are new in the output are fine, and so is any order of keys;
//! - keys in [`NOT_COMPARED`] are not looked at; a key that was renamed or moved stands in [`RENAMED`].
//!
//! So keys may be added and moved while values stay. When values are meant to change, or to have new keys held as well:
//!
//! ```console
//! $ RAILYARD_RECORD=1 cargo test --test recorded
//! ```
//!
//! This writes the files anew, names on stderr those that changed, and `git diff` shows how. [`RENAMED`] can be emptied
//! then. Files without a case are removed.

mod support;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};
use support::railyard;

/// Keys whose values tell of the build, its format or the machine, not of what was computed.
const NOT_COMPARED: [&str; 3] = [
    "schema_version",
    // Of the program, in the first line of results.
    "version",
    // The hash of an experiment's options.
    "experiment",
];

/// Where keys went: (path as recorded, path now). A path is the keys down to one, with dots between them and `[]`
/// where a list's element is: `("rows[].a2a_us", "rows[].times.all_to_all_us")`, `("rows[].config.model", "model")`.
/// It may begin at any depth, and what lies below it goes along. What stands for `[]` is kept, in order, so the new
/// path has no more of them.
const RENAMED: &[(&str, &str)] = &[];

/// Differences of one case that are shown.
const SHOWN: usize = 12;

#[test]
fn compare() {
    hold("compare");
}

#[test]
fn placement() {
    hold("placement");
}

#[test]
fn routing() {
    hold("routing");
}

#[test]
fn run() {
    hold("run");
}

#[test]
fn serve_bench() {
    hold("serve-bench");
}

#[test]
fn place() {
    hold("place");
}

#[test]
fn roofline() {
    hold("roofline");
}

#[test]
fn board() {
    hold("board");
}

#[test]
fn topology() {
    hold("topology");
}

/// Every family is held by a test above, and every file belongs to one.
#[test]
fn families() {
    let tests =
        ["board", "compare", "place", "placement", "roofline", "routing", "run", "serve-bench", "topology"];
    let cases = cases();
    assert!(cases.keys().eq(tests), "a family without a test: {:?}", cases.keys());
    for entry in fs::read_dir(folder()).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(!path.is_dir() || name == "inputs" || cases.contains_key(&*name), "{name}: no such family");
    }
}

#[test]
fn values_are_held_and_keys_may_come_and_move() {
    let was = serde_json::json!({"version": 1, "rows": [{"us": 1.5, "kind": "a"}, {"us": 2, "kind": null}], "of": {}});
    let differ = |is: Value, renamed: &[(&str, &str)]| differences(&was, &is, renamed);
    let more = serde_json::json!({"of": {"x": 1}, "rows": [{"us": 1.5, "kind": "a", "n": 1}, {"kind": null, "us": 2.0}]});
    assert!(differ(more, &[]).is_empty());
    let moved = serde_json::json!({"of": {}, "table": {"rows": [{"us": {"all": 1.5}, "kind": "a"}, {"us": {"all": 2}}]}});
    assert_eq!(
        differ(moved, &[("rows", "table.rows"), ("rows[].us", "rows[].us.all")]),
        ["rows[1].kind (now table.rows[1].kind): was null, is missing"]
    );
    let other = serde_json::json!({"rows": [{"us": 1.500_000_000_000_000_2, "kind": "a"}], "of": 1});
    assert_eq!(
        differ(other, &[]),
        [
            "of: was {}, is 1",
            "rows: was 2 elements, is 1 element",
            "rows[0].us: was 1.5, is 1.5000000000000002",
            "rows[1].kind: was null, is missing",
            "rows[1].us: was 2, is missing",
        ]
    );
}

/// A case's commands by its name, by family.
type Cases = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

fn cases() -> Cases {
    let text = fs::read_to_string(folder().join("cases.toml")).expect("the cases");
    toml::from_str(&text).expect("families of cases")
}

/// Runs a family's cases and compares, or records; panics with all that differs.
#[track_caller]
fn hold(family: &str) {
    let cases = cases().remove(family).expect("a family");
    let record = env::var_os("RAILYARD_RECORD").is_some_and(|value| value == "1");
    let place = folder().join(family);
    let mut wrong = Vec::new();
    for (name, commands) in &cases {
        let path = place.join(format!("{name}.json"));
        let outcome = output(commands).and_then(|is| {
            if record {
                store(&path, &text(&is));
                return Ok(Vec::new());
            }
            let was = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let was = serde_json::from_slice(&was).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(differences(&was, &is, RENAMED))
        });
        let found = outcome.unwrap_or_else(|error| vec![error]);
        wrong.extend(found.iter().take(SHOWN).map(|difference| format!("{family}/{name}: {difference}")));
        if found.len() > SHOWN {
            wrong.push(format!("{family}/{name}: and {} more", found.len() - SHOWN));
        }
    }
    for path in fs::read_dir(&place).into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().expect("a name").to_string_lossy();
        if cases.contains_key(&*name) {
        } else if record {
            fs::remove_file(&path).expect("removed");
            say(&format!("removed {}", path.display()));
        } else {
            wrong.push(format!("{family}/{name}: recorded, but not in cases.toml"));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as recorded (the head of tests/recorded.rs tells more)\n{}",
        wrong.join("\n")
    );
}

/// What the last of the commands prints, without what is not compared.
fn output(commands: &[String]) -> Result<Value, String> {
    let out = tempfile::tempdir().expect("a directory");
    let mut last = String::new();
    for line in commands {
        let args =
            line.split_whitespace().map(|word| if word == "OUT" { out.path().into() } else { word.into() });
        let mut command = railyard(&["-q"]);
        command.args(args.collect::<Vec<PathBuf>>()).current_dir(folder());
        let done = command.output().expect("the command starts");
        if !done.status.success() {
            let error = String::from_utf8_lossy(&done.stderr);
            return Err(format!("`railyard {line}`: {}: {}", done.status, error.trim_end()));
        }
        last = String::from_utf8(done.stdout).map_err(|error| error.to_string())?;
    }
    let table = commands.last().is_some_and(|line| line.ends_with("--csv"));
    let mut value = if table { from_csv(&last) } else { from_text(&last) };
    prune(&mut value);
    Ok(value)
}

/// One JSON value, lines of them, or lines.
fn from_text(text: &str) -> Value {
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    serde_json::from_str(text)
        .or_else(|_| lines.map(Value::from))
        .unwrap_or_else(|_| text.lines().collect::<Vec<_>>().into())
}

/// A list of objects by the first line's names.
fn from_csv(text: &str) -> Value {
    let mut lines = text.lines().map(fields);
    let names = lines.next().unwrap_or_default();
    let object = |values: Vec<String>| -> Value {
        assert_eq!(values.len(), names.len(), "{values:?}");
        let value = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        names.iter().cloned().zip(values.into_iter().map(value)).collect::<Map<_, _>>().into()
    };
    lines.map(object).collect()
}

/// A line's fields; none has a quote or a line break in it.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    for (index, part) in line.split('"').enumerate() {
        let quoted = index % 2 == 1;
        for (index, piece) in part.split(',').enumerate() {
            match fields.last_mut() {
                Some(field) if index == 0 => field.push_str(piece),
                Some(field) if quoted => {
                    field.push(',');
                    field.push_str(piece);
                }
                _ => fields.push(piece.to_owned()),
            }
        }
    }
    fields
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !NOT_COMPARED.contains(&key.as_str()));
            map.values_mut().for_each(prune);
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// A key, or the place of an element in a list.
#[derive(Clone, PartialEq)]
enum Step {
    Key(String),
    Element(usize),
}

/// All that is recorded and is not so now, a line each.
fn differences(was: &Value, is: &Value, renamed: &[(&str, &str)]) -> Vec<String> {
    let mut was = was.clone();
    prune(&mut was);
    let mut found = Vec::new();
    compare_below(&was, &mut Vec::new(), is, renamed, &mut found);
    found
}

fn compare_below(
    was: &Value,
    path: &mut Vec<Step>,
    is: &Value,
    renamed: &[(&str, &str)],
    found: &mut Vec<String>,
) {
    let now = renamed.iter().fold(path.clone(), |path, &(old, new)| moved(path, old, new));
    let value = now.iter().try_fold(is, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Element(index) => value.get(index),
    });
    let mut differs = |was: &str, is: &str| {
        let place =
            if now == *path { written(path) } else { format!("{} (now {})", written(path), written(&now)) };
        found.push(format!("{place}: was {was}, is {is}"));
    };
    match (was, value) {
        (Value::Object(map), _) if !map.is_empty() => {
            for (key, below) in map {
                path.push(Step::Key(key.clone()));
                compare_below(below, path, is, renamed, found);
                path.pop();
            }
        }
        (Value::Object(_), Some(Value::Object(_))) => {}
        (Value::Array(list), value) => {
            // A list may be gone because all of its elements' keys have moved.
            match value.map(|value| (value, value.as_array())) {
                Some((_, Some(now))) if now.len() == list.len() => {}
                Some((_, Some(now))) => differs(&elements(list.len()), &elements(now.len())),
                Some((other, None)) => differs(&elements(list.len()), &other.to_string()),
                None if list.is_empty() => differs("[]", "missing"),
                None => {}
            }
            for (index, below) in list.iter().enumerate() {
                path.push(Step::Element(index));
                compare_below(below, path, is, renamed, found);
                path.pop();
            }
        }
        (was, None) => differs(&was.to_string(), "missing"),
        (was, Some(is)) if !equal(was, is) => differs(&was.to_string(), &is.to_string()),
        _ => {}
    }
}

fn elements(count: usize) -> String {
    format!("{count} element{}", if count == 1 { "" } else { "s" })
}

/// Equal values, whole numbers exactly and all others as `f64`.
fn equal(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Number(was), Value::Number(is)) if was.is_f64() || is.is_f64() => was.as_f64() == is.as_f64(),
        _ => was == is,
    }
}

/// The path with `old` in it replaced by `new`, where it is in it.
fn moved(path: Vec<Step>, old: &str, new: &str) -> Vec<Step> {
    let pattern = parsed(old);
    let fits = |steps: &[Step]| {
        steps.iter().zip(&pattern).all(|(step, wanted)| match (step, wanted) {
            (Step::Key(key), Some(wanted)) => key == wanted,
            (step, wanted) => matches!(step, Step::Element(_)) && wanted.is_none(),
        })
    };
    let Some(start) = path.windows(pattern.len()).position(fits) else { return path };
    let end = start + pattern.len();
    let mut indices = path[start..end].iter().filter(|step| matches!(step, Step::Element(_)));
    let step = |wanted: Option<String>| match wanted {
        Some(key) => Step::Key(key),
        None => indices.next().unwrap_or_else(|| panic!("`{new}` has more [] than `{old}`")).clone(),
    };
    let between: Vec<Step> = parsed(new).into_iter().map(step).collect();
    [&path[..start], &between, &path[end..]].concat()
}

/// Keys, and nothing where `[]` is.
fn parsed(path: &str) -> Vec<Option<String>> {
    let steps = path.replace("[]", ".[]");
    steps
        .split('.')
        .filter(|step| !step.is_empty())
        .map(|key| (key != "[]").then(|| key.to_owned()))
        .collect()
}

fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => write!(text, ".{key}").expect("written"),
            Step::Element(index) => write!(text, "[{index}]").expect("written"),
        }
    }
    text
}

/// A line a key; on one line lists of plain values, and objects of plain values that are short.
fn text(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, 0, &mut text);
    text.push('\n');
    text
}

/// Objects that are longer have a line a key.
const SHORT: usize = 100;

fn write_value(value: &Value, depth: usize, text: &mut String) {
    let plain = |value: &Value| !value.is_object() && !value.is_array();
    let (open, close, below): (_, _, Vec<(String, &Value)>) = match value {
        Value::Array(list) if !list.iter().all(plain) => {
            ('[', ']', list.iter().map(|value| (String::new(), value)).collect())
        }
        Value::Object(map) if !map.values().all(plain) || value.to_string().len() > SHORT => {
            let key = |key: &String| format!("{}: ", Value::from(key.as_str()));
            ('{', '}', map.iter().map(|(name, value)| (key(name), value)).collect())
        }
        _ => return text.push_str(&value.to_string()),
    };
    text.push(open);
    for (index, (key, value)) in below.into_iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(depth + 1));
        text.push_str(&key);
        write_value(value, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&" ".repeat(depth));
    text.push(close);
}

fn store(path: &Path, text: &str) {
    let was = fs::read_to_string(path).ok();
    if was.as_deref() == Some(text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
    say(&format!("{} {}", if was.is_some() { "changed" } else { "new" }, path.display()));
}

/// Past the test harness, which holds back what the macros print.
fn say(line: &str) {
    writeln!(io::stderr(), "recorded: {line}").expect("stderr");
}
