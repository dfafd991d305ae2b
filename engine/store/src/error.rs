use std::io;
use std::path::PathBuf;

/// What went wrong with a [`crate::Sqlite`] store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder of the database could not be made or written.
    #[error("could not prepare {}: see that this user may write there and the disk has room", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another engine has the database.
    #[error("{} is in use by {holder}: end that, or give this engine a data folder of its own", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who holds it, as well as can be told.
        holder: String,
    },
    /// The database could not be opened.
    #[error("could not open {}: see that it is whole and that this user may write it", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file belongs to another program.
    #[error("{} is the database of another program: give another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database was written by a newer release.
    #[error(
        "{} has schema {found} and this release knows schema {known} at most: \
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
    /// The database's schema could not be brought up to date; it is as it was.
    #[error("could not bring {} from schema {from} to schema {to}", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// The version it has.
        from: i64,
        /// The version it should have got.
        to: i64,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A thread of the store could not be started.
    #[error("could not start a thread for the store")]
    Thread(#[source] io::Error),
    /// A command was not carried out.
    #[error(
        "could not write the database: see that its disk has room and is sound, then try again"
    )]
    Write(#[source] rusqlite::Error),
    /// A query was not answered.
    #[error("could not read the database")]
    Read(#[source] rusqlite::Error),
    /// An event or a record could not be put into JSON.
    #[error("could not write {what} as JSON")]
    Encode {
        /// What it was.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The store has been closed, or its thread is gone.
    #[error("the store is closed")]
    Closed,
}
