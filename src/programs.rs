//! The programs of this process that place experts (`exec:COMMAND`), and how long each may take.

use anyhow::anyhow;
use std::env;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use study::placing::Programs;

/// Seconds that a program may take, as a variable of the environment.
const LIMIT: &str = "RAILYARD_EXEC_LIMIT_S";
const DEFAULT_LIMIT_S: u64 = 60;

static PROGRAMS: LazyLock<Result<Arc<Programs>, String>> = LazyLock::new(|| {
    let limit = env::var(LIMIT).map_or(Some(DEFAULT_LIMIT_S), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=86_400).contains(limit));
    let limit = limit.ok_or_else(|| format!("{LIMIT}: give a whole number of seconds from 1 to 86400"))?;
    Ok(Arc::new(Programs::new(Duration::from_secs(limit))))
});

/// The programs, of which each demand is asked once.
pub(crate) fn programs() -> anyhow::Result<&'static Arc<Programs>> {
    PROGRAMS.as_ref().map_err(|problem| anyhow!(problem.clone()))
}
