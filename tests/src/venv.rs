//! Where the Python environment of a list of requirements lies. `xtask`, which creates the
//! environments, compiles this file too.
//!
//! Each list has its own environment: two clients may pin conflicting versions.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A Python environment in the user's cache folder, so that all checkouts share it.
pub struct Venv(PathBuf);

impl Venv {
    /// The environment of a list of requirements. It may not exist yet.
    ///
    /// # Errors
    /// If the list cannot be read, or the user has no cache folder.
    pub fn for_requirements(requirements: &Path) -> io::Result<Self> {
        let text = fs::read(requirements)?;
        let name = format!("venv-{:016x}", fnv1a(&text));
        Ok(Self(cache_folder()?.join(name)))
    }

    /// The folder of the environment.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The Python interpreter of the environment.
    pub fn python(&self) -> PathBuf {
        self.0.join("bin/python")
    }

    /// A file that exists once all requirements are installed.
    pub fn completion_marker(&self) -> PathBuf {
        self.0.join("complete")
    }
}

/// This project's folder in the user's cache folder. It may not exist yet.
///
/// # Errors
/// If the user has no cache folder.
pub fn cache_folder() -> io::Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(cache.join("hotswap"))
}

/// A hash that is the same on every machine and with every compiler. Rust's own hashes are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
