//! The store in memory: the suite of every store.

mod suite;

use std::sync::atomic::{AtomicU64, Ordering};

use hotswap_store::Memory;

use crate::suite::{StoreFixture, suite};

/// What is stored stays as long as the fixture.
struct MemoryFixture(Memory);

impl StoreFixture for MemoryFixture {
    type Store = Memory;

    fn new() -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        Self(Memory::new(STORES.fetch_add(1, Ordering::Relaxed)))
    }

    async fn open(&self) -> Memory {
        self.0.clone()
    }

    async fn close(&self, store: Memory) {
        drop(store);
    }
}

suite!(MemoryFixture);
