/// Why a request on a hub's path was not taken. The application answers it in its own way;
/// the texts are those of the reference server where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The query makes no sense. Status 400.
    #[error("the query of the URL cannot be read")]
    Query,
    /// The transport needs the id that negotiation told. Status 400.
    #[error("Connection ID required")]
    NoId,
    /// The headers of a WebSocket do not fit. Status 400.
    #[error("the headers are not those of a WebSocket of version 13")]
    NoWebSocket,
    /// The connection is carried by another transport. Status 400.
    #[error("Cannot change transports mid-connection")]
    OtherTransport,
    /// Only polling is ended by a request. Status 400.
    #[error("Cannot terminate this connection: close what carries it")]
    OnlyPolling,
    /// There is no such connection, or it is another user's. Status 404.
    #[error("No Connection with that ID")]
    Unknown,
    /// What a WebSocket carries cannot be posted. Status 405.
    #[error("POST requests are not allowed for WebSocket connections.")]
    NotPosted,
    /// No other methods apply here. Status 405.
    #[error("only GET, POST and DELETE apply here")]
    Method,
    /// Something carries the connection at this moment. Status 409.
    #[error("the connection is in use already")]
    InUse,
    /// The body is longer than what a client may say at once. Status 413.
    #[error("the body is longer than {most} bytes")]
    TooLarge {
        /// The most, in bytes.
        most: usize,
    },
    /// The user has as many connections as one may have. Status 429.
    #[error("there are {count} connections of this user: close one first")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// There are as many connections as there may be. Status 503.
    #[error("there is no room for another connection: try again later")]
    Full,
    /// The server is about to stop. Status 503.
    #[error("the server is shutting down: connect again")]
    Closing,
}
