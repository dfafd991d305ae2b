//! Connections for queries.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::{Role, connect};
use super::error::Error;

/// A pool of read-only connections, each used by one blocking task at a time. They see what
/// is committed, and SQLite makes a commit visible only once it is on disk.
#[derive(Debug)]
pub(super) struct Readers {
    /// One permit for each connection.
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    count: u32,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        // Queries compute more than they wait for the disk. At least two, so that a long one
        // does not block all others; more than four cost memory and gain little.
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get());
        let count = processors.clamp(2, 4);
        let idle = (0..count)
            .map(|_| connect(path, Role::Read))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(count)),
            idle: Arc::new(Mutex::new(idle)),
            count: count as u32,
        })
    }

    /// Runs a query on a thread that may block. If the caller goes away, the query runs to
    /// its end and its result is dropped.
    pub(super) async fn read<T, Q>(&self, query: Q) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            // Declared before the connection, and so released after it is back in the pool.
            let _permit = permit;
            let mut pooled = PooledConnection::take(&idle).ok_or(Error::Closed)?;
            query(pooled.connection()?).map_err(Error::Read)
        });
        // Fails if the query panicked or the runtime is shutting down.
        task.await.map_err(|_| Error::Closed)?
    }

    /// Waits for running queries, then closes the connections.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.count).await;
        // Fails if they are closed already.
        if all.is_ok() {
            self.permits.close();
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }
}

/// A connection that returns to the pool when it is dropped, even if its query panics.
struct PooledConnection<'a> {
    connection: Option<Connection>,
    idle: &'a Mutex<Vec<Connection>>,
}

impl<'a> PooledConnection<'a> {
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

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}
