//! Jobs of a coordinator on disk: each with its request, the rows that are finished, and its answer; every change is one transaction.
//!
//! A process that is killed at any write finds the state before or after that change. Every page has a checksum, and all are checked when
//! the file is opened.

use super::job::{Job, State, json};
use super::protocol::{JobId, Reply, Request};
use super::store_error::StoreError;
use crate::layer::FinishedRow;
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, Table,
    TableDefinition, TableHandle, WriteTransaction,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Finished jobs that are kept; the oldest are dropped first.
pub(super) const KEPT_MAX: usize = 64;
/// Bytes of requests, rows and answers that are kept.
const BYTES_MAX: u64 = 1 << 30;
/// Version of the tables below, raised when one changes.
const VERSION: u64 = 1;
/// Memory for pages that are read again.
const CACHE_BYTES: usize = 16 << 20;
const FILE: &str = "jobs.redb";

const SCHEMA: TableDefinition<'_, &str, u64> = TableDefinition::new("schema");
/// Number of a job by its id.
const IDS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("ids");
/// Everything below is JSON, which says itself what it is.
const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");
const REQUESTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("requests");
/// By job and place in the report.
const ROWS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("rows");
const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers");

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    path: PathBuf,
}

type Result<T, E = StoreError> = std::result::Result<T, E>;

impl Store {
    /// Opens or begins the store of a directory.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let told = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(told)?;
        let path = directory.join(FILE);
        let database = builder().create(&path);
        Self::begin(database, path)
    }

    /// A store that ends with the process.
    pub(super) fn in_memory() -> Result<Self> {
        Self::on(InMemoryBackend::new())
    }

    pub(super) fn on(backend: impl StorageBackend) -> Result<Self> {
        Self::begin(builder().create_with_backend(backend), PathBuf::from(FILE))
    }

    fn begin(database: Result<Database, DatabaseError>, path: PathBuf) -> Result<Self> {
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
            other => StoreError::Foreign { path: path.clone(), problem: other.to_string() },
        })?;
        let store = Self { database, path };
        let write = store.write()?;
        let tables: Vec<String> = write.list_tables()?.map(|table| table.name().to_owned()).collect();
        if tables.is_empty() {
            write.open_table(SCHEMA)?.insert("version", VERSION)?;
            write.open_table(IDS)?;
            for table in [JOBS, REQUESTS, ANSWERS] {
                write.open_table(table)?;
            }
            write.open_table(ROWS)?;
            write.commit()?;
            return Ok(store);
        }
        let foreign =
            |problem: &str| StoreError::Foreign { path: store.path.clone(), problem: problem.to_owned() };
        if !tables.iter().any(|name| name == SCHEMA.name()) {
            return Err(foreign("it has tables of something else"));
        }
        let found = write.open_table(SCHEMA)?.get("version")?.map(|version| version.value());
        match found {
            Some(VERSION) => {}
            Some(found) => {
                return Err(StoreError::Version { path: store.path.clone(), found, ours: VERSION });
            }
            None => return Err(foreign("it has no version")),
        }
        write.abort()?;
        Ok(store)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self) -> Result<WriteTransaction> {
        let mut write = self.database.begin_write()?;
        // What a client sends is kept: it shall not be able to make up a page that a torn commit is taken for.
        write.set_two_phase_commit(true);
        Ok(write)
    }

    /// All jobs in the order in which they came.
    pub(super) fn jobs(&self) -> Result<Vec<(u64, Job)>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(JOBS)?;
        all_jobs(&table)
    }

    /// The job of an id.
    pub(super) fn find(&self, id: JobId) -> Result<Option<(u64, Job)>> {
        let read = self.database.begin_read()?;
        let Some(number) = read.open_table(IDS)?.get(&id.0)?.map(|number| number.value()) else {
            return Ok(None);
        };
        Ok(Some((number, job_of(&read.open_table(JOBS)?, number)?)))
    }

    /// Adds a job with its request ([`kept_request`]) at the end; returns its number.
    pub(super) fn add(&self, job: &Job, request: &[u8]) -> Result<u64> {
        let write = self.write()?;
        make_room(&write, request.len() as u64, 0, None)?;
        let number = {
            let mut jobs = write.open_table(JOBS)?;
            let number = jobs.last()?.map_or(0, |(last, _)| last.value() + 1);
            let job = Job { bytes: request.len() as u64, ..job.clone() };
            jobs.insert(number, json(&job)?.as_slice())?;
            write.open_table(IDS)?.insert(&job.id.0, number)?;
            write.open_table(REQUESTS)?.insert(number, request)?;
            number
        };
        write.commit()?;
        Ok(number)
    }

    /// The request of a job that has no answer yet.
    pub(super) fn request(&self, number: u64) -> Result<Request> {
        let read = self.database.begin_read()?;
        let table = read.open_table(REQUESTS)?;
        let bytes = table.get(number)?.ok_or(StoreError::NoJob(number))?;
        parse(bytes.value(), "a request")
    }

    /// What is known of a job.
    pub(super) fn job(&self, number: u64) -> Result<Job> {
        job_of(&self.database.begin_read()?.open_table(JOBS)?, number)
    }

    /// Says how far a job is that has no answer.
    pub(super) fn set(&self, number: u64, state: State) -> Result<()> {
        self.change(number, |_, job| {
            job.state = state;
            Ok(())
        })
    }

    /// Keeps a finished row, once.
    pub(super) fn keep(&self, number: u64, at: usize, row: &FinishedRow) -> Result<()> {
        let (bytes, key) = (json(row)?, (number, at as u64));
        self.change(number, |write, job| {
            make_room(write, bytes.len() as u64, 0, None)?;
            let mut rows = write.open_table(ROWS)?;
            let known = rows.get(key)?.map(|known| known.value() == bytes);
            match known {
                Some(true) => return Ok(()),
                Some(false) => return Err(StoreError::Twice { job: number, row: key.1 }),
                None => {}
            }
            rows.insert(key, bytes.as_slice())?;
            job.bytes += bytes.len() as u64;
            Ok(())
        })
    }

    /// The finished rows of a job.
    pub(super) fn rows(&self, number: u64) -> Result<BTreeMap<usize, FinishedRow>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(ROWS)?;
        let mut rows = BTreeMap::new();
        for entry in table.range((number, 0)..=(number, u64::MAX))? {
            let (key, row) = entry?;
            let at = usize::try_from(key.value().1).unwrap_or(usize::MAX);
            rows.insert(at, parse(row.value(), "a finished row")?);
        }
        Ok(rows)
    }

    /// Gives a job its answer, which takes the place of its request and rows; results are to be saved under number `to_save`.
    pub(super) fn finish(&self, number: u64, answer: &Reply, to_save: Option<u32>) -> Result<()> {
        let bytes = json(answer)?;
        self.change(number, |write, job| {
            remove_parts(write, number)?;
            make_room(write, bytes.len() as u64, 1, Some(number))?;
            job.state = if matches!(answer, Reply::Report(_)) { State::Done } else { State::Failed };
            (job.to_save, job.bytes) = (to_save, bytes.len() as u64);
            write.open_table(ANSWERS)?.insert(number, bytes.as_slice())?;
            Ok(())
        })
    }

    /// The answer of a job that is finished.
    pub(super) fn answer(&self, number: u64) -> Result<Reply> {
        let read = self.database.begin_read()?;
        let table = read.open_table(ANSWERS)?;
        let bytes = table.get(number)?.ok_or(StoreError::NoJob(number))?;
        parse(bytes.value(), "an answer")
    }

    /// The results of a job are saved.
    pub(super) fn saved(&self, number: u64) -> Result<()> {
        self.change(number, |_, job| {
            job.to_save = None;
            Ok(())
        })
    }

    /// Forgets a job.
    pub(super) fn remove(&self, number: u64) -> Result<()> {
        let write = self.write()?;
        remove(&write, number)?;
        write.commit()?;
        Ok(())
    }

    /// One transaction about one job.
    fn change(
        &self,
        number: u64,
        change: impl FnOnce(&WriteTransaction, &mut Job) -> Result<()>,
    ) -> Result<()> {
        let write = self.write()?;
        let mut job = job_of(&write.open_table(JOBS)?, number)?;
        change(&write, &mut job)?;
        write.open_table(JOBS)?.insert(number, json(&job)?.as_slice())?;
        write.commit()?;
        Ok(())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn job_of(jobs: &impl ReadableTable<u64, &'static [u8]>, number: u64) -> Result<Job> {
    let bytes = jobs.get(number)?.ok_or(StoreError::NoJob(number))?;
    parse(bytes.value(), "a job")
}

fn all_jobs(jobs: &impl ReadableTable<u64, &'static [u8]>) -> Result<Vec<(u64, Job)>> {
    let entry =
        |entry: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), redb::StorageError>| {
            let (number, job) = entry?;
            Ok((number.value(), parse(job.value(), "a job")?))
        };
    jobs.iter()?.map(entry).collect()
}

