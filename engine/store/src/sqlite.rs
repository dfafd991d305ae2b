//! The store of a single-process engine: one SQLite file, one writer ([`writer`]), a pool of
//! readers ([`readers`]).

mod catalogue;
mod checkpointer;
mod command;
mod connection;
mod deletion;
mod encoded_events;
mod environment_executor;
mod environment_journal;
mod environment_query;
mod error;
mod journal;
mod journal_executor;
mod lifecycle_memo;
mod lock;
mod past_decisions;
mod query;
mod readers;
mod reserve;
mod row;
mod schema;
mod snapshot;
mod stored_event;
mod success_query;
mod supersede;
#[cfg(test)]
mod tests;
mod transfer;
mod usage;
mod wal;
mod write_turn;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot, watch};

use self::command::{ClosureEdit, Command, ReplySender};
use self::connection::Role;
use self::readers::Readers;
use self::reserve::Reserve;
use self::write_turn::WriteTurn;
use self::writer::Writer;
use crate::unreadable_records::UnreadableRecords;
use crate::{Appended, EnvironmentAppended};

pub use error::Error;

/// Notifications that a slow subscriber may be behind before it loses the oldest: a third of
/// a second at full load. They take some 800 KB, whether they are used or not.
const NOTIFICATION_CAPACITY: usize = 8192;

/// The same for appends to the journals of environments, which are rare.
const ENVIRONMENT_NOTIFICATION_CAPACITY: usize = 1024;

/// Journals and catalogue in one SQLite file. A handle: clones share the store and are cheap.
///
/// There is one write transaction at a time. Commands that arrive meanwhile share the next one, and
/// so one write to disk. Queries run beside it and see only what is on disk.
///
/// While a store is open no other process can open its file, and neither can this process
/// except by cloning the handle. Beside the file there are `-wal`, `-shm`, `.lock` and maybe
/// `.reserve`. To copy
/// an open store, copy the file and then `-wal`, either from one snapshot of the disk or while
/// a read transaction is open: otherwise the store may restart `-wal` in between.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<SqliteInner>,
}

/// How a store uses its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes to keep in reserve. When the disk is full they are released, so that the
    /// deployments under way can still write, and new ones are refused. 0 for no reserve.
    pub reserve_bytes: u64,
}

struct SqliteInner {
    path: PathBuf,
    reserve: Arc<Reserve>,
    writer: WriteTurn,
    subscribers: broadcast::Sender<Appended>,
    environment_subscribers: broadcast::Sender<EnvironmentAppended>,
    readers: Readers,
    unreadable: UnreadableRecords,
    epoch: watch::Receiver<Arc<str>>,
    /// The writer drops the sender when it has closed.
    stopped: watch::Receiver<()>,
}

impl Sqlite {
    /// Opens the store in a file. Creates the file and its folder if they are missing,
    /// recovers what a crash left in the write-ahead log, and migrates the schema to the
    /// newest version.
    ///
    /// Cancel safe: a cancelled call closes what it has opened.
    ///
    /// # Errors
    /// - [`Error::Locked`] if the store is already open.
    /// - [`Error::Newer`] if a newer release has written it.
    /// - [`Error::Foreign`] if the file is not a store of this program.
    /// - [`Error::Migrate`] if the schema could not be migrated.
    /// - [`Error::Folder`], [`Error::Open`], [`Error::Read`] or [`Error::Thread`] if the disk,
    ///   its permissions or the system do not allow it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_with(path, Options::default()).await
    }

    /// As [`Self::open`], with options.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(path: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        let path = path.into();
        tokio::task::spawn_blocking(move || Self::open_blocking(&path, options))
            .await
            // Fails if the runtime is shutting down.
            .map_err(|_| Error::Closed)?
    }

    fn open_blocking(path: &Path, options: Options) -> Result<Self, Error> {
        let folder_error = |source| Error::Folder {
            path: path.to_owned(),
            source,
        };
        let path = &std::path::absolute(path).map_err(folder_error)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(folder_error)?;
        }
        let lock = lock::acquire(path)?;
        let mut connection = connection::connect(path, Role::Write)?;
        schema::migrate(&mut connection, path)?;
        let epoch = query::epoch(&connection).map_err(Error::Read)?;
        let (new_epochs, epoch) = watch::channel(Arc::from(epoch));
        // The log needs the room more than the reserve does.
        wal::preallocate(path)?;
        let reserve = Arc::new(Reserve::new(path, options.reserve_bytes));
        let readers = Readers::open(path)?;
        let (subscribers, _) = broadcast::channel(NOTIFICATION_CAPACITY);
        let (environment_subscribers, _) = broadcast::channel(ENVIRONMENT_NOTIFICATION_CAPACITY);
        let (stopping, stopped) = watch::channel(());
        let writer = Writer::new(
            path,
            connection,
            subscribers.clone(),
            environment_subscribers.clone(),
            new_epochs,
            Arc::clone(&reserve),
            lock,
            stopping,
        )?;
        let writer = WriteTurn::start(writer)?;
        tracing::debug!(path = %path.display(), "store opened");
        let inner = SqliteInner {
            unreadable: UnreadableRecords::default(),
            path: path.clone(),
            reserve,
            writer,
            subscribers,
            environment_subscribers,
            readers,
            epoch,
            stopped,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes the store: finishes the queued commands, closes the file and releases its lock.
    /// All handles are closed with it; their later calls fail.
    ///
    /// A cancelled call closes the store all the same, sooner or later. So does dropping the
    /// last handle, which waits for nothing.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        // Fails if it is closed already.
        let _ = self.inner.writer.execute(Command::Close).await;
        let mut stopped = self.inner.stopped.clone();
        while stopped.changed().await.is_ok() {}
    }

    /// Has a command executed and waits for its reply.
    async fn execute<T>(
        &self,
        command: impl FnOnce(ReplySender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, replied) = oneshot::channel();
        self.inner.writer.execute(command(reply)).await?;
        replied.await.map_err(|_| Error::Closed)
    }

    /// Runs a change outside the journals in the writer's next transaction. May run it more
    /// than once, see [`command::Edit`].
    async fn edit<T, F>(&self, edit: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.execute(|reply| Command::Edit(Box::new(ClosureEdit::new(edit, reply))))
            .await?
    }

    /// Runs a query on a read-only connection.
    async fn read<T, Q>(&self, query: Q) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.inner.readers.read(query).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}
