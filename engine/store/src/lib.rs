//! The engine's durable state: the journals of deployments ([`Journal`]), the catalogue of
//! modules, strategies and nodes ([`Catalogue`]), and the bytes of artifacts ([`Blobs`]).
//!
//! [`Sqlite`] is the store of a single-process engine: one file, no server to run. [`Redis`] is
//! the store of any number of engines, on a server of Redis or Valkey. [`Memory`] is for tests: it
//! keeps nothing.
//!
//! # What is shared, and what is local
//! Everything that [`Journal`], [`EnvironmentJournal`] and [`Catalogue`] return is shared by all
//! engines on a store, in one order. Once the store has confirmed a write to one engine, the others
//! read it, and their subscribers are notified of it. Local are the handle itself, the queue of
//! each subscriber, the [`Session`] of the engine, and the folder of [`Blobs`], which
//! is a cache where artifacts are in the shared store or in a [`Bucket`].
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
pub mod bucket;
mod catalogue;
mod engine_messages;
mod environment_journal;
mod journal;
mod lifecycle_memo;
mod memory;
pub mod metrics;
pub mod redis;
mod session;
mod sqlite;
mod stored_event;
mod supersede;
pub mod transfer;
mod unreadable_records;

pub use blobs::{Blob, Blobs, StoredBlob};
pub use bucket::{Bucket, BucketConfig};
pub use catalogue::{
    BackendRecord, BackendSecret, Catalogue, CatalogueError, ModuleRecord, NodeRecord,
    StrategyRecord,
};
pub use engine_messages::EngineMessages;
pub use environment_journal::{
    AppendToEnvironmentError, Decided, Decision, EnvironmentAppend, EnvironmentAppended,
    EnvironmentEntry, EnvironmentJournal, PastDecision, PastPlace,
};
pub use journal::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    LeaseError, NewSnapshot, Page, Query, ReadError, Snapshot, Usage,
};
pub use memory::Memory;
pub use redis::{Redis, RedisConfig};
pub use session::{LivingEngine, Session, UndrivenDeployment};
pub use sqlite::{Error, Options, Sqlite};
pub use unreadable_records::UnreadableRecord;
