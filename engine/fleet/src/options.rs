use std::time::Duration;

/// Time-outs, retries and limits of an [`HttpFleet`](crate::HttpFleet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For connecting. Nodes are near: one that takes longer than a second is gone.
    pub connect_timeout: Duration,
    /// For a whole request, except the order to stage.
    pub request_timeout: Duration,
    /// For the order to stage: the node fetches the artifact and compiles it.
    pub stage_timeout: Duration,
    /// How long an order is retried while the node is unreachable. Long enough for a node to
    /// restart.
    pub retry_for: Duration,
    /// The age up to which a reading of counters is reused.
    pub reading_max_age: Duration,
    /// How many nodes are asked concurrently for their active version. 0 counts as 1.
    pub max_concurrent_requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            stage_timeout: Duration::from_secs(60),
            retry_for: Duration::from_secs(3),
            reading_max_age: Duration::from_secs(1),
            max_concurrent_requests: 64,
        }
    }
}
