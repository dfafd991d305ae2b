use serde_json::Value;

/// One message of the hub protocol, independent of its encoding.
///
/// The types are those of HubProtocol.md of dotnet/aspnetcore.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Type 1: invokes a method.
    Invocation {
        /// The id that the Completion repeats. Without it there is no Completion.
        invocation_id: Option<String>,
        /// The method, or for a client the event.
        target: String,
        /// The arguments.
        arguments: Vec<Value>,
        /// Streams that the caller will send. Not supported here: such an invocation fails.
        stream_ids: Vec<String>,
    },
    /// Type 2: one item of a stream.
    StreamItem {
        /// The id of the StreamInvocation.
        invocation_id: String,
        /// The item.
        item: Value,
    },
    /// Type 3: the result of an invocation, or the end of a stream.
    Completion {
        /// The id of the invocation.
        invocation_id: String,
        /// The result.
        result: CompletionResult,
    },
    /// Type 4: invokes a method that answers with a stream.
    StreamInvocation {
        /// The id that the items and the Completion repeat.
        invocation_id: String,
        /// The method.
        target: String,
        /// The arguments.
        arguments: Vec<Value>,
        /// As in [`Message::Invocation`].
        stream_ids: Vec<String>,
    },
    /// Type 5: cancels a stream. A Completion still follows.
    CancelInvocation {
        /// The id of the StreamInvocation.
        invocation_id: String,
    },
    /// Type 6: keeps the connection alive.
    Ping,
    /// Type 7: the last message of a connection.
    Close {
        /// Why, where something went wrong.
        error: Option<String>,
        /// Whether the client may reconnect.
        allow_reconnect: bool,
    },
    /// Type 8: acknowledges all counted messages up to this one.
    Ack {
        /// The number of the message, from 1.
        sequence_id: u64,
    },
    /// Type 9: announces the number of the next counted message.
    Sequence {
        /// The number of the message, from 1.
        sequence_id: u64,
    },
}

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionResult {
    /// No value.
    Void,
    /// The value.
    Value(Value),
    /// The error text, for people to read.
    Error(String),
}

impl Message {
    /// Whether stateful reconnect counts the message: types 1 to 5.
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
