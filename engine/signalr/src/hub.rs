use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::event::Event;
use crate::line::{Close, Line};

/// What clients can call. One value serves all connections.
pub trait Hub: Send + Sync + 'static {
    /// Whom a connection belongs to, as the application found out before it let it in.
    type User: Send + Sync + 'static;

    /// Answers a call. The calls of one connection come one after the other.
    fn invoke(
        &self,
        caller: &Caller<Self::User>,
        call: Call,
    ) -> impl Future<Output = Result<Reply, HubError>> + Send;

    /// Answers a call with a stream. Dropped when the client cancels it or goes away.
    fn stream(
        &self,
        caller: &Caller<Self::User>,
        call: Call,
    ) -> impl Future<Output = Result<Items, HubError>> + Send;

    /// A connection that may have called something is gone.
    fn disconnected(&self, peer: &Peer);
}

/// What a call came to.
pub struct Reply {
    pub(crate) value: Value,
    pub(crate) then: Option<Box<dyn FnOnce() + Send>>,
}

/// The items of a stream; an error ends it.
pub type Items = BoxStream<'static, Result<Value, HubError>>;

/// Who calls.
#[derive(Debug)]
pub struct Caller<U> {
    /// Whom the connection belongs to.
    pub user: Arc<U>,
    /// The connection.
    pub peer: Peer,
}

/// What is called.
#[derive(Debug)]
pub struct Call {
    /// The method. Case matters.
    pub method: String,
    /// What it is given.
    pub arguments: Vec<Value>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// There is no such method, or it does not answer in that way.
    #[error("there is no such method")]
    UnknownMethod,
    /// The caller may not.
    #[error("the caller may not")]
    Unauthorized,
    /// Something that the caller should read.
    #[error("{0}")]
    Told(String),
    /// Something that the caller should not.
    #[error("the call failed on the server")]
    Failed,
}

/// One end of a connection, to tell the client something. Cheap to clone; it does not keep
/// the connection open.
#[derive(Debug, Clone)]
pub struct Peer(pub(crate) Arc<Line>);

impl Peer {
    /// A number that no other connection of this process has.
    pub fn number(&self) -> u64 {
        self.0.number()
    }

    /// Tells it, in the order of the calls. Never waits: a client that reads too slowly is
    /// closed, to come back and resume. False where the connection is gone or closing.
    pub fn send(&self, event: &Event) -> bool {
        self.0.send(event.clone())
    }

    /// Whether nothing more can be told.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends it, after all that was told before.
    pub fn close(&self, close: Close) {
        self.0.close(close);
    }
}

impl Call {
    /// Argument number `place`, from 0; an argument that was left out reads as null.
    ///
    /// # Errors
    /// [`HubError::Told`], with what was expected, where it reads as something else.
    pub fn argument<T: DeserializeOwned>(&mut self, place: usize) -> Result<T, HubError> {
        let value = self.arguments.get_mut(place).map(Value::take);
        serde_json::from_value(value.unwrap_or_default()).map_err(|error| {
            let number = place + 1;
            HubError::Told(format!("argument {number} does not fit: {error}"))
        })
    }

    /// Makes sure that there are no more arguments than that.
    ///
    /// # Errors
    /// [`HubError::Told`] where there are.
    pub fn at_most(&self, count: usize) -> Result<(), HubError> {
        let given = self.arguments.len();
        if given <= count {
            return Ok(());
        }
        Err(HubError::Told(format!(
            "Invocation provides {given} argument(s) but target expects {count}."
        )))
    }
}

impl Reply {
    /// This, and then what `then` tells the caller: it is called once the answer has its
    /// place before all that comes later.
    pub fn then(value: Value, then: impl FnOnce() + Send + 'static) -> Self {
        let then: Box<dyn FnOnce() + Send> = Box::new(then);
        Self {
            value,
            then: Some(then),
        }
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self { value, then: None }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.value).finish()
    }
}

impl HubError {
    /// The text of the completion: what the reference server would say.
    pub(crate) fn text(&self, method: &str) -> String {
        match self {
            Self::UnknownMethod => format!("Unknown hub method '{method}'"),
            Self::Unauthorized => {
                format!("Failed to invoke '{method}' because user is unauthorized")
            }
            Self::Told(text) => format!(
                "An unexpected error occurred invoking '{method}' on the server. HubException: {text}"
            ),
            Self::Failed => format!("Failed to invoke '{method}' due to an error on the server."),
        }
    }
}
