use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::outbound_message::OutboundMessage;
use crate::send_queue::{Close, SendQueue};

/// The methods that clients can invoke. One value serves all connections.
pub trait Hub: Send + Sync + 'static {
    /// The authenticated user of a connection, from [`Principal`](crate::Principal).
    type User: Send + Sync + 'static;

    /// Answers an invocation. The invocations of one connection run one after the other.
    fn invoke(
        &self,
        caller: &Caller<Self::User>,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Reply, HubError>> + Send;

    /// Answers a stream invocation. The stream is dropped when the client cancels it or
    /// disconnects.
    fn stream(
        &self,
        caller: &Caller<Self::User>,
        invocation: Invocation,
    ) -> impl Future<Output = Result<StreamItems, HubError>> + Send;

    /// A connection has ended. It may or may not have invoked anything.
    fn on_disconnected(&self, connection: &ConnectionHandle);
}

/// The answer to an invocation.
pub struct Reply {
    pub(crate) value: Value,
    pub(crate) follow_up: Option<Box<dyn FnOnce() + Send>>,
}

/// The items of a stream. An error ends it.
pub type StreamItems = BoxStream<'static, Result<Value, HubError>>;

/// The client that invokes a method.
#[derive(Debug)]
pub struct Caller<U> {
    /// The user of the connection.
    pub user: Arc<U>,
    /// The connection.
    pub connection: ConnectionHandle,
}

/// A method and its arguments.
#[derive(Debug)]
pub struct Invocation {
    /// The name of the method. Case-sensitive.
    pub method: String,
    /// The arguments.
    pub arguments: Vec<Value>,
}

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// There is no such method, or it is invoked the wrong way: with or without a stream.
    #[error("there is no such method")]
    UnknownMethod,
    /// The caller is not allowed to invoke this method.
    #[error("the caller is not allowed to invoke this method")]
    Unauthorized,
    /// A `HubException`: the client gets this text.
    #[error("{0}")]
    Exception(String),
    /// Any other failure: the client gets no details.
    #[error("the invocation failed on the server")]
    Internal,
}

/// Sends to one connection. Cheap to clone; it does not keep the connection open.
#[derive(Debug, Clone)]
pub struct ConnectionHandle(pub(crate) Arc<SendQueue>);

impl ConnectionHandle {
    /// A number that is unique in this process. It is not the SignalR connection id.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Queues a message; messages are sent in the order of the calls. Never waits: a client
    /// that reads too slowly is closed, to reconnect and resume. Returns false where the
    /// connection is closed or closing.
    pub fn send(&self, message: &OutboundMessage) -> bool {
        self.0.send(message.clone())
    }

    /// Whether nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Closes the connection after flushing the queue. The first close wins.
    pub fn close(&self, close: Close) {
        self.0.close(close);
    }
}

impl Invocation {
    /// Takes the argument at `index`, from 0. A missing argument reads as null.
    ///
    /// # Errors
    /// [`HubError::Exception`] with what was expected, where the argument has another type.
    pub fn argument<T: DeserializeOwned>(&mut self, index: usize) -> Result<T, HubError> {
        let value = self.arguments.get_mut(index).map(Value::take);
        serde_json::from_value(value.unwrap_or_default()).map_err(|error| {
            let number = index + 1;
            HubError::Exception(format!("argument {number} is invalid: {error}"))
        })
    }

    /// Checks that there are at most `count` arguments.
    ///
    /// # Errors
    /// [`HubError::Exception`] if there are more.
    pub fn expect_at_most(&self, count: usize) -> Result<(), HubError> {
        let provided = self.arguments.len();
        if provided <= count {
            return Ok(());
        }
        Err(HubError::Exception(format!(
            "Invocation provides {provided} argument(s) but target expects {count}."
        )))
    }
}

impl Reply {
    /// A reply, and a function to run once the reply is queued: whatever it sends comes
    /// after the reply.
    pub fn with_follow_up(value: Value, follow_up: impl FnOnce() + Send + 'static) -> Self {
        let follow_up: Box<dyn FnOnce() + Send> = Box::new(follow_up);
        Self {
            value,
            follow_up: Some(follow_up),
        }
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self {
            value,
            follow_up: None,
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.value).finish()
    }
}

impl HubError {
    /// The error of the Completion, in the words of the reference server.
    pub(crate) fn completion_error(&self, method: &str) -> String {
        match self {
            Self::UnknownMethod => format!("Unknown hub method '{method}'"),
            Self::Unauthorized => {
                format!("Failed to invoke '{method}' because user is unauthorized")
            }
            Self::Exception(text) => format!(
                "An unexpected error occurred invoking '{method}' on the server. HubException: {text}"
            ),
            Self::Internal => format!("Failed to invoke '{method}' due to an error on the server."),
        }
    }
}
