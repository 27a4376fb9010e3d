//! The store, killed at any write: what is found is the state before or after the change under way, nothing lost, nothing twice.

use super::job::{Job, State, kept_request};
use super::protocol::{JobId, Reply, Request};
use super::store::{KEPT_MAX, Store};
use super::store_error::StoreError;
use crate::layer::testing::small_spec;
use crate::layer::{BackendKind, CompareSpec, Finished, FinishedRow, Wanted, compare};
use coordinator::SimRunner;
use coordinator::pace::{Figures, Host};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What was done to a file, in order.
#[derive(Clone, Debug)]
enum Done {
    Length(u64),
    Written(u64, Vec<u8>),
    Synced,
}

/// A file in memory that remembers what was done to it.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl Disk {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), done: Arc::default() }
    }

    fn num_done(&self) -> usize {
        self.done.lock().expect("alive").len()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().expect("alive").len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (bytes, offset) = (self.bytes.lock().expect("alive"), offset as usize);
        let there = bytes.get(offset..offset + out.len());
        out.copy_from_slice(there.ok_or_else(|| io::Error::other("past the end"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.done.lock().expect("alive").push(Done::Length(len));
        self.bytes.lock().expect("alive").resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.done.lock().expect("alive").push(Done::Synced);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.done.lock().expect("alive").push(Done::Written(offset, data.to_vec()));
        self.bytes.lock().expect("alive")[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// The next number of a linear congruential generator.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The file after the first `done`, of which those since the last sync may be missing or torn if `power_fails`.
fn after(done: &[Done], power_fails: Option<&mut u64>) -> Vec<u8> {
    let synced = done.iter().rposition(|done| matches!(done, Done::Synced)).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut chance = power_fails;
    for (at, done) in done.iter().enumerate() {
        match done {
            Done::Length(len) => bytes.resize(*len as usize, 0),
            Done::Synced => {}
            Done::Written(offset, data) => {
                let there = match &mut chance {
                    Some(state) if at > synced => match draw(state) % 3 {
                        0 => 0,
                        1 => data.len(),
                        // Sectors are written whole.
                        _ => draw(state) as usize % (data.len() / 512 + 1) * 512,
                    },
                    _ => data.len(),
                };
                bytes[*offset as usize..][..there].copy_from_slice(&data[..there]);
            }
        }
    }
    bytes
}

/// All that a store holds: every job with its rows, or its answer.
type Held = Vec<(u64, Job, BTreeMap<usize, FinishedRow>, Option<Reply>)>;

fn held(store: &Store) -> Held {
    let jobs = store.jobs().expect("jobs").into_iter();
    let held = jobs.map(|(number, job)| {
        assert_eq!(store.find(job.id).expect("found").map(|(number, _)| number), Some(number));
        let answered = matches!(job.state, State::Done | State::Failed);
        let answer = answered.then(|| store.answer(number).expect("an answer"));
        assert_eq!(store.request(number).is_ok(), !answered);
        (number, job, store.rows(number).expect("rows"), answer)
    });
    held.collect()
}

fn rows() -> (CompareSpec, Vec<FinishedRow>) {
    let spec = CompareSpec { backends: vec![BackendKind::Sim], payload: false, ..small_spec() };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let told = move |_, row: &FinishedRow| hears.lock().expect("alive").push(row.clone());
    let mut finished = Finished::new(BTreeMap::new(), told);
    let host = Host { cores: 2, one_process: false, pace: 1, figures: Figures::ASSUMED };
    let mut unheard = |_| {};
    let ran = compare(&spec, None::<&mut SimRunner>, host, &mut finished, &mut unheard);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(Box::pin(ran)).expect("a report");
    let rows = heard.lock().expect("alive").clone();
    (spec, rows)
}

fn submit(store: &Store, spec: &CompareSpec) -> u64 {
    let id = JobId::draw();
    let request =
        Request::Compare { job: id, spec: Box::new(spec.clone()), wanted: Wanted::All, detached: false };
    let (bytes, fingerprint) = kept_request(&request).expect("kept");
    let number = store.add(&Job::new(id, "cli", fingerprint, 4), &bytes).expect("room");
    assert_eq!(store.request(number).expect("a request"), request);
    number
}

#[test]
fn a_store_that_is_killed_at_any_write_is_as_before_or_as_after() {
    let (spec, rows) = rows();
    let disk = Disk::default();
    let store = Store::on(disk.clone()).expect("a store");
    // What the store holds, from so many operations of the file on.
    let mut states = vec![(disk.num_done(), held(&store))];
    let mut then = |change: &mut dyn FnMut()| {
        change();
        states.push((disk.num_done(), held(&store)));
    };
    let mut numbers = [0; 3];
    for number in &mut numbers {
        then(&mut || *number = submit(&store, &spec));
    }
    let [first, second, third] = numbers;
    then(&mut || store.set(first, State::UnderWay).expect("set"));
    for (at, row) in rows.iter().enumerate() {
        then(&mut || store.keep(first, at, row).expect("kept"));
    }
    then(&mut || store.finish(first, &Reply::Report("{}".to_owned()), Some(1)).expect("finished"));
    then(&mut || store.saved(first).expect("saved"));
    then(&mut || store.keep(second, 0, &rows[0]).expect("kept"));
    then(&mut || store.set(second, State::Left).expect("set"));
    then(&mut || store.finish(third, &Reply::refused(&"no", false), None).expect("finished"));
    then(&mut || store.remove(second).expect("removed"));

    let done = disk.done.lock().expect("alive").clone();
    let mut state = 20_261_129;
    let mut found_after = 0;
    for cut in states[0].0..=done.len() {
        let before = states.iter().rposition(|(at, _)| *at <= cut).expect("the first");
        let allowed = &states[before..=(before + 1).min(states.len() - 1)];
        for power_fails in [false, true, true] {
            let bytes = after(&done[..cut], power_fails.then_some(&mut state));
            let again = Store::on(Disk::of(bytes)).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            let found = held(&again);
            let at = allowed.iter().position(|(_, state)| *state == found);
            found_after += usize::from(at == Some(1));
            assert!(at.is_some(), "cut at {cut}, power fails: {power_fails}: {found:?}");
        }
    }
    assert!(done.len() > 100 && found_after > 0, "{} operations, {found_after} after", done.len());
}

#[test]
fn a_row_is_kept_once_and_never_with_other_numbers() {
    let (spec, rows) = rows();
    let store = Store::in_memory().expect("a store");
    let job = submit(&store, &spec);
    store.keep(job, 0, &rows[0]).expect("kept");
    store.keep(job, 0, &rows[0]).expect("the same once more");
    assert!(matches!(store.keep(job, 0, &rows[1]), Err(StoreError::Twice { row: 0, .. })));
    assert_eq!(store.rows(job).expect("rows"), BTreeMap::from([(0, rows[0].clone())]));
    assert!(matches!(store.keep(job + 1, 0, &rows[0]), Err(StoreError::NoJob(_))));
}

#[test]
fn the_oldest_finished_jobs_are_dropped_and_no_other() {
    let spec = small_spec();
    let store = Store::in_memory().expect("a store");
    let waits = submit(&store, &spec);
    for _ in 0..KEPT_MAX + 3 {
        let number = submit(&store, &spec);
        store.finish(number, &Reply::Report("{}".to_owned()), None).expect("finished");
    }
    let left: Vec<u64> = store.jobs().expect("jobs").into_iter().map(|(number, _)| number).collect();
    let kept = waits + 4..=waits + KEPT_MAX as u64 + 3;
    assert_eq!(left, std::iter::once(waits).chain(kept).collect::<Vec<_>>());
}

#[test]
fn another_coordinator_another_version_and_other_files_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = || Store::open(dir.path()).map(drop).expect_err("refused").to_string();
    let store = Store::open(dir.path()).expect("a store");
    assert!(refused().contains("another coordinator has"), "{}", refused());
    let path = store.path().to_owned();
    drop(store);
    let whole = std::fs::read(&path).expect("a file");
    let database = redb::Database::open(&path).expect("a database");
    let write = database.begin_write().expect("begun");
    let schema = redb::TableDefinition::<&str, u64>::new("schema");
    write.open_table(schema).expect("a table").insert("version", 9).expect("inserted");
    write.commit().expect("committed");
    drop(database);
    assert!(refused().contains("has version 9, this build has 1"), "{}", refused());
    std::fs::write(&path, b"no database at all, but some text").expect("written");
    assert!(refused().contains("is no store of jobs"), "{}", refused());
    // A bit that turns: refused, or of a page that nothing needs.
    let mut state = 7;
    for _ in 0..200 {
        let mut turned = whole.clone();
        let at = draw(&mut state) as usize % turned.len();
        turned[at] ^= 1 << (draw(&mut state) % 8);
        std::fs::write(&path, turned).expect("written");
        if let Ok(store) = Store::open(dir.path()) {
            assert_eq!(held(&store), Vec::new());
        }
    }
}
