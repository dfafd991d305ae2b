//! Connections for queries.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

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

    /// Runs a query on a thread that may block. If the caller goes away, a query that has begun still
    /// runs to its end, and its result is dropped; one that has not begun is dropped.
    ///
    /// A caller that waits for something else meanwhile, and so does not poll this, keeps no
    /// connection from others.
    pub(super) async fn read<T, Q>(&self, query: Q) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let idle = Arc::clone(&self.idle);
        let run = move |permit: OwnedSemaphorePermit| {
            spawn_blocking(move || {
                // Declared before the connection, and so released after it is back in the pool.
                let _permit = permit;
                let mut pooled = PooledConnection::take(&idle).ok_or(Error::Closed)?;
                query(pooled.connection()?).map_err(Error::Read)
            })
        };
        let permits = Arc::clone(&self.permits);
        let result = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => run(permit).await,
            Err(TryAcquireError::Closed) => return Err(Error::Closed),
            // Who waits in the queue is given its permit at any time, and has to take it then. Only
            // a task of its own is certain to be polled.
            Err(TryAcquireError::NoPermits) => {
                let waiting = tokio::spawn(async move {
                    let permit = permits.acquire_owned().await;
                    run(permit.map_err(|_| Error::Closed)?)
                        .await
                        .map_err(|_| Error::Closed)?
                });
                AbortOnDropHandle::new(waiting).await
            }
        };
        // Fails if the query panicked or the runtime is shutting down.
        result.map_err(|_| Error::Closed)?
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::future::poll_immediate;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    /// A driver reads its journal while its strategy waits for a query, and a stream of events waits
    /// for one while its client is slow to read.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn queries_that_nobody_polls_hold_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE module (name TEXT)")
            .unwrap();
        let readers = Arc::new(Readers::open(&path).unwrap());
        let (mut running, mut releases) = (JoinSet::new(), Vec::new());
        for _ in 0..readers.count {
            let (release, released) = mpsc::channel::<()>();
            let readers = Arc::clone(&readers);
            running.spawn(async move {
                let wait = move |_: &Connection| {
                    let _ = released.recv();
                    Ok(())
                };
                readers.read(wait).await.unwrap();
            });
            releases.push(release);
        }
        while readers.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut left: Vec<_> = (0..16)
            .map(|_| Box::pin(readers.read(|_| Ok(()))))
            .collect();
        for query in &mut left {
            assert!(poll_immediate(query).await.is_none());
        }
        drop(releases);
        running.join_all().await;
        let other = timeout(Duration::from_secs(30), readers.read(|_| Ok(())));
        let other = other
            .await
            .expect("a query that is not polled must not hold a connection");
        other.unwrap();
        for query in left {
            query.await.unwrap();
        }
        readers.close().await;
        assert!(matches!(readers.read(|_| Ok(())).await, Err(Error::Closed)));
    }
}
