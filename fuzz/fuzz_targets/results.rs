//! Files of results as `railyard report` reads them: two shards, divided by a byte that is in no text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use study::experiment::{collect, csv, summarise, table};

/// Files of this process, in memory where there is such a directory.
static FILES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() { memory } else { std::env::temp_dir() };
    [0, 1].map(|file| dir.join(format!("railyard-fuzz-{}-{file}.jsonl", std::process::id())))
});

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |&byte| byte == 0xFF);
    let mut from = Vec::new();
    for (file, part) in FILES.iter().zip(&mut parts) {
        std::fs::write(file, part).expect("a file");
        from.push(file.clone());
    }
    let found = collect(&from);
    for file in FILES.iter() {
        let _ = std::fs::remove_file(file);
    }
    let Ok(found) = found else { return };
    for merged in &found.experiments {
        let rows = summarise(merged);
        let _ = table(merged, &rows, railyard_fuzz::subjects()[0], Some(80));
        let _ = csv(merged);
    }
});
