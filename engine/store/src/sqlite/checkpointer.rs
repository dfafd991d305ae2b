//! When and how the write-ahead log is checkpointed into the database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::connection::{PAGE_BYTES, Role, connect};
use super::error::Error;
use super::wal::WAL_BYTES;

/// The pages of the WAL at which it is checkpointed.
const WAL_PAGES: u64 = WAL_BYTES / PAGE_BYTES;

/// How long the writer waits for readers so that the WAL can start again, where the WAL has its
/// usual size. The larger it has become, the longer: each page that a query reads is searched
/// for in the whole WAL.
const PATIENCE: Duration = Duration::from_millis(5);
const MAX_PATIENCE: Duration = Duration::from_millis(250);

/// Checkpoints the write-ahead log (WAL) into the database whenever it has grown to
/// [`WAL_BYTES`], so that SQLite writes it from its start again.
///
/// SQLite can restart the WAL only if all of it has been checkpointed, and no query reads from
/// it. Under load there is always more of it, and always a query. So a checkpoint has two steps.
/// First a thread of its own copies what is there while the writer goes on: this takes long and
/// blocks no one. Then the writer copies what was added in the meantime, which is little, and
/// waits for the queries that began before. Those that begin now need the database alone.
pub(super) struct Checkpointer {
    /// Starts a checkpoint. Dropped to end the thread.
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Set by the thread when its step is finished.
    finished: Arc<AtomicBool>,
    /// Pages in the WAL, after the last commit.
    wal_pages: Arc<AtomicU64>,
    /// The pages in the WAL at which the next checkpoint begins.
    next_at: u64,
    /// Whether the thread is checkpointing.
    running: bool,
}

impl Checkpointer {
    /// `writer` is the connection whose commits fill the WAL.
    pub(super) fn start(path: &Path, writer: &mut Connection) -> Result<Self, Error> {
        let connection = connect(path, Role::Checkpoint)?;
        let wal_pages = Arc::new(AtomicU64::new(0));
        let pages_after_commit = Arc::clone(&wal_pages);
        let record_commit = move |_: &mut Wal, pages: i32| {
            pages_after_commit.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
            Ok(())
        };
        writer
            .wal_hook(Some(record_commit))
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })?;
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
            wal_pages,
            next_at: WAL_PAGES,
            running: false,
        })
    }

    /// Takes the next step of a checkpoint, if one is due. Call it between transactions, with
    /// the writer's connection.
    pub(super) fn advance(&mut self, connection: &Connection) {
        let wal_pages = self.wal_pages.load(Ordering::Relaxed);
        if self.running {
            if self.finished.swap(false, Ordering::Acquire) {
                self.running = false;
                self.next_at = if restart(connection, wal_pages) {
                    self.wal_pages.store(0, Ordering::Relaxed);
                    WAL_PAGES
                } else {
                    // A long query needs it. Soon again, but not after each commit.
                    wal_pages + WAL_PAGES / 4
                };
            }
        } else if wal_pages >= self.next_at
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
    if let Err(error) = run(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
        warn(&error);
    }
}

/// Checkpoints the whole WAL, and waits a little for the queries that read from it. Returns
/// whether the next commit writes the WAL from its start.
fn restart(connection: &Connection, wal_pages: u64) -> bool {
    let times = u32::try_from(wal_pages / WAL_PAGES).unwrap_or(u32::MAX);
    let patience = PATIENCE.saturating_mul(times.max(1)).min(MAX_PATIENCE);
    let restarted = connection
        .busy_timeout(patience)
        .and_then(|()| run(connection, "PRAGMA wal_checkpoint(RESTART)"));
    restarted.unwrap_or_else(|error| {
        warn(&error);
        false
    })
}

/// Returns whether the checkpoint is complete: no query was in its way.
fn run(connection: &Connection, pragma: &str) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(pragma)?;
    let (blocked, wal_pages, checkpointed) = statement.query_row([], |row| {
        Ok((row.get::<_, bool>(0)?, row.get(1)?, row.get(2)?))
    })?;
    let (wal_pages, checkpointed): (i64, i64) = (wal_pages, checkpointed);
    tracing::trace!(
        blocked,
        wal_pages,
        checkpointed,
        "write-ahead log checkpointed"
    );
    Ok(!blocked)
}

/// Nothing is lost: the WAL grows on, and the next checkpoint retries.
fn warn(error: &rusqlite::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "could not checkpoint the write-ahead log"
    );
}
