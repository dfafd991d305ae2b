//! When and how the write-ahead log is checkpointed into the database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connection::{PAGE_BYTES, Role, connect};
use super::error::Error;
use super::wal::WAL_BYTES;

/// Checkpoints the write-ahead log (WAL) into the database whenever it has grown to
/// [`WAL_BYTES`], so that SQLite writes it from its start again.
///
/// SQLite can restart the WAL only if all of it has been checkpointed, and under load there
/// is always more of it. So a checkpoint has two steps. First a thread of its own copies what
/// is there while the writer goes on: this takes long and blocks no one. Then the writer
/// copies what was added in the meantime, which is little.
pub(super) struct Checkpointer {
    /// Starts a checkpoint. Dropped to end the thread.
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Set by the thread when its step is finished.
    finished: Arc<AtomicBool>,
    /// Estimate of the pages in the WAL since it was last restarted.
    wal_pages: u64,
    /// Whether the thread is checkpointing.
    running: bool,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Self, Error> {
        let connection = connect(path, Role::Checkpoint)?;
        let (requests, received) = sync_channel(1);
        let finished = Arc::new(AtomicBool::new(false));
        let set_finished = Arc::clone(&finished);
        let thread = std::thread::Builder::new()
            .name("wal-checkpoint".to_owned())
            .spawn(move || serve(&connection, &received, &set_finished))
            .map_err(Error::Thread)?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
            finished,
            wal_pages: 0,
            running: false,
        })
    }

    /// Records a commit of `commands` commands with `bytes` bytes of events. A commit writes a
    /// page of the table and one index page for each journal it appends to, and a few more
    /// when those are full.
    pub(super) fn record_commit(&mut self, commands: usize, bytes: usize) {
        self.wal_pages += 2 + commands as u64 + bytes as u64 / PAGE_BYTES;
    }

    /// Takes the next step of a checkpoint, if one is due. Call it between transactions, with
    /// the writer's connection.
    pub(super) fn advance(&mut self, connection: &Connection) {
        if self.running {
            if self.finished.swap(false, Ordering::Acquire) {
                self.running = false;
                // If a query blocks it, the WAL grows on, and the next checkpoint retries.
                checkpoint(connection);
                self.wal_pages = 0;
            }
        } else if self.wal_pages * PAGE_BYTES >= WAL_BYTES
            && let Some(requests) = &self.requests
        {
            // Fails only if the thread has ended, and then the next request fails as well.
            self.running = requests.try_send(()).is_ok();
        }
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn serve(connection: &Connection, requests: &Receiver<()>, finished: &AtomicBool) {
    while requests.recv().is_ok() {
        checkpoint(connection);
        finished.store(true, Ordering::Release);
    }
}

/// Checkpoints every page that no query still needs, without waiting for any query.
fn checkpoint(connection: &Connection) {
    let result = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        });
    match result {
        Ok((wal_pages, checkpointed)) => {
            tracing::trace!(wal_pages, checkpointed, "write-ahead log checkpointed");
        }
        // Nothing is lost: the WAL grows on, and the next checkpoint retries.
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not checkpoint the write-ahead log"
        ),
    }
}
