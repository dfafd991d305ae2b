use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::schema::{self, LOG_BYTES, PAGE_BYTES, Role};
use crate::Error;

/// Has the write-ahead log copied into the database whenever it has grown to
/// [`LOG_BYTES`], so that it is written from its start again.
///
/// A log can only be begun again when all of it has been copied, and under load there is
/// always more of it. So it goes in two steps: a thread copies what there is while the
/// writer goes on, which takes long and holds nobody up; then the writer copies what came
/// in the meantime, which is little.
pub(super) struct Copier {
    start: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    copied: Arc<AtomicBool>,
    /// In the log since it was last begun, by estimate.
    pages: u64,
    copying: bool,
}

impl Copier {
    pub(super) fn start(path: &Path) -> Result<Self, Error> {
        let connection = schema::connect(path, Role::Copy)?;
        let (start, started) = sync_channel(1);
        let copied = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&copied);
        let thread = std::thread::Builder::new()
            .name("store-copy".to_owned())
            .spawn(move || serve(&connection, &started, &done))
            .map_err(Error::Thread)?;
        Ok(Self {
            start: Some(start),
            thread: Some(thread),
            copied,
            pages: 0,
            copying: false,
        })
    }

    /// Says that a transaction was committed. A commit writes a page of the table and one
    /// of the index for each journal it appends to, and a little more where those are full.
    pub(super) fn wrote(&mut self, commands: usize, bytes: usize) {
        self.pages += 2 + commands as u64 + bytes as u64 / PAGE_BYTES;
    }

    /// Does what is to be done between two transactions.
    pub(super) fn tend(&mut self, connection: &Connection) {
        if self.copying {
            if self.copied.swap(false, Ordering::Acquire) {
                self.copying = false;
                // Where a query was in the way, the log goes on, and there is another try.
                copy(connection);
                self.pages = 0;
            }
        } else if self.pages * PAGE_BYTES >= LOG_BYTES
            && let Some(start) = &self.start
        {
            // Fails where the thread is gone, and then it would be in vain the next time too.
            self.copying = start.try_send(()).is_ok();
        }
    }

    /// Waits for the thread to end.
    pub(super) fn stop(&mut self) {
        self.start = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that copies the write-ahead log has panicked");
        }
    }
}

fn serve(connection: &Connection, started: &Receiver<()>, copied: &AtomicBool) {
    while started.recv().is_ok() {
        copy(connection);
        copied.store(true, Ordering::Release);
    }
}

/// Copies what no query stands in the way of, without waiting for any.
fn copy(connection: &Connection) {
    let copied = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        });
    match copied {
        Ok((log, copied)) => tracing::trace!(log, copied, "write-ahead log copied"),
        // Nothing is lost: the log goes on, and is copied the next time.
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not copy the write-ahead log into the database"
        ),
    }
}
