//! Commands to the writer.

use hotswap_core::{Append, DeploymentId, Environment, Fence, Header, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::encoded_events::EncodedEvents;
use super::error::Error;
use crate::{
    AppendError, AppendToEnvironmentError, CreateError, EnvironmentAppend, EnvironmentAppended,
    Head, Lease, LeaseError,
};

/// Where the result of a command goes. The caller may have gone away: the command is carried
/// out all the same.
pub(super) type ReplySender<T> = oneshot::Sender<T>;

/// A command to the writer.
pub(super) enum Command {
    Create {
        header: Box<Header>,
        at: Timestamp,
        events: EncodedEvents,
        reply: ReplySender<Result<(), CreateError>>,
    },
    AcquireLease {
        deployment: DeploymentId,
        reply: ReplySender<Result<Lease, LeaseError>>,
    },
    RaiseFence {
        fence: Fence,
        reply: ReplySender<Result<bool, Error>>,
    },
    Append {
        append: Append,
        events: EncodedEvents,
        reply: ReplySender<Result<Head, AppendError>>,
    },
    AcquireEnvironmentLease {
        environment: Environment,
        reply: ReplySender<Result<Fence, Error>>,
    },
    AppendToEnvironment {
        append: EnvironmentAppend,
        /// The bodies as JSON.
        events: Vec<Vec<u8>>,
        reply: ReplySender<Result<EnvironmentAppended, AppendToEnvironmentError>>,
    },
    Edit(Box<dyn Edit>),
    Close,
}

impl Command {
    /// Replies that the command was not carried out.
    pub(super) fn fail(self, error: rusqlite::Error) {
        let error = Error::Write(error);
        match self {
            Self::Create { reply, .. } => {
                let _ = reply.send(Err(error.into()));
            }
            Self::AcquireLease { reply, .. } => {
                let _ = reply.send(Err(error.into()));
            }
            Self::RaiseFence { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::Append { reply, .. } => {
                let _ = reply.send(Err(error.into()));
            }
            Self::AcquireEnvironmentLease { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::AppendToEnvironment { reply, .. } => {
                let _ = reply.send(Err(error.into()));
            }
            Self::Edit(edit) => edit.reply(Some(error)),
            Self::Close => {}
        }
    }
}

/// A change outside the journals. It may run more than once; each run is in a transaction
/// that does not contain the run before.
pub(super) trait Edit: Send {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Replies with the result of the last run, once that is durable, or with the failure.
    fn reply(self: Box<Self>, failure: Option<Error>);
}

/// An [`Edit`] by a closure.
pub(super) struct ClosureEdit<F, T> {
    closure: F,
    /// What the last run returned.
    output: Option<T>,
    reply: ReplySender<Result<T, Error>>,
}

impl<F, T> ClosureEdit<F, T> {
    pub(super) fn new(closure: F, reply: ReplySender<Result<T, Error>>) -> Self {
        Self {
            closure,
            output: None,
            reply,
        }
    }
}

impl<F, T> Edit for ClosureEdit<F, T>
where
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.output = Some((self.closure)(connection)?);
        Ok(())
    }

    fn reply(self: Box<Self>, failure: Option<Error>) {
        let result = match (failure, self.output) {
            (None, Some(output)) => Ok(output),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::Closed),
        };
        let _ = self.reply.send(result);
    }
}
