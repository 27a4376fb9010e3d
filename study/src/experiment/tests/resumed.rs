//! Results that are cut anywhere, by threads and shards, and go on to the same bytes.

use super::*;

/// Runs what is left of a shard and gives the number of points run.
pub(super) fn run(plan: &Plan<'_>, shard: Shard, path: &Path, jobs: usize) -> Result<usize, ExperimentError> {
    let mut results = Results::open(path, &plan.header(shard))?;
    let left: Vec<Point> = plan.points(shard).filter(|point| !results.has(point.index)).collect();
    run_offline(plan, &left, jobs, &mut results, &|_| (), &mut |_| {})?;
    results.finish()?;
    Ok(left.len())
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let (plan, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let bytes: Vec<Vec<u8>> = [1, 2, 5]
        .into_iter()
        .map(|jobs| {
            let path = directory.path().join(format!("{jobs}.jsonl"));
            assert_eq!(run(&plan, Shard::ALL, &path, jobs).expect("runs"), 18);
            fs::read(path).expect("a file")
        })
        .collect();
    assert_eq!(bytes[0].iter().filter(|&&byte| byte == b'\n').count(), 19);
    assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn a_file_cut_anywhere_goes_on_to_the_same_bytes() {
    let (plan, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("small.jsonl");
    run(&plan, Shard::ALL, &path, 1).expect("runs");
    let whole = fs::read(&path).expect("a file");
    let lines: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    // Around every line's end, and every 4999th byte between.
    let ends = lines.iter().flat_map(|&end| [end.saturating_sub(1), end, end + 1]);
    for cut in ends.chain((0..whole.len()).step_by(4_999)) {
        fs::write(&path, &whole[..cut]).expect("written");
        let finished = lines.iter().filter(|&&end| end < cut).count().saturating_sub(1);
        assert_eq!(run(&plan, Shard::ALL, &path, 2).expect("goes on"), 18 - finished, "cut at {cut}");
        assert!(fs::read(&path).expect("a file") == whole, "cut at {cut}");
    }
}

#[test]
fn every_cut_is_read_as_the_points_before_it() {
    let (plan, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("small.jsonl");
    run(&plan, Shard { index: 1, count: 9 }, &path, 1).expect("runs");
    let whole = fs::read(&path).expect("a file");
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).expect("written");
        let contents = results::read_any(&path).expect("readable");
        let ends = whole[..cut].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!((contents.header.is_some(), contents.lines.len()), (ends > 0, ends.saturating_sub(1)));
    }
}

#[test]
fn shards_merge_into_the_whole_and_what_is_missing_is_named() {
    let (plan, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let whole = directory.path().join("whole");
    run(&plan, Shard::ALL, &whole.join("small.jsonl"), 2).expect("runs");
    let parts = directory.path().join("parts");
    for index in [1, 3] {
        let shard = Shard { index, count: 3 };
        run(&plan, shard, &parts.join(plan.file_name(shard)), 2).expect("runs");
    }
    let some = merge(std::slice::from_ref(&parts)).expect("merges");
    assert_eq!(some.missing, [1, 4, 7, 10, 13, 16]);
    let shard = Shard { index: 2, count: 3 };
    run(&plan, shard, &parts.join(plan.file_name(shard)), 2).expect("runs");
    let all = merge(std::slice::from_ref(&parts)).expect("merges");
    let bare = |merged: Merged| Merged { files: Vec::new(), ..merged };
    let all = bare(all);
    assert!(all == bare(merge(&[whole.join("small.jsonl")]).expect("merges")));
    // The same point in two files is no harm while it is equal.
    assert!(all == bare(merge(&[parts.clone(), whole.clone()]).expect("merges")));
    let rows = summarise(&all);
    assert_eq!((rows.len(), rows[0].records.len()), (12, 3));
    let text = table(&all, &rows, &Few, None);
    assert!(text.contains("tokens") && text.contains("± "), "{text}");
    let csv = csv(&all).expect("CSV");
    assert_eq!(
        (csv.lines().count(), csv.lines().next().map(|line| &line[..30])),
        (37, Some("point,seed,set_tokens,backend,"))
    );
}

#[test]
fn what_is_not_this_experiment_s_is_refused() {
    let (plan_, directory) = (plan(SMALL), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("small.jsonl");
    run(&plan_, Shard::ALL, &path, 2).expect("runs");
    let refused = |plan: &Plan<'_>, shard| run(plan, shard, &path, 1).expect_err("another").to_string();
    let other = plan(&SMALL.replace('8', "9"));
    assert!(refused(&other, Shard::ALL).contains("the experiment has changed since"));
    assert!(refused(&plan_, Shard { index: 1, count: 2 }).contains("shard 1/1, not 1/2"));
    assert!(refused(&plan(&SMALL.replace("small", "big")), Shard::ALL).contains("holds `small`, not `big`"));
    let other_path = directory.path().join("other.jsonl");
    run(&other, Shard::ALL, &other_path, 2).expect("runs");
    fs::write(directory.path().join("foreign.jsonl"), "{\"a\": 1}\n").expect("written");
    let both = collect(&[directory.path().to_owned()]).expect("two experiments");
    assert_eq!((both.experiments.len(), both.skipped.len()), (2, 1));
    let (path_, problem) = &both.skipped[0];
    assert!(path_.ends_with("foreign.jsonl") && problem.starts_with("line 1: no results of"), "{problem}");
    let error = collect(std::slice::from_ref(path_)).expect_err("named").to_string();
    assert!(error.contains("foreign.jsonl: line 1: no results of"), "{error}");
    // A point that says otherwise in another file.
    let text = fs::read_to_string(&path).expect("a file");
    let changed = directory.path().join("changed.jsonl");
    fs::write(&changed, text.replacen("\"verified\":true", "\"verified\":false", 1)).expect("written");
    let error = merge(&[path.clone(), changed]).expect_err("differs").to_string();
    assert!(error.contains("point 0 differs from that in"), "{error}");
    // Damage in the middle is no torn line.
    fs::write(&path, text.replacen("\"seed\":1", "\"seed\":x", 1)).expect("written");
    assert!(refused(&plan_, Shard::ALL).contains("line 2: "));
    let held = Results::open(&other_path, &other.header(Shard::ALL)).expect("free");
    assert!(
        run(&other, Shard::ALL, &other_path, 1).expect_err("in use").to_string().contains("another process")
    );
    drop(held);
}
