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
    /// Bytes that the journal keeps because of the strategy: its calls, their answers, and the
    /// counters with which a soak starts. [`bytes_per_node`](Self::bytes_per_node) come on top.
    pub bytes: u64,
    /// Bytes on top of [`bytes`](Self::bytes) for each node of the plan. Absent in journals of
    /// releases that counted the arguments of calls alone.
    pub bytes_per_node: u64,
    /// Fuel between two calls: 1 for each WebAssembly instruction, and 1 for each byte that
    /// one instruction copies or fills. The same on every machine, unlike time.
    pub fuel: u64,
    /// Fuel of a whole run, from the strategy's start to its end. A replay repeats the run, so
    /// it uses the same fuel up to the same call. Absent in journals of releases that did not
    /// limit it.
    pub total_fuel: u64,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
}

impl StrategyLimits {
    /// The bytes that the journal may keep because of a strategy whose plan has this many
    /// nodes.
    pub fn journal_bytes(&self, nodes: usize) -> u64 {
        let nodes = u64::try_from(nodes).unwrap_or(u64::MAX);
        self.bytes
            .saturating_add(self.bytes_per_node.saturating_mul(nodes))
    }
}

impl Default for StrategyLimits {
    /// 10,000 calls; 4 MiB, and 32 KiB for each node, in the journal; 10⁹ units of fuel between
    /// two calls (about half a second) and 10¹¹ in total; 64 MiB of memory.
    ///
    /// 32 KiB hold what a thorough rollout tells of one node: its name in some hundred calls, a
    /// list of all nodes now and then, and the counters at the start of ten soaks.
    fn default() -> Self {
        Self {
            calls: 10_000,
            bytes: 4 << 20,
            bytes_per_node: 32 << 10,
            fuel: 1_000_000_000,
            total_fuel: 100_000_000_000,
            memory_bytes: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_has_room_for_each_node() {
        let limits = StrategyLimits {
            bytes: 100,
            bytes_per_node: 7,
            ..StrategyLimits::default()
        };
        assert_eq!(limits.journal_bytes(0), 100);
        assert_eq!(limits.journal_bytes(3), 121);
        assert_eq!(limits.journal_bytes(usize::MAX), u64::MAX);
    }

    #[test]
    fn limits_that_an_older_release_pinned_get_defaults_for_the_others() {
        let pinned = r#"{"calls":5,"bytes":6,"fuel":7,"memoryBytes":8}"#;
        let limits: StrategyLimits = serde_json::from_str(pinned).unwrap();
        let defaults = StrategyLimits::default();
        let expected = StrategyLimits {
            calls: 5,
            bytes: 6,
            fuel: 7,
            memory_bytes: 8,
            ..defaults
        };
        assert_eq!(limits, expected);
    }
}
