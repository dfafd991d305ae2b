use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// An exclusive lock on a file, held until this is dropped.
///
/// The operating system releases the lock when the process ends, even after a crash. The file
/// stays: if it were removed, two processes could each lock a file of this name.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// The result of [`FileLock::try_acquire`].
#[derive(Debug)]
pub enum Attempt {
    /// The caller now holds the lock.
    Acquired(FileLock),
    /// This process or another one holds the lock already.
    Held(Holder),
}

/// The process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if it has written one to the file.
    pub pid: Option<u32>,
}

impl FileLock {
    /// Locks the file `path`, and writes the id of this process into it. Creates the file if it
    /// is missing. Never waits.
    ///
    /// # Errors
    /// If the file cannot be opened, locked or written.
    pub fn try_acquire(path: &Path) -> io::Result<Attempt> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Ok(Attempt::Held(Holder {
                    pid: read_pid(&mut file),
                }));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Only for error messages of other processes.
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Attempt::Acquired(Self { file }))
    }
}

impl Drop for FileLock {
    /// Closing the file is not enough: a child process shares the open file from its fork until
    /// it runs its own program, and would hold the lock until then.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) if pid == std::process::id() => write!(f, "this process ({pid})"),
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// The process id in a lock file; `None` if the file holds anything else, which another program
/// may have written.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(path: &Path) -> FileLock {
        match FileLock::try_acquire(path).unwrap() {
            Attempt::Acquired(lock) => lock,
            Attempt::Held(holder) => panic!("held by {holder}"),
        }
    }

    #[test]
    fn dropping_releases_the_lock_even_while_a_child_shares_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = acquire(&path);
        let child = lock.file.try_clone().unwrap();
        let Attempt::Held(holder) = FileLock::try_acquire(&path).unwrap() else {
            panic!("acquired twice");
        };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.to_string().starts_with("this process"));
        drop(lock);
        acquire(&path);
        drop(child);
    }

    #[test]
    fn a_holder_without_a_process_id_is_shown_as_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let other = File::create(&path).unwrap();
        other.try_lock().unwrap();
        let Attempt::Held(holder) = FileLock::try_acquire(&path).unwrap() else {
            panic!("acquired twice");
        };
        assert_eq!(holder.to_string(), "another process");
    }
}
