use std::time::Duration;

/// What one run of a strategy may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Processor time that it may compute between two calls. Measured to 10 ms.
    pub compute: Duration,
    /// Bytes of its linear memories together; rounded up to whole pages of 64 KiB.
    pub memory: usize,
    /// Bytes of a component.
    pub component: usize,
    /// Runs at once; more wait for their turn. Each takes some 7 of the mappings of memory
    /// that Linux gives a process, by default 65,530.
    pub runs: u32,
    /// Runs for which room is held ready: until they are used at the cost of address space
    /// alone, then of some 50 KiB each. The others start a little slower.
    pub pooled: u32,
}

impl Default for Limits {
    /// 1 s, 64 MiB, 16 MiB, 4000 runs at once, 256 of them pooled.
    fn default() -> Self {
        Self {
            compute: Duration::from_secs(1),
            memory: 64 << 20,
            component: 16 << 20,
            runs: 4000,
            pooled: 256,
        }
    }
}

/// The most that one call may pass, in bytes, where an element of a list counts as 24
/// and its text: enough to name some 20,000 nodes.
pub(crate) const ARGUMENTS: usize = 1 << 20;

/// The most that one line of the log may have, in bytes. The contract promises 8 KiB; an
/// author who is a little over is not failed for it, but a flood is.
pub(crate) const LOG_LINE: usize = 64 << 10;

/// The most of a guest's own words that a reason repeats, in bytes.
pub(crate) const QUOTED: usize = 8 << 10;
