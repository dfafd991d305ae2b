use std::time::Duration;

/// Limits of the engine and of each deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of the strategy in one deployment.
    pub calls: u32,
    /// Bytes of the arguments of all calls in one deployment.
    pub bytes: usize,
    /// A longer wait suspends the deployment: its strategy gives the instance back, and is
    /// replayed afterwards.
    pub suspend_after: Duration,
    /// Nodes that one deployment orders at the same time, even where its policy allows more:
    /// each is a connection.
    pub fan_out: usize,
    /// Strategies that run at the same time. The others wait for their turn.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 10_000,
            bytes: 4 << 20,
            suspend_after: Duration::from_secs(2),
            fan_out: 128,
            instances: 1024,
        }
    }
}
