//! Errors of the SQLite store.

use std::io;
use std::path::PathBuf;

use hotswap_common::file::Holder;

use crate::{
    AppendError, AppendToEnvironmentError, CreateError, DeleteError, LeaseError, ReadError,
};

/// Why an operation on a [`crate::Sqlite`] store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder of the database, or a file beside the database, could not be written.
    #[error("could not prepare {}; check that this user may write there and that the disk has room", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another engine has opened the database.
    #[error("{} is in use by {holder}; stop it, or give this engine a data folder of its own", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// The process that holds the lock.
        holder: Holder,
    },
    /// The database could not be opened.
    #[error("could not open {}; check that it is not corrupt and that this user may write it", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The file belongs to another program.
    #[error("{} is the database of another program; give another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer release has written the database.
    #[error(
        "{} has schema {found}, and this release knows schemas up to {known}; \
         start the newer release that wrote it", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this release knows.
        known: i64,
    },
    /// The database's schema could not be migrated. The database is unchanged.
    #[error("could not migrate {} from schema {from} to schema {to}; it is unchanged", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// The version that it has.
        from: i64,
        /// The version that this release needs.
        to: i64,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// A thread of the store could not be started.
    #[error("could not start a thread of the store")]
    Thread(#[source] io::Error),
    /// A command was not carried out.
    #[error(
        "could not write the database; check that the disk has room and is healthy, then retry"
    )]
    Write(#[source] rusqlite::Error),
    /// The rest of the disk is reserved for the deployments that are under way.
    #[error("the disk is full")]
    Full,
    /// A query failed.
    #[error("could not read the database")]
    Read(#[source] rusqlite::Error),
    /// An event or a record could not be encoded as JSON.
    #[error("could not encode {what} as JSON")]
    Encode {
        /// What should have been encoded.
        what: &'static str,
        /// The encoder's error.
        #[source]
        source: serde_json::Error,
    },
    /// The store has been closed, or its thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl From<Error> for CreateError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for LeaseError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for DeleteError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for AppendToEnvironmentError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}
