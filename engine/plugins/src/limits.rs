//! What a run of a strategy may use.

use hotswap_core::StrategyLimits;

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
    /// Fuel between two calls: 1 for each instruction, and 1 for each byte that one
    /// instruction copies or fills. Counted in slices of 10 million.
    pub fuel: u64,
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
        whole_pages(self.memory_bytes)
    }
}

/// In whole pages, at least one.
pub(crate) fn whole_pages(bytes: usize) -> usize {
    bytes.max(WASM_PAGE).next_multiple_of(WASM_PAGE)
}

/// Fuel after which a run yields to other runs: a few milliseconds.
pub(crate) const FUEL_SLICE: u64 = 10_000_000;

impl Default for Limits {
    /// The defaults of [`StrategyLimits`], components of 16 MiB, 4000 concurrent runs, 256 of
    /// them pooled.
    fn default() -> Self {
        let limits = StrategyLimits::default();
        Self {
            fuel: limits.fuel,
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            component_bytes: 16 << 20,
            concurrent_runs: 4000,
            pooled_runs: 256,
        }
    }
}
