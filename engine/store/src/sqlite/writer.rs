use std::path::Path;

use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, watch};

use super::command::Command;
use super::copier::Copier;
use super::ledger::Ledger;
use super::lock::Lock;
use crate::{AppendError, Appended, CreateError, Error, Lease, ReadError};

/// Commands in one transaction, and commands that may wait. The more share a write to
/// disk the better, up to where the first of them would wait long for the last.
pub(super) const BATCH: usize = 1024;

/// The thread that writes. It takes all commands that wait, carries them out in one
/// transaction, commits, and only then tells of them and answers: whoever has an answer
/// has what is on disk.
pub(super) struct Writer {
    connection: Connection,
    commands: mpsc::Receiver<Command>,
    appended: broadcast::Sender<Appended>,
    /// Nothing while it has to be read again: at the start and after a failure.
    ledger: Option<Ledger>,
    copier: Copier,
    // Declared last so that they are dropped last: the database is let go of once it is
    // closed, and then whoever waits for that hears of it.
    _lock: Lock,
    _ended: watch::Sender<()>,
}

/// What became of a command in a transaction.
enum Outcome {
    Create(Result<Appended, CreateError>),
    Lease(Result<Lease, ReadError>),
    Append(Result<Appended, AppendError>),
    Edit,
    Close,
}

impl Writer {
    pub(super) fn new(
        path: &Path,
        connection: Connection,
        commands: mpsc::Receiver<Command>,
        appended: broadcast::Sender<Appended>,
        lock: Lock,
        ended: watch::Sender<()>,
    ) -> Result<Self, Error> {
        Ok(Self {
            copier: Copier::start(path)?,
            connection,
            commands,
            appended,
            ledger: None,
            _lock: lock,
            _ended: ended,
        })
    }

    /// Runs until [`Command::Close`], or until nobody is left who could ask for anything.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut outcomes = Vec::with_capacity(BATCH);
        while self.commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.carry_out(&mut batch, &mut outcomes);
            self.copier.tend(&self.connection);
        }
        self.copier.stop();
    }

    fn carry_out(&mut self, batch: &mut Vec<Command>, outcomes: &mut Vec<Outcome>) {
        match self.transact(batch, outcomes) {
            Ok(()) => self.answer(batch, outcomes),
            Err(error) if batch.len() == 1 => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not write the database"
                );
                if let Some(command) = batch.pop() {
                    command.fail(error);
                }
            }
            // One of them may be to blame: each gets a transaction of its own.
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    commands = batch.len(),
                    "could not write commands together, trying one by one"
                );
                for command in batch.drain(..) {
                    self.carry_out(&mut vec![command], outcomes);
                }
            }
        }
    }

    /// All of them, or none.
    fn transact(
        &mut self,
        batch: &mut [Command],
        outcomes: &mut Vec<Outcome>,
    ) -> rusqlite::Result<()> {
        outcomes.clear();
        let result = self.attempt(batch, outcomes);
        if result.is_err() {
            // It knows what was not committed.
            self.ledger = None;
            // Some errors end the transaction by themselves.
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not roll back"
                );
            }
        }
        result
    }

    fn attempt(
        &mut self,
        batch: &mut [Command],
        outcomes: &mut Vec<Outcome>,
    ) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let ledger = match &mut self.ledger {
            Some(ledger) => ledger,
            none => none.insert(Ledger::load(connection)?),
        };
        let mut bytes = 0;
        for command in batch.iter_mut() {
            outcomes.push(match command {
                Command::Create {
                    header, at, bodies, ..
                } => {
                    bytes += bodies.len();
                    Outcome::Create(ledger.create(connection, header, *at, bodies)?)
                }
                Command::Lease { deployment, .. } => {
                    Outcome::Lease(ledger.lease(connection, *deployment)?)
                }
                Command::Append { append, bodies, .. } => {
                    bytes += bodies.len();
                    Outcome::Append(ledger.append(connection, append, bodies)?)
                }
                Command::Edit(edit) => {
                    edit.run(connection)?;
                    Outcome::Edit
                }
                Command::Close => {
                    // What waits already is still carried out.
                    self.commands.close();
                    Outcome::Close
                }
            });
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        self.copier.wrote(batch.len(), bytes);
        Ok(())
    }

    fn answer(&mut self, batch: &mut Vec<Command>, outcomes: &mut Vec<Outcome>) {
        for (command, outcome) in batch.drain(..).zip(outcomes.drain(..)) {
            // The news first: whoever subscribes once an append is answered does not hear
            // of it. An answer that nobody waits for any more is no failure.
            match (command, outcome) {
                (Command::Create { answer, .. }, Outcome::Create(result)) => {
                    if let Ok(appended) = &result {
                        self.tell(*appended);
                    }
                    let _ = answer.send(result.map(|_| ()));
                }
                (Command::Lease { answer, .. }, Outcome::Lease(result)) => {
                    let _ = answer.send(result);
                }
                (Command::Append { append, answer, .. }, Outcome::Append(result)) => {
                    if let Ok(appended) = &result
                        && !append.bodies.is_empty()
                    {
                        self.tell(*appended);
                    }
                    let _ = answer.send(result.map(|appended| appended.head));
                }
                (Command::Edit(edit), Outcome::Edit) => edit.answer(None),
                _ => {}
            }
        }
    }

    fn tell(&self, appended: Appended) {
        // Fails where nobody listens.
        let _ = self.appended.send(appended);
    }
}

impl Command {
    fn fail(self, error: rusqlite::Error) {
        let error = Error::Write(error);
        match self {
            Self::Create { answer, .. } => {
                let _ = answer.send(Err(error.into()));
            }
            Self::Lease { answer, .. } => {
                let _ = answer.send(Err(error.into()));
            }
            Self::Append { answer, .. } => {
                let _ = answer.send(Err(error.into()));
            }
            Self::Edit(edit) => edit.answer(Some(error)),
            Self::Close => {}
        }
    }
}
