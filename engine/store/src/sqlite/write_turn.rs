//! Who writes the database next: the task that brings an append, or a thread for many commands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use hotswap_common::vital_thread;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::command::Command;
use super::error::Error;
use super::writer::Writer;

/// Maximum number of commands in one transaction, and in the queue. The more commands share a
/// write to disk the better, up to the point where the first of them would wait long for the
/// last.
const MAX_BATCH: usize = 1024;

/// How long the thread looks for the next command before it sleeps. A few deployments send some soon
/// after they have their replies; to wake a sleeping thread takes about as long as this.
const SPIN: Duration = Duration::from_micros(50);

/// What a writer is called when it panics.
const NAME: &str = "the writer of the store";

/// Commands on their way to the writer, which closes once this is dropped.
///
/// A thread takes all commands that wait and executes them in one transaction, so that many share
/// one write to disk. If no other command waits or runs, the task that brings an append executes it
/// itself: waking the thread, and then the task, would take longer than all that SQLite does.
pub(super) struct WriteTurn {
    queue: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once the store is closed.
    writer: Mutex<Option<Writer>>,
    /// Tasks must leave the writer to the thread, for one of two reasons. It holds commands that are
    /// not executed yet, and a task that is quick to return could take the lock before it each time.
    /// Or its last batch had several commands, so more will come soon and should share a write.
    is_crowded: AtomicBool,
}

impl WriteTurn {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Thread`] where the system does not allow it.
    pub(super) fn start(writer: Writer) -> Result<Self, Error> {
        let (queue, commands) = mpsc::channel(MAX_BATCH);
        let shared = Arc::new(Shared {
            writer: Mutex::new(Some(writer)),
            is_crowded: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("store-write".to_owned())
            .spawn(move || vital_thread(NAME, || of_thread.run(commands)))
            .map_err(Error::Thread)?;
        Ok(Self { queue, shared })
    }

    /// Has a command executed. Its reply may have come when this returns.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub(super) async fn execute(&self, command: Command) -> Result<(), Error> {
        let Some(command) = self.try_execute(command) else {
            return Ok(());
        };
        let queued = self.queue.send(command).await;
        queued.map_err(|_| Error::Closed)
    }

    /// Executes an append on the caller's thread, if no other command waits or runs. Otherwise, and
    /// for any other command, gives the command back: the thread has to execute it.
    ///
    /// Other commands are rare, or write more than a few pages. The other tasks of the caller's thread
    /// move to another thread meanwhile, which only a runtime with several threads can do.
    pub(super) fn try_execute(&self, command: Command) -> Option<Command> {
        if !self.is_free() || !matches!(command, Command::Append { .. }) || !may_block() {
            return Some(command);
        }
        let mut writer = match self.shared.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Some(command),
        };
        let Some(writer) = writer.as_mut() else {
            return Some(command);
        };
        block_in_place(|| vital_thread(NAME, || writer.execute(&mut vec![command])));
        None
    }

    /// Whether a task may write: no command waits, and the store is not closed.
    pub(super) fn is_free(&self) -> bool {
        self.queued() == 0
            && !self.queue.is_closed()
            && !self.shared.is_crowded.load(Ordering::Acquire)
    }

    /// Commands that the thread has not taken yet.
    pub(super) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// Whether the caller's thread may block while its runtime goes on.
fn may_block() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

impl Shared {
    /// Runs until [`Command::Close`], or until every sender of commands is dropped.
    fn run(&self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while receive(&mut commands, &mut batch) > 0 {
            let is_crowd = batch.len() > 1;
            self.is_crowded.store(true, Ordering::Release);
            if batch
                .iter()
                .any(|command| matches!(command, Command::Close))
            {
                // Commands that are already queued are still received.
                commands.close();
            }
            if let Ok(mut writer) = self.writer.lock()
                && let Some(writer) = writer.as_mut()
            {
                writer.execute(&mut batch);
            }
            batch.clear();
            self.is_crowded.store(is_crowd, Ordering::Release);
        }
        let writer = self.writer.lock().map(|mut writer| writer.take());
        if let Ok(Some(writer)) = writer {
            writer.close();
        }
    }
}

/// Waits for commands and takes all that are queued. None: no more will come.
fn receive(commands: &mut mpsc::Receiver<Command>, batch: &mut Vec<Command>) -> usize {
    let spin_end = Instant::now() + SPIN;
    while commands.is_empty() && Instant::now() < spin_end {
        std::hint::spin_loop();
    }
    commands.blocking_recv_many(batch, MAX_BATCH)
}
