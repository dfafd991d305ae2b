//! The one connection that writes the database.

use std::path::Path;
use std::sync::Arc;

use hotswap_common::file::FileLock;
use hotswap_core::Fence;
use rusqlite::Connection;
use tokio::sync::{broadcast, watch};

use super::checkpointer::Checkpointer;
use super::command::Command;
use super::error::Error;
use super::journal_executor::JournalExecutor;
use super::reserve::Reserve;
use crate::{
    AppendError, AppendToEnvironmentError, Appended, CreateError, EnvironmentAppended, Lease,
    LeaseError,
};

/// Executes commands in transactions. Only when a transaction is committed does it reply and notify
/// subscribers, so that everything it reports is on disk.
pub(super) struct Writer {
    connection: Connection,
    subscribers: broadcast::Sender<Appended>,
    environment_subscribers: broadcast::Sender<EnvironmentAppended>,
    new_epochs: watch::Sender<Arc<str>>,
    /// `None` if it has to be loaded again: at the start and after a failure.
    executor: Option<JournalExecutor>,
    /// What the commands of the batch returned.
    results: Vec<CommandResult>,
    /// What subscribers are to be told of the batch.
    appended: Vec<Appended>,
    environment_appended: Vec<EnvironmentAppended>,
    checkpointer: Checkpointer,
    reserve: Arc<Reserve>,
    // Declared last and so dropped last: the lock is released after the database is closed,
    // and then those who wait for the close are woken.
    _lock: FileLock,
    _stopped: watch::Sender<()>,
}

/// What a command returned within a transaction.
enum CommandResult {
    Create(Result<Vec<Appended>, CreateError>),
    AcquireLease(Result<Lease, LeaseError>),
    /// The new epoch, where the fence was lower.
    RaiseFence(Option<String>),
    Append(Result<Appended, AppendError>),
    AcquireEnvironmentLease(Fence),
    AppendToEnvironment(Result<EnvironmentAppended, AppendToEnvironmentError>),
    Edit,
    Close,
}

impl Writer {
    pub(super) fn new(
        path: &Path,
        mut connection: Connection,
        subscribers: broadcast::Sender<Appended>,
        environment_subscribers: broadcast::Sender<EnvironmentAppended>,
        new_epochs: watch::Sender<Arc<str>>,
        reserve: Arc<Reserve>,
        lock: FileLock,
        stopped: watch::Sender<()>,
    ) -> Result<Self, Error> {
        Ok(Self {
            checkpointer: Checkpointer::start(path, &mut connection)?,
            connection,
            subscribers,
            environment_subscribers,
            new_epochs,
            executor: None,
            results: Vec::new(),
            appended: Vec::new(),
            environment_appended: Vec::new(),
            reserve,
            _lock: lock,
            _stopped: stopped,
        })
    }

    /// Executes every command of the batch and replies to it. Empties the batch.
    pub(super) fn execute(&mut self, batch: &mut Vec<Command>) {
        self.execute_together(batch);
        self.checkpointer.advance(&self.connection);
    }

    /// Ends the checkpoints, and closes the database.
    pub(super) fn close(mut self) {
        self.checkpointer.stop();
    }

