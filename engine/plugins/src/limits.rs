//! What a run of a strategy may use.

use std::time::Duration;

/// A page of WebAssembly memory, in bytes.
pub(crate) const WASM_PAGE: usize = 64 << 10;

/// Elements of one table, that is functions that are called by pointer.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// Bytes that one call may pass. Each element of a list counts as 24 bytes plus its text,
/// so this is enough to name some 20,000 nodes.
pub(crate) const CALL_BYTES: usize = 1 << 20;

/// Bytes of one log line. The contract promises 8 KiB. This is more, so that an author who
/// is slightly over is not failed, but a flood is.
pub(crate) const LOG_LINE_BYTES: usize = 64 << 10;

/// Bytes of a strategy's own text that a failure reason repeats.
pub(crate) const QUOTED_BYTES: usize = 8 << 10;

/// What one run of a strategy may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Processor time between two calls. Measured with a resolution of 10 ms.
    pub compute_time: Duration,
    /// Bytes of all linear memories together, rounded up to whole pages of 64 KiB.
    pub memory_bytes: usize,
    /// Bytes of a component.
    pub component_bytes: usize,
    /// Runs at the same time; further runs wait for their turn. Each run takes about 7 of
    /// the memory mappings that Linux allows a process (65,530 by default).
    pub concurrent_runs: u32,
    /// Runs for which memory is reserved in a pool. A reserved slot costs only address
    /// space until it is first used, and about 50 KiB afterwards. Runs outside the pool
    /// start a little slower.
    pub pooled_runs: u32,
}

impl Limits {
    /// [`memory_bytes`](Self::memory_bytes) in whole pages: the size to which the memory of
    /// an instance can grow.
    pub(crate) fn max_memory(&self) -> usize {
        self.memory_bytes.max(WASM_PAGE).next_multiple_of(WASM_PAGE)
    }
}

impl Default for Limits {
    /// 1 s, 64 MiB, components of 16 MiB, 4000 concurrent runs, 256 of them pooled.
    fn default() -> Self {
        Self {
            compute_time: Duration::from_secs(1),
            memory_bytes: 64 << 20,
            component_bytes: 16 << 20,
            concurrent_runs: 4000,
            pooled_runs: 256,
        }
    }
}