/// Drops finished jobs, the oldest first, until `needed` bytes fit and there is room for `one_more` of them. The job `own` doesn't count.
fn make_room(write: &WriteTransaction, needed: u64, one_more: usize, own: Option<u64>) -> Result<()> {
    let mut jobs = all_jobs(&write.open_table(JOBS)?)?;
    jobs.retain(|(number, _)| Some(*number) != own);
    let mut bytes: u64 = jobs.iter().map(|(_, job)| job.bytes).sum();
    let ended: Vec<_> = jobs.into_iter().filter(|(_, job)| !job.state.is_to_run()).collect();
    let mut left = ended.len();
    for (number, job) in ended {
        if left + one_more <= KEPT_MAX && bytes.saturating_add(needed) <= BYTES_MAX {
            return Ok(());
        }
        remove(write, number)?;
        bytes -= job.bytes;
        left -= 1;
    }
    match bytes.saturating_add(needed) {
        all if all <= BYTES_MAX => Ok(()),
        _ => Err(StoreError::Full { needed, limit: BYTES_MAX }),
    }
}

fn remove(write: &WriteTransaction, number: u64) -> Result<()> {
    let mut jobs: Table<'_, u64, &[u8]> = write.open_table(JOBS)?;
    let id = job_of(&jobs, number)?.id;
    jobs.remove(number)?;
    write.open_table(IDS)?.remove(&id.0)?;
    write.open_table(ANSWERS)?.remove(number)?;
    remove_parts(write, number)
}

/// Request and rows.
fn remove_parts(write: &WriteTransaction, number: u64) -> Result<()> {
    write.open_table(REQUESTS)?.remove(number)?;
    write.open_table(ROWS)?.retain_in((number, 0)..=(number, u64::MAX), |_, _| false)?;
    Ok(())
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Unreadable { what, problem: error.to_string() })
}
