use std::time::Duration;

/// What a deployment may use at most, and when its instance is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of one strategy in one deployment.
    pub calls: u32,
    /// Bytes that the arguments of all its calls may take together.
    pub bytes: usize,
    /// A wait longer than this gives the instance back; the strategy is replayed afterwards.
    pub park_after: Duration,
    /// Nodes that are ordered side by side, over and above what the policy says: each one
    /// is a connection.
    pub fan_out: usize,
    /// Strategies that run at the same moment; more wait for their turn.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 10_000,
            bytes: 4 << 20,
            park_after: Duration::from_secs(2),
            fan_out: 128,
            instances: 1024,
        }
    }
}
