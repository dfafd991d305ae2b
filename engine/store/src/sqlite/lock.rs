use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// The right to write a database, by a lock on the file `<database>.lock`. The system
/// lets go of it when the process ends, however that happens; the file stays, because
/// removing it would let two processes hold a lock each, on two files of one name.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing is not enough: a child that this process forks shares the open file until
    /// it becomes another program, and would hold the lock for as long.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Self, Error> {
        let path = lock_path(database);
        let failed = |source| Error::Folder {
            path: path.clone(),
            source,
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: database.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For the message of whoever finds it locked: no more depends on it.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self { file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(".lock");
    path.into()
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Somebody else writes this file: a number is believed, anything else is not shown.
    let pid = file
        .take(20)
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    match pid {
        Some(pid) if pid == std::process::id() => format!("this process ({pid})"),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_free_once_dropped_also_while_a_child_shares_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("engine.db");
        let lock = Lock::take(&database).unwrap();
        let child = lock.file.try_clone().unwrap();
        assert!(matches!(Lock::take(&database), Err(Error::Locked { .. })));
        drop(lock);
        Lock::take(&database).unwrap();
        drop(child);
    }
}
