//! The engine's durable state: the journals of deployments ([`Journal`]), the catalogue of
//! modules, strategies and nodes ([`Catalogue`]), and the bytes of artifacts ([`Blobs`]).
//!
//! [`Sqlite`] is the store of a single-process engine: one file, no server to run.
//!
//! ```
//! # async fn example(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! use hotswap_store::{Blobs, Journal, Sqlite};
//!
//! let store = Sqlite::open(folder.join("engine.db")).await?;
//! let blobs = Blobs::open_folder(folder.join("blobs"), 64 << 20).await?;
//! let mut writer = blobs.writer().await?;
//! writer.write(b"an artifact").await?;
//! let digest = writer.finish(None).await?;
//! assert_eq!(blobs.read(digest).await?.as_deref(), Some(&b"an artifact"[..]));
//! assert!(store.open_deployments().await?.is_empty());
//! store.close().await;
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # tokio::runtime::Runtime::new().unwrap().block_on(example(folder.path())).unwrap();
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod blobs;
mod catalogue;
mod environment_journal;
mod journal;
mod sqlite;

pub use blobs::{Blob, Blobs, StoredBlob};
pub use catalogue::{
    BackendRecord, BackendSecret, Catalogue, CatalogueError, ModuleRecord, NodeRecord,
    StrategyRecord,
};
pub use environment_journal::{
    AppendToEnvironmentError, Decided, Decision, EnvironmentAppend, EnvironmentAppended,
    EnvironmentEntry, EnvironmentJournal, PastDecision, PastPlace,
};
pub use journal::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    NewSnapshot, Page, Query, ReadError, Snapshot, Usage,
};
pub use sqlite::{Error, Options, Sqlite};
