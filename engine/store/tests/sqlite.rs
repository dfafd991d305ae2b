//! The suite, for the store of one process; and what is its own: its file, and crashes.

#[path = "sqlite/crash.rs"]
mod crash;
#[path = "sqlite/file.rs"]
mod file;
mod suite;

use std::path::PathBuf;

use hotswap_store::Sqlite;
use tempfile::TempDir;

use crate::suite::{Stores, suite};

struct Files {
    folder: TempDir,
}

impl Files {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data/engine.db")
    }
}

impl Stores for Files {
    type Store = Sqlite;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open(self.path()).await.unwrap()
    }

    async fn close(&self, store: Sqlite) {
        store.close().await;
    }
}

suite!(Files);
