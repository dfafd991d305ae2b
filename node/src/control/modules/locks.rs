use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::ModuleName;
use tokio::sync::OwnedMutexGuard;

/// One lock per module. Orders for one module wait for each other, orders for different
/// modules do not.
#[derive(Debug, Default)]
pub(super) struct ModuleLocks {
    locks: Mutex<HashMap<ModuleName, Arc<tokio::sync::Mutex<()>>>>,
}

impl ModuleLocks {
    /// Waits for the lock of a module, and holds it until the guard is dropped.
    pub(super) async fn lock(&self, module: &ModuleName) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(module.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
