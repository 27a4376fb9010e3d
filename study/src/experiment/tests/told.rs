//! What results are told as: sentences of the file with their numbers, and an output of one's own.

/// The output of docs/extending.md, where others can reach it.
#[expect(unreachable_pub, reason = "where it belongs it is exported")]
mod markdown;

use super::resumed::run;
use super::{Few, SMALL, check_error, merge, parse, plan};
use crate::experiment::{Shard, summarise};

const FINDING: &str = "finding = 'with 8 tokens {a2a_us at scheme=flat, tokens=8} us, \
                       {a2a_us at scheme=hierarchical, tokens=8, backend=sim / tokens=8, scheme=flat} of it by gateways'\n";

#[test]
fn a_finding_has_the_numbers_of_the_results() {
    let directory = tempfile::tempdir().expect("a directory");
    let told = |text: &str, shard, name: &str| {
        let (plan, path) = (plan(text), directory.path().join(name));
        run(&plan, shard, &path, 2).expect("runs");
        let merged = merge(&[path]).expect("merges");
        let rows: Vec<f64> =
            summarise(&merged).iter().map(|row| row.estimate("a2a_us").expect("a time").mean).collect();
        (merged.findings(), rows)
    };
    let text = format!("{FINDING}{SMALL}");
    let (findings, rows) = told(&text, Shard::ALL, "all.jsonl");
    // Rows by tokens, scheme and backend, the simulated one last.
    let (flat, hierarchical) = (rows[9], rows[11]);
    let three = |value: f64| format!("{value:.*}", (2 - value.log10().floor() as i32) as usize);
    let expected =
        format!("with 8 tokens {} us, {} of it by gateways", three(flat), three(hierarchical / flat));
    assert_eq!(findings, [Ok(expected)]);
    // A finding is no part of what was run.
    assert_eq!(plan(&text).hash, plan(SMALL).hash);
    let (part, _) = told(&text, Shard { index: 1, count: 9 }, "part.jsonl");
    assert_eq!(part, [Err("these results have no a2a_us at scheme=flat, tokens=8".to_owned())]);
}

#[test]
fn a_finding_about_what_is_not_there_is_a_fault_with_its_line() {
    let fault = |finding: &str, message: &str| {
        check_error(
            &format!("\nfinding = ['sound',\n'{finding}']\n{SMALL}"),
            &format!("sweep.toml:3: finding: {message}"),
        );
    };
    assert!(parse(&format!("{FINDING}{SMALL}")).is_ok());
    fault("{a2a at scheme=flat, tokens=8}", "{a2a at scheme=flat, tokens=8}: no column `a2a`");
    fault(
        "{a2a_us at scheme=flat}",
        "{a2a_us at scheme=flat}: 3 combinations have scheme=flat; name more of what is swept: tokens, scheme",
    );
    fault(
        "{a2a_us at scheme=flat, tokens=9}",
        "{a2a_us at scheme=flat, tokens=9}: 0 combinations have scheme=flat, tokens=9; give values",
    );
    fault("{a2a_us}", "{a2a_us}: 6 combinations have what is said");
    fault("{a2a_us at flat}", "{a2a_us at flat}: `flat` is no setting");
    fault("{a2a_us at tokens=8, scheme=flat", "`{a2a_us at");
    check_error("finding = 3", "sweep.toml:1: finding: give a text");
}

#[test]
fn the_output_of_the_page_on_extending_has_every_row() {
    let page = include_str!("../../../../docs/extending.md");
    assert!(page.contains(include_str!("told/markdown.rs")), "docs/extending.md shows another markdown.rs");
    let (plan, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("small.jsonl");
    run(&plan, Shard::ALL, &path, 2).expect("runs");
    let text = markdown::markdown(&merge(&[path]).expect("merges"), &Few);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 3 * 2 * 2, "{text}");
    assert!(
        lines[0].starts_with("| tokens | scheme | backend | dispatch us | combine us | a2a us |"),
        "{text}"
    );
    assert!(lines[2].starts_with("| 1 | flat | analytic | "), "{text}");
}
