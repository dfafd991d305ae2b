//! Where the Consul lies that the tests start. `xtask`, which builds it, compiles this file too.

use std::io;
use std::path::PathBuf;

use crate::venv::cache_folder;

/// The version that `tests/servers/consul/go.mod` names.
const VERSION: &str = "1.20.1";

/// Consul in the user's cache folder, so that all checkouts share it. It may not exist yet.
///
/// # Errors
/// If the user has no cache folder.
pub fn cached_consul() -> io::Result<PathBuf> {
    let folder = cache_folder()?.join(format!("consul-{VERSION}"));
    Ok(folder.join("consul"))
}
