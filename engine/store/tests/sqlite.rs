//! The SQLite store: the suite of every store, and tests of its file and of crashes.

#[path = "sqlite/crash.rs"]
mod crash;
#[path = "sqlite/file.rs"]
mod file;
mod suite;

use std::path::PathBuf;

use hotswap_store::Sqlite;
use tempfile::TempDir;

use crate::suite::{StoreFixture, suite};

struct SqliteFixture {
    folder: TempDir,
}

impl SqliteFixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data/engine.db")
    }
}

impl StoreFixture for SqliteFixture {
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

suite!(SqliteFixture);
