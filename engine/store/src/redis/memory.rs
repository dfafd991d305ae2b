//! The memory of the server.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::commands::Commands;
use super::error::Error;

/// How long what was read holds.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Knows how full the server's memory is.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Option<(Instant, MemoryUse)>>);

/// How full the memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemoryUse {
    /// Bytes that are in use.
    pub(super) used: u64,
    /// The most that the server takes (`maxmemory`). 0 for all of the machine's.
    pub(super) limit: u64,
    /// The memory of its machine.
    pub(super) machine: u64,
}

impl MemoryUse {
    /// What is kept for the deployments that are under way: a tenth.
    pub(super) fn reserve(self) -> u64 {
        self.limit / 10
    }

    /// What can still be used.
    pub(super) fn free(self) -> u64 {
        let limit = if self.limit > 0 {
            self.limit
        } else {
            self.machine
        };
        limit.saturating_sub(self.used)
    }

    fn is_full(self) -> bool {
        self.limit > 0 && self.free() < self.reserve()
    }

    fn parse(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(':')?.trim().parse().ok())
        };
        Self {
            used: field("used_memory").unwrap_or(0),
            limit: field("maxmemory").unwrap_or(0),
            machine: field("total_system_memory").unwrap_or(0),
        }
    }
}

impl Memory {
    /// Reads it from the server.
    pub(super) async fn read(&self, commands: &Commands) -> Result<MemoryUse, Error> {
        let read = MemoryUse::parse(&commands.info("memory").await?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), read));
        Ok(read)
    }

    /// Whether only deployments that are under way may still write. A server that does not answer
    /// is not full: what is asked of it fails by itself.
    pub(super) async fn is_full(&self, commands: &Commands) -> bool {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.filter(|(read_at, _)| read_at.elapsed() < MAX_AGE) {
            Some((_, known)) => known.is_full(),
            None => self.read(commands).await.is_ok_and(MemoryUse::is_full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_memory_is_kept_for_deployments_under_way() {
        let with = |used: u64, limit: u64| {
            let info = format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_rss:9\r\ntotal_system_memory:2000\r\nmaxmemory:{limit}\r\nmaxmemory_policy:noeviction\r\n"
            );
            MemoryUse::parse(&info)
        };
        assert!(!with(899, 1000).is_full());
        assert!(with(901, 1000).is_full());
        assert!(!with(1999, 0).is_full());
        assert_eq!(with(500, 0).free(), 1500);
        assert_eq!(with(500, 1000).free(), 500);
    }
}
