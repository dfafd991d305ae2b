use hotswap_core::{Append, DeploymentId, Header, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::bodies::Bodies;
use crate::{AppendError, CreateError, Error, Head, Lease, ReadError};

/// Where the answer to a command goes. Nobody may be there any more: the command is
/// carried out all the same.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// What the thread that writes is asked to do.
pub(super) enum Command {
    Create {
        header: Box<Header>,
        at: Timestamp,
        bodies: Bodies,
        answer: Answer<Result<(), CreateError>>,
    },
    Lease {
        deployment: DeploymentId,
        answer: Answer<Result<Lease, ReadError>>,
    },
    Append {
        append: Append,
        bodies: Bodies,
        answer: Answer<Result<Head, AppendError>>,
    },
    Edit(Box<dyn Edit>),
    Close,
}

/// A change that the journals do not depend on. It may be run more than once, each time
/// in a transaction that begins as if it had not been run before.
pub(super) trait Edit: Send {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Tells what came of the last run, once it is durable; or why it is not.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

/// An [`Edit`] by a closure.
pub(super) struct Change<F, T> {
    change: F,
    done: Option<T>,
    answer: Answer<Result<T, Error>>,
}

impl<F, T> Change<F, T> {
    pub(super) fn new(change: F, answer: Answer<Result<T, Error>>) -> Self {
        Self {
            change,
            done: None,
            answer,
        }
    }
}

impl<F, T> Edit for Change<F, T>
where
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.done = Some((self.change)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let result = match (failure, self.done) {
            (None, Some(done)) => Ok(done),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::Closed),
        };
        let _ = self.answer.send(result);
    }
}
