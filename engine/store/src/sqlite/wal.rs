//! The write-ahead log (WAL): the file that SQLite commits to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use hotswap_common::file;

use super::error::Error;

/// The size up to which the WAL is filled before the first commit, and at which it is
/// checkpointed into the database: 2,000 pages. SQLite then writes it from its start again,
/// so in the long run no commit makes the file longer. A commit that does costs about half
/// as much again, because the file system has to journal the new size. With a larger WAL a
/// start after a crash reads more; with a smaller one checkpoints are more frequent.
pub(super) const WAL_BYTES: u64 = 8 << 20;

/// Fills the WAL with zeros, after what it holds, up to [`WAL_BYTES`]. SQLite stops reading
/// the WAL at the first frame whose salt and checksum do not match, which zeros never do, and
/// overwrites what comes after it.
///
/// On a full disk the log stays short: it then grows as far as it can, and the engine must start,
/// so that deployments under way can be reverted.
pub(super) fn preallocate(database: &Path) -> Result<(), Error> {
    let path = wal_path(database);
    let filled =
        fill(&path).and_then(|()| file::sync_folder(database.parent().unwrap_or(Path::new("."))));
    match filled {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(path = %path.display(), "the disk is full: no room for the log");
            Ok(())
        }
        filled => filled.map_err(|source| Error::Folder { path, source }),
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    let mut length = file.metadata()?.len();
    while length < WAL_BYTES {
        let missing = usize::try_from(WAL_BYTES - length).unwrap_or(usize::MAX);
        let chunk = &zeros[..zeros.len().min(missing)];
        file.write_all_at(chunk, length)?;
        length += chunk.len() as u64;
    }
    file.sync_all()
}

fn wal_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}
