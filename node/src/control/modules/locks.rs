use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::ModuleName;
use tokio::sync::OwnedMutexGuard;

use super::running_order::RunningOrder;

/// One lock per module, with the order that loads a version for it. Changes of one module
/// wait for each other, those of different modules do not. Nobody holds a lock while a version
/// is being loaded.
#[derive(Debug, Default)]
pub(super) struct ModuleLocks {
    locks: Mutex<HashMap<ModuleName, Arc<tokio::sync::Mutex<RunningSlot>>>>,
}

/// The order that loads a version for a module, if there is one.
pub(super) type RunningSlot = Option<Arc<RunningOrder>>;

impl ModuleLocks {
    /// Waits for the lock of a module, and holds it until the guard is dropped.
    pub(super) async fn lock(&self, module: &ModuleName) -> OwnedMutexGuard<RunningSlot> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(module.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
