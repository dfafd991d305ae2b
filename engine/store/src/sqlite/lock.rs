//! The exclusive right to open a database: a lock on the file `<database>.lock`.

use std::path::{Path, PathBuf};

use hotswap_common::file::{Attempt, FileLock};

use super::error::Error;

/// Locks a database. Never waits.
pub(super) fn acquire(database: &Path) -> Result<FileLock, Error> {
    let path = lock_path(database);
    match FileLock::try_acquire(&path) {
        Ok(Attempt::Acquired(lock)) => Ok(lock),
        Ok(Attempt::Held(holder)) => Err(Error::Locked {
            path: database.to_owned(),
            holder,
        }),
        Err(source) => Err(Error::Folder { path, source }),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
