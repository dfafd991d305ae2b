//! The store of an engine that is one process.

mod bodies;
mod catalogue;
mod command;
mod copier;
mod ledger;
mod lock;
mod query;
mod readers;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, EventBody, Header, ModuleName, Timestamp,
};
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::bodies::Bodies;
use self::command::{Answer, Change, Command};
use self::lock::Lock;
use self::readers::Readers;
use self::writer::{BATCH, Writer};
use crate::Error;
use crate::journal::{
    AppendError, Appended, CreateError, Entry, Head, Journal, Lease, Page, Query, ReadError,
};

/// News that wait for a receiver that is slow. A third of a second at full load; some
/// 800 KB, whether they are used or not.
const NEWS: usize = 8192;

/// Journals and catalogue in one SQLite file. A handle: cheap to clone, the same store.
///
/// One thread writes. Commands that arrive while it writes share its next transaction,
/// and so one write to disk. Queries run beside it and see only what is on disk.
///
/// While a store is open no other process, and no other handle that was not cloned from
/// this one, can open its file. Beside the file there are `-wal`, `-shm` and `.lock`; to
/// copy a store that is open, copy the file and then `-wal` together with it.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    appended: broadcast::Sender<Appended>,
    readers: Readers,
    epoch: String,
    /// Its other end is dropped when the thread that writes is done.
    ended: watch::Receiver<()>,
}

impl Sqlite {
    /// Opens the store in a file, which is made where there is none, with its folder.
    /// What a crash left in the log is taken in, and the schema is brought up to date.
    /// Where it is cancelled, what it opened is closed again.
    ///
    /// # Errors
    /// [`Error::Locked`] where the store is open already, [`Error::Newer`] where a newer
    /// release has written it, [`Error::Foreign`] where the file is no store of ours, and
    /// others where the disk or its rights are in the way.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        tokio::task::spawn_blocking(move || Self::open_blocking(&path))
            .await
            // Fails where the runtime is being shut down.
            .map_err(|_| Error::Closed)?
    }

    fn open_blocking(path: &Path) -> Result<Self, Error> {
        let folder = |source| Error::Folder {
            path: path.to_owned(),
            source,
        };
        let path = &std::path::absolute(path).map_err(folder)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(folder)?;
        }
        let lock = Lock::take(path)?;
        let mut connection = schema::connect(path, schema::Role::Write)?;
        schema::migrate(&mut connection, path)?;
        let epoch = query::epoch(&connection).map_err(Error::Read)?;
        schema::lengthen_log(path)?;
        let readers = Readers::open(path)?;
        let (commands, received) = mpsc::channel(BATCH);
        let (appended, _) = broadcast::channel(NEWS);
        let (ending, ended) = watch::channel(());
        let writer = Writer::new(path, connection, received, appended.clone(), lock, ending)?;
        std::thread::Builder::new()
            .name("store-write".to_owned())
            .spawn(move || writer.run())
            .map_err(Error::Thread)?;
        tracing::debug!(path = %path.display(), "store opened");
        let shared = Shared {
            commands,
            appended,
            readers,
            epoch,
            ended,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Carries out what was asked before, closes the file and lets go of its lock. All
    /// handles are closed with it: what is asked of them afterwards fails. Where it is
    /// cancelled the store closes all the same, sooner or later. The same happens, without
    /// anybody to wait for it, when the last handle is dropped.
    pub async fn close(&self) {
        self.shared.readers.close().await;
        // Fails where the thread has ended already.
        let _ = self.shared.commands.send(Command::Close).await;
        let mut ended = self.shared.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let sent = self.shared.commands.send(command(answer)).await;
        sent.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)
    }

    async fn edit<T, F>(&self, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(|answer| Command::Edit(Box::new(Change::new(change, answer))))
            .await?
    }

    async fn read<T, Q>(&self, query: Q) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.shared.readers.read(query).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for Sqlite {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        let requested = [EventBody::Requested(Box::new(header))];
        let bodies = Bodies::of(&requested)?;
        let [EventBody::Requested(header)] = requested else {
            return Err(Error::Closed.into());
        };
        self.ask(|answer| Command::Create {
            header,
            at,
            bodies,
            answer,
        })
        .await?
    }

    async fn lease(&self, deployment: DeploymentId) -> Result<Lease, ReadError> {
        self.ask(|answer| Command::Lease { deployment, answer })
            .await?
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        let bodies = Bodies::of(&append.bodies)?;
        self.ask(|answer| Command::Append {
            append,
            bodies,
            answer,
        })
        .await?
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        self.read(move |connection| query::events(connection, deployment, from, limit))
            .await?
            .ok_or(ReadError::Unknown(deployment))
    }

    async fn since(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let entries = self.read(move |connection| query::since(connection, position, limit));
        Ok(entries.await?)
    }

    async fn position(&self) -> Result<u64, ReadError> {
        Ok(self.read(query::position).await?)
    }

    fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        self.read(move |connection| row::known(connection, deployment))
            .await?
            .map(|known| known.head)
            .ok_or(ReadError::Unknown(deployment))
    }

    async fn open(&self) -> Result<Vec<DeploymentId>, ReadError> {
        Ok(self.read(query::open).await?)
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        let asked = query.clone();
        let page = self
            .read(move |connection| query::list(connection, &asked))
            .await?;
        page.map_err(ReadError::Unknown)
    }

    async fn succeeded(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let (module, environment) = (module.clone(), environment.clone());
        let found =
            self.read(move |connection| query::succeeded(connection, &module, &environment, limit));
        Ok(found.await?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.shared.appended.subscribe()
    }
}
