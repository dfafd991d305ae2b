//! SQLite connections and their settings.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::Error;

/// The file system's block size and SQLite's default. A batch of appends to many journals
/// writes one index page for each, so a larger page would only write more.
pub(super) const PAGE_BYTES: u64 = 4096;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Write,
    Checkpoint,
    Read,
}

/// Opens a connection, to be used by one thread at a time.
pub(super) fn connect(path: &Path, role: Role) -> Result<Connection, Error> {
    try_connect(path, role).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

fn try_connect(path: &Path, role: Role) -> rusqlite::Result<Connection> {
    // No mutex: one thread uses a connection at a time. And no URI flag: a file name is a
    // file name, even if it looks like a URI.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if role == Role::Write {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    if role == Role::Write {
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The `Checkpointer` decides when to checkpoint.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // With a memory map, an I/O error would be a signal that ends the process.
    connection.pragma_update(None, "mmap_size", 0)?;
    // In KiB, and upper bounds. The writer returns to the end of the index of each open
    // journal: 8 MiB hold the ends of 2,000 journals, and a whole batch. Other pages come
    // from the system's cache, within microseconds each.
    let cache = if role == Role::Write { 8_192 } else { 2_048 };
    connection.pragma_update(None, "cache_size", -cache)?;
    if role == Role::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    connection.set_prepared_statement_cache_capacity(48);
    Ok(connection)
}
