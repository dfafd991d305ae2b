use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// An exclusive lock on a file, held until it is dropped.
///
/// The system releases it when the process ends, however it ends. The file stays: if it
/// were removed, two processes could each hold a lock on a file of this name.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// What came of trying to lock a file.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Acquired(FileLock),
    /// Somebody holds it: this process, another process with its id where known, or an
    /// unknown one.
    Held(Holder),
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The holder's process id, where it wrote one.
    pub pid: Option<u32>,
}

impl FileLock {
    /// Locks `path`, which is created where it is missing, and writes this process's id
    /// into it. Never waits.
    ///
    /// # Errors
    /// Where the file cannot be opened, locked or written.
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
        // Only for the error message of whoever finds it locked.
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Attempt::Acquired(Self { file }))
    }
}

impl Drop for FileLock {
    /// Closing the file is not enough: a child that this process is just starting shares
    /// the open file until it runs its own program, and would hold the lock that long.
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

/// The process id in a lock file. Another program may have written the file: anything but a
/// number is ignored.
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
    fn is_held_by_one_and_free_once_dropped_even_while_a_child_shares_the_file() {
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
    fn a_holder_that_wrote_no_id_is_another_process() {
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