    fn execute_together(&mut self, batch: &mut Vec<Command>) {
        let mut result = self.run_transaction(batch);
        if let Err(error) = &result
            && is_disk_full(error)
            && self.reserve.release()
        {
            result = self.run_transaction(batch);
        }
        match result {
            Ok(()) => self.reply_and_notify(batch),
            Err(error) if batch.len() == 1 => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not write the database"
                );
                if let Some(command) = batch.pop() {
                    command.fail(error);
                }
            }
            // A single command may be the cause: give each one a transaction of its own.
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    commands = batch.len(),
                    "could not write the commands together, retrying one by one"
                );
                for command in batch.drain(..) {
                    self.execute_together(&mut vec![command]);
                }
            }
        }
    }

    /// Commits all commands of the batch, or none.
    fn run_transaction(&mut self, batch: &mut [Command]) -> rusqlite::Result<()> {
        self.results.clear();
        let result = self.try_transaction(batch);
        if result.is_err() {
            // Its cache holds what was not committed.
            self.executor = None;
            // Some errors have already rolled the transaction back.
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not roll back a transaction"
                );
            }
        }
        result
    }

    fn try_transaction(&mut self, batch: &mut [Command]) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let executor = match &mut self.executor {
            Some(executor) => executor,
            none => none.insert(JournalExecutor::load(connection)?),
        };
        for command in batch.iter_mut() {
            self.results.push(match command {
                Command::Create {
                    header, at, events, ..
                } => CommandResult::Create(executor.create(connection, header, *at, events)?),
                Command::AcquireLease { deployment, .. } => {
                    CommandResult::AcquireLease(executor.acquire_lease(connection, *deployment)?)
                }
                Command::RaiseFence { fence, .. } => {
                    CommandResult::RaiseFence(executor.raise_fence(connection, *fence)?)
                }
                Command::Append { append, events, .. } => {
                    CommandResult::Append(executor.append(connection, append, events)?)
                }
                Command::AcquireEnvironmentLease { environment, .. } => {
                    let fence = executor.acquire_environment_lease(connection, environment)?;
                    CommandResult::AcquireEnvironmentLease(fence)
                }
                Command::AppendToEnvironment { append, events, .. } => {
                    let appended = executor.append_to_environment(connection, append, events)?;
                    CommandResult::AppendToEnvironment(appended)
                }
                Command::Edit(edit) => {
                    edit.run(connection)?;
                    CommandResult::Edit
                }
                Command::Close => CommandResult::Close,
            });
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Replies first: whoever waits for its own append goes on while subscribers are woken.
    fn reply_and_notify(&mut self, batch: &mut Vec<Command>) {
        for (command, result) in batch.drain(..).zip(self.results.drain(..)) {
            // A reply that no one waits for is no failure.
            match (command, result) {
                (Command::Create { reply, .. }, CommandResult::Create(result)) => {
                    if let Ok(appended) = &result {
                        self.appended.extend(appended);
                    }
                    let _ = reply.send(result.map(|_| ()));
                }
                (Command::AcquireLease { reply, .. }, CommandResult::AcquireLease(result)) => {
                    let _ = reply.send(result);
                }
                (Command::RaiseFence { reply, .. }, CommandResult::RaiseFence(epoch)) => {
                    let is_raised = epoch.is_some();
                    if let Some(epoch) = epoch {
                        self.new_epochs.send_replace(epoch.into());
                    }
                    let _ = reply.send(Ok(is_raised));
                }
                (Command::Append { append, reply, .. }, CommandResult::Append(result)) => {
                    if let Ok(appended) = &result
                        && !append.bodies.is_empty()
                    {
                        self.appended.push(*appended);
                    }
                    let _ = reply.send(result.map(|appended| appended.head));
                }
                (
                    Command::AcquireEnvironmentLease { reply, .. },
                    CommandResult::AcquireEnvironmentLease(fence),
                ) => {
                    let _ = reply.send(Ok(fence));
                }
                (
                    Command::AppendToEnvironment { append, reply, .. },
                    CommandResult::AppendToEnvironment(result),
                ) => {
                    if let Ok(appended) = &result
                        && !append.bodies.is_empty()
                    {
                        self.environment_appended.push(appended.clone());
                    }
                    let _ = reply.send(result);
                }
                (Command::Edit(edit), CommandResult::Edit) => edit.reply(None),
                _ => {}
            }
        }
        // Sending fails if there is no subscriber.
        for appended in self.appended.drain(..) {
            let _ = self.subscribers.send(appended);
        }
        for appended in self.environment_appended.drain(..) {
            let _ = self.environment_subscribers.send(appended);
        }
    }
}

fn is_disk_full(error: &rusqlite::Error) -> bool {
    /// `SQLITE_IOERR_SHMSIZE`: there is no room for the index of the write-ahead log.
    const SHARED_MEMORY: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error().is_some_and(|error| {
        error.code == rusqlite::ErrorCode::DiskFull || error.extended_code == SHARED_MEMORY
    })
}
