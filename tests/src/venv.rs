//! Where the Python environment of a list of requirements lies. One file for whoever makes
//! it and whoever uses it: `xtask` compiles it too.
//!
//! An environment for each list: what one client pins need not please the other.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A Python environment in the user's cache folder, so that it outlives a checkout.
pub struct Venv(PathBuf);

impl Venv {
    /// That of a list of requirements. It need not be there.
    ///
    /// # Errors
    /// Where the list cannot be read, or the user has no folder.
    pub fn of(requirements: &Path) -> io::Result<Self> {
        let text = fs::read(requirements)?;
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(env::home_dir()?.join(".cache")))
            .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?;
        let name = format!("venv-{:016x}", fnv1a(&text));
        Ok(Self(cache.join("hotswap").join(name)))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Its Python.
    pub fn python(&self) -> PathBuf {
        self.0.join("bin/python")
    }

    /// A file that is written once all requirements are installed.
    pub fn mark(&self) -> PathBuf {
        self.0.join("complete")
    }
}

/// The same on every machine and with every compiler, which Rust's own hashes are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
