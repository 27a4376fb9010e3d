//! Where what this machine has found out is kept from run to run.

use std::env;
use std::path::PathBuf;

/// The folder, as a variable of the environment; empty for none.
const FOLDER: &str = "RAILYARD_CACHE";

/// The folder that the user names, else `railyard` among the user's caches; `None` where there is none.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = |name| env::var_os(name).map(PathBuf::from);
    let of_user = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let folder = named(FOLDER).or_else(|| Some(of_user()?.join("railyard")))?;
    std::path::absolute(folder).ok()
}
