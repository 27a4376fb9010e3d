//! `railyard place` from outside: the published example of EPLB, tables, maps and what it refuses.

use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

/// The loads of EPLB's own README.
const LOADS: &str = r#"{"logical_count": [[90,132,40,61,104,165,39,4,73,56,183,86],[20,107,104,64,19,197,187,157,172,86,16,27]]}"#;

struct Loads(tempfile::NamedTempFile);

impl Loads {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Self(file)
    }

    fn place(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
        command
            .args(["place", "--loads"])
            .arg(self.0.path())
            .args(args)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command.output().expect("the command starts")
    }

    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        let output = self.place(args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    #[track_caller]
    fn refused(&self, args: &[&str], part: &str) {
        let output = self.place(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(part) && error.lines().count() == 1, "`{part}` is not in: {error}");
    }
}

#[test]
fn the_published_example_of_eplb() {
    let loads = Loads::new(LOADS);
    let args = ["--ranks=8", "--racks=2", "--slots=16", "--groups=4"];
    let maps: Value = serde_json::from_str(&loads.text(&[&args[..], &["--json"]].concat())).expect("JSON");
    let layer = &maps["layers"][0];
    assert_eq!(layer["physical_to_logical_map"], json!([5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1]));
    assert_eq!(layer["logical_replica_count"], json!([1, 2, 1, 1, 2, 2, 1, 1, 1, 1, 2, 1]));
    assert_eq!(layer["logical_to_physical_map"][0], json!([12, -1]));
    assert_eq!(layer["rank_load"], json!([121.5, 86.5, 125.0, 113.0, 147.5, 131.5, 156.0, 152.0]));
    let table = loads.text(&args);
    assert!(table.contains("    0     1.208        0.8277              2\n"), "{table}");
    assert!(loads.text(&["--ranks=8", "--policy=linear"]).contains("policy linear"));
}

#[test]
fn what_can_not_be_placed_is_refused() {
    let loads = Loads::new(LOADS);
    loads.refused(&["--ranks=8", "--slots=17"], "the ranks must divide the slots");
    loads.refused(&["--ranks=8", "--racks=3"], "--racks 3: give a divisor of the 8 ranks");
    loads.refused(&["--ranks=8", "--slots=16", "--policy=linear"], "one slot for each of the 12 experts");
    loads.refused(&["--ranks=0"], "rank");
    Loads::new(r#"{"logical_count": [[1, 2], [3]]}"#).refused(&["--ranks=2"], "layer 1 has 1 experts");
    Loads::new("[]").refused(&["--ranks=2"], "expected {\"logical_count\"");
}
