use std::time::Duration;

/// How long an [`HttpFleet`](crate::HttpFleet) waits for nodes, and how hard it tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For a connection. Nodes are near: a second without one is a node that is gone.
    pub connect: Duration,
    /// For the whole of an answer, except to the order to stage.
    pub request: Duration,
    /// For the answer to the order to stage: the node fetches the artifact and compiles it.
    pub stage: Duration,
    /// For how long an order is tried again while the node cannot be reached: long enough
    /// for a node to restart.
    pub patience: Duration,
    /// The age up to which a reading of counters answers another question for them.
    pub freshness: Duration,
    /// How many nodes are asked at once for what they run.
    pub at_once: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            request: Duration::from_secs(5),
            stage: Duration::from_secs(60),
            patience: Duration::from_secs(3),
            freshness: Duration::from_secs(1),
            at_once: 64,
        }
    }
}
