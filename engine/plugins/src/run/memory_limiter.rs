use hotswap_core::CauseKind;
use wasmtime::ResourceLimiter;

use super::cause::RunTermination;
use crate::limits::TABLE_ELEMENTS;

/// Limits what an instance allocates. One that needs more ends with a reason.
pub(crate) struct MemoryLimiter {
    /// The guest, for the reason: `the strategy`.
    who: &'static str,
    /// Bytes of all memories together.
    used: usize,
    limit: usize,
}

impl MemoryLimiter {
    pub(crate) fn new(who: &'static str, limit: usize) -> Self {
        Self {
            who,
            used: 0,
            limit,
        }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let memory = (self.used - current).saturating_add(desired);
        if memory > self.limit {
            let (who, kib) = (self.who, self.limit >> 10);
            let message = match kib % 1024 {
                0 => format!("{who} needs more than {} MiB of memory", kib >> 10),
                _ => format!("{who} needs more than {kib} KiB of memory"),
            };
            return Err(RunTermination::new(CauseKind::Limit, message).into());
        }
        self.used = memory;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            let who = self.who;
            let message = format!("{who} needs a table of more than {TABLE_ELEMENTS} elements");
            return Err(RunTermination::new(CauseKind::Limit, message).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        4
    }
}
