use serde::{Deserialize, Serialize};

/// What a strategy may use in one deployment.
///
/// Pinned in the journal's [`Header`](crate::Header): a replay must decide as the first run
/// did, whatever the engine's configuration says by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StrategyLimits {
    /// Calls.
    pub calls: u32,
    /// Bytes of the arguments of all calls.
    pub bytes: u64,
    /// Fuel between two calls: 1 for each WebAssembly instruction, and 1 for each byte that
    /// one instruction copies or fills. The same on every machine, unlike time.
    pub fuel: u64,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
}

impl Default for StrategyLimits {
    /// 10,000 calls, 4 MiB of arguments, 10⁹ units of fuel (about half a second), 64 MiB of
    /// memory.
    fn default() -> Self {
        Self {
            calls: 10_000,
            bytes: 4 << 20,
            fuel: 1_000_000_000,
            memory_bytes: 64 << 20,
        }
    }
}
