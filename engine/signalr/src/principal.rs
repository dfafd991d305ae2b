use tokio::time::Instant;

/// The authenticated user behind a request.
#[derive(Debug)]
pub struct Principal<U> {
    /// The user, as the hub gets it in [`Caller::user`](crate::Caller::user).
    pub user: U,
    /// Identifies the user. Connections are counted by it, and only requests with the same
    /// id can use a connection.
    pub user_id: String,
    /// When the token expires. The connection is closed then.
    pub expires_at: Option<Instant>,
}
