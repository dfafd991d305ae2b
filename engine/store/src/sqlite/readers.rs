use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema::{self, Role};
use crate::Error;

/// Connections that only read, each used by one blocking task at a time. They see what is
/// committed, and SQLite shows that only once it is on disk.
#[derive(Debug)]
pub(super) struct Readers {
    /// As many permits as connections.
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    count: u32,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        // Queries compute more than they wait for the disk; two, so that a long one does
        // not hold up all others; more than four cost memory and little else.
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get());
        let count = processors.clamp(2, 4);
        let idle = (0..count)
            .map(|_| schema::connect(path, Role::Read))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(count)),
            idle: Arc::new(Mutex::new(idle)),
            count: count as u32,
        })
    }

    /// Runs a query on a thread that may block. Where the caller goes away, the query
    /// comes to its end and nobody hears of it.
    pub(super) async fn read<T, Q>(&self, query: Q) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            // Held to the end, by a closure that gives the connection back first.
            let _permit = permit;
            let mut lease = Leased::take(&idle).ok_or(Error::Closed)?;
            query(lease.connection()?).map_err(Error::Read)
        });
        // Fails where the query panicked, or the runtime is being shut down.
        task.await.map_err(|_| Error::Closed)?
    }

    /// Waits for the queries that run, and closes the connections.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.count).await;
        // An error means that they have been closed already.
        if all.is_ok() {
            self.permits.close();
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }
}

/// A connection that goes back to the others, even where its query panics.
struct Leased<'a> {
    connection: Option<Connection>,
    idle: &'a Mutex<Vec<Connection>>,
}

impl<'a> Leased<'a> {
    fn take(idle: &'a Mutex<Vec<Connection>>) -> Option<Self> {
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        connection.map(|connection| Self {
            connection: Some(connection),
            idle,
        })
    }

    fn connection(&mut self) -> Result<&Connection, Error> {
        self.connection.as_ref().ok_or(Error::Closed)
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}
