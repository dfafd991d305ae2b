use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// `HotS`: tells our file from another program's.
const APPLICATION: i64 = 0x486f_7453;

/// Each brings a database of the version that is its index to the next one. What has been
/// released is never changed: add another.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// The size up to which the write-ahead log is written before the first commit, and at
/// which it is copied into the database: 2,000 pages. It is then written from its start
/// again, so that in the long run no commit makes the file longer. A commit that does
/// costs about half as much again, because the file system has to journal the new size.
/// Larger, and a start after a crash reads more; smaller, and copying is more frequent.
pub(super) const LOG_BYTES: u64 = 8 << 20;

/// The file system's block and SQLite's default. A batch of appends to many journals
/// writes one page of the index for each, so a larger page would only write more.
pub(super) const PAGE_BYTES: u64 = 4096;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Write,
    Copy,
    Read,
}

/// Opens a connection for one thread.
pub(super) fn connect(path: &Path, role: Role) -> Result<Connection, Error> {
    let open = || -> rusqlite::Result<Connection> {
        // Each connection stays with one thread at a time: SQLite need not lock. A file
        // name is a file name, even where it looks like a URI.
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
        // The writer decides when the log is copied: see `Copier`.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // Through a mapping an I/O error would be a signal that ends the process.
        connection.pragma_update(None, "mmap_size", 0)?;
        // In KiB, and upper bounds. The writer comes back to the end of the index of each
        // open journal: 8 MiB hold those of 2,000, and a whole batch. What more there is
        // comes from the system's cache, in some microseconds a page.
        let cache = if role == Role::Write { 8_192 } else { 2_048 };
        connection.pragma_update(None, "cache_size", -cache)?;
        if role == Role::Read {
            connection.pragma_update(None, "query_only", true)?;
        }
        connection.set_prepared_statement_cache_capacity(48);
        Ok(connection)
    };
    open().map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

/// Brings the database to the newest schema, or says why not.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let pragma = |connection: &Connection, name: &str| -> Result<i64, Error> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })
    };
    let application = pragma(connection, "application_id")?;
    if application != 0 && application != APPLICATION {
        let path = path.to_owned();
        return Err(Error::Foreign { path });
    }
    let known = MIGRATIONS.len() as i64;
    let found = pragma(connection, "user_version")?;
    let Ok(done) = usize::try_from(found) else {
        let path = path.to_owned();
        return Err(Error::Foreign { path });
    };
    let Some(missing) = MIGRATIONS.get(done..) else {
        let path = path.to_owned();
        return Err(Error::Newer { path, found, known });
    };
    if missing.is_empty() {
        return Ok(());
    }
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for migration in missing {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    run(connection).map_err(|source| Error::Migrate {
        path: path.to_owned(),
        from: found,
        to: known,
        source,
    })
}

/// Makes the write-ahead log as long as it will get in ordinary use, by zeros after what
/// it holds. SQLite ends its reading of the log at the first frame whose salt and checksum
/// do not fit, as zeros never do, and overwrites what comes after it.
pub(super) fn lengthen_log(database: &Path) -> Result<(), Error> {
    let path = log_path(database);
    let lengthen = || -> io::Result<()> {
        let file = File::options().write(true).open(&path)?;
        let zeros = vec![0; 1 << 20];
        let mut length = file.metadata()?.len();
        while length < LOG_BYTES {
            let missing = usize::try_from(LOG_BYTES - length).unwrap_or(usize::MAX);
            let piece = &zeros[..zeros.len().min(missing)];
            file.write_all_at(piece, length)?;
            length += piece.len() as u64;
        }
        file.sync_all()?;
        let folder = database.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    lengthen().map_err(|source| Error::Folder { path, source })
}

fn log_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}
