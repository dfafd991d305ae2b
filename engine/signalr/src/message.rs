use serde_json::Value;

/// One record of the hub protocol, whatever it is written in.
///
/// The types are those of the protocol document (HubProtocol.md of dotnet/aspnetcore).
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Type 1: call a method. Without an id, nobody waits for what comes of it.
    Invocation {
        /// By which the completion names it.
        id: Option<String>,
        /// The method, or for a client the event.
        target: String,
        /// What it is given.
        arguments: Vec<Value>,
        /// Streams that the caller will send; not supported here, so never acted on.
        streams: Vec<String>,
    },
    /// Type 2: one item of a stream.
    StreamItem {
        /// Of the stream's invocation.
        id: String,
        /// The item.
        item: Value,
    },
    /// Type 3: what came of a call, or the end of a stream.
    Completion {
        /// Of the invocation.
        id: String,
        /// What came of it.
        outcome: Outcome,
    },
    /// Type 4: call a method that answers with a stream.
    StreamInvocation {
        /// By which items and completion name it.
        id: String,
        /// The method.
        target: String,
        /// What it is given.
        arguments: Vec<Value>,
        /// As in [`Message::Invocation`].
        streams: Vec<String>,
    },
    /// Type 5: no more items are wanted. A completion is still due.
    CancelInvocation {
        /// Of the stream's invocation.
        id: String,
    },
    /// Type 6: still there.
    Ping,
    /// Type 7: the last record of a connection.
    Close {
        /// Why, where it is not for good reasons.
        error: Option<String>,
        /// Whether the client may come back at once.
        allow_reconnect: bool,
    },
    /// Type 8: all counted records up to this one were received.
    Ack {
        /// Counted from 1.
        sequence: u64,
    },
    /// Type 9: the number of the counted record that follows.
    Sequence {
        /// Counted from 1.
        sequence: u64,
    },
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing to tell.
    Void,
    /// This.
    Value(Value),
    /// It failed; for people to read.
    Error(String),
}

impl Message {
    /// Whether stateful reconnect counts it: types 1 to 5.
    pub(crate) fn is_counted(&self) -> bool {
        match self {
            Self::Invocation { .. }
            | Self::StreamItem { .. }
            | Self::Completion { .. }
            | Self::StreamInvocation { .. }
            | Self::CancelInvocation { .. } => true,
            Self::Ping | Self::Close { .. } | Self::Ack { .. } | Self::Sequence { .. } => false,
        }
    }
}
