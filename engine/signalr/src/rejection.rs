/// Why a request on a hub's path was rejected. The application maps it to its own response.
/// The texts are those of the reference server where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The query string is invalid. Status 400.
    #[error("the query string cannot be parsed")]
    InvalidQuery,
    /// This transport needs the `id` from the negotiation. Status 400.
    #[error("Connection ID required")]
    MissingConnectionId,
    /// The headers are not a WebSocket upgrade. Status 400.
    #[error("the headers are not a WebSocket upgrade of version 13")]
    InvalidUpgrade,
    /// The connection uses another transport. Status 400.
    #[error("Cannot change transports mid-connection")]
    TransportMismatch,
    /// DELETE ends only long polling connections. Status 400.
    #[error("Cannot terminate this connection with DELETE: close its transport")]
    NotLongPolling,
    /// There is no such connection, or it belongs to another user. Status 404.
    #[error("No Connection with that ID")]
    UnknownConnection,
    /// POST does not apply to WebSocket connections. Status 405.
    #[error("POST requests are not allowed for WebSocket connections.")]
    PostToWebSocket,
    /// The path does not support this method. Status 405.
    #[error("only GET, POST and DELETE are allowed here")]
    MethodNotAllowed,
    /// Another request is using the connection at this moment. Status 409.
    #[error("the connection is already in use")]
    ConnectionInUse,
    /// The body exceeds the limit for messages from clients. Status 413.
    #[error("the body is longer than {max_bytes} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// The user has the maximum number of connections. Status 429.
    #[error("this user has {count} connections, the maximum: close one first")]
    TooManyConnections {
        /// The number of connections of this user.
        count: usize,
    },
    /// The server has the maximum number of connections. Status 503.
    #[error("the server has the maximum number of connections: try again later")]
    ServerFull,
    /// The server is shutting down. Status 503.
    #[error("the server is shutting down: connect again")]
    ShuttingDown,
}
