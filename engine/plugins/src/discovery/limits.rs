use std::time::Duration;

use crate::limits::whole_pages;

/// What one instance of a backend may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendLimits {
    /// Bytes of a component.
    pub component_bytes: usize,
    /// Bytes of all linear memories together, rounded up to whole pages of 64 KiB.
    pub memory_bytes: usize,
    /// Instructions of one call.
    pub fuel: u64,
    /// How long a call may take. A watch may take this on top of its patience.
    pub call_timeout: Duration,
    /// How long a connection may take to be made, an answer to begin, and a byte of it to
    /// follow. For an answer that a watch waits for, its patience comes on top.
    pub read_timeout: Duration,
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes of the body of a request.
    pub request_bytes: usize,
    /// Bytes of the body of an answer.
    pub response_bytes: usize,
    /// Lines for the log in one call. Further lines are dropped.
    pub log_lines: u32,
}

impl BackendLimits {
    /// [`memory_bytes`](Self::memory_bytes) in whole pages.
    pub(super) fn max_memory(&self) -> usize {
        whole_pages(self.memory_bytes)
    }
}

impl Default for BackendLimits {
    /// Enough for some 10,000 instances of a service.
    fn default() -> Self {
        Self {
            component_bytes: 16 << 20,
            memory_bytes: 128 << 20,
            fuel: 10_000_000_000,
            call_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(10),
            connections: 4,
            request_bytes: 1 << 20,
            response_bytes: 32 << 20,
            log_lines: 100,
        }
    }
}
