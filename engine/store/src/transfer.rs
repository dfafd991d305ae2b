//! Moving the whole state between stores, of the same kind or of different ones, while no engine
//! runs.
//!
//! An archive is a file of records, in an order and a form that are the same for every
//! store. So two stores hold the same exactly if their archives have the same digest.
//!
//! # What is not in an archive
//! - The epoch. An import begins a new one, so that clients of live feeds start over.
//! - Sessions and leases of engines: nobody holds any while nothing runs. Fences are in it.
//! - Snapshots. The engine makes them again from the events.

mod archive;
mod error;
mod export;
mod record;

use async_trait::async_trait;

use crate::{Catalogue, CatalogueError};

pub use archive::{Archive, ArchiveReader, FORMAT};
pub use error::Error;
pub use export::export;
pub use record::{Entry, Record, RequestKey, StoredDeployment};

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The SHA-256 of the records. The same for all stores that hold the same.
    pub digest: hotswap_core::Digest,
    /// Number of deployments.
    pub deployments: u64,
    /// Number of events of deployments and environments.
    pub events: u64,
    /// Number of artifacts and components.
    pub artifacts: u64,
}

/// Reads everything that a store holds, beside the [`Catalogue`]. Nothing may change meanwhile.
///
/// # Errors
/// Every method fails only if the store fails.
#[async_trait]
pub trait Contents: Catalogue {
    /// Describes the state of the store in a word that changes with every change of the journals,
    /// and with every engine that begins to use the store.
    ///
    /// # Errors
    /// If another engine uses the store, besides.
    async fn standstill(&self) -> Result<String, CatalogueError>;

    /// The last position, the highest one that was deleted, and the last fence, as
    /// [`Record::Store`].
    async fn store_record(&self) -> Result<Record, CatalogueError>;

    /// What is known of environments beside their journals: [`Record::Environment`],
    /// [`Record::Retirement`], [`Record::Cordon`], [`Record::Arrival`] and [`Record::Policy`], in no
    /// order.
    async fn environment_records(&self) -> Result<Vec<Record>, CatalogueError>;

    /// At most `limit` deployments with a number above `number`, in the order of their numbers.
    /// Empty at the end.
    async fn deployments_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Record>, CatalogueError>;

    /// At most `limit` events of deployments above a position, in the order of their positions.
    /// Empty at the end.
    async fn deployment_events_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError>;

    /// The same for the events of environments.
    async fn environment_entries_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError>;
}
