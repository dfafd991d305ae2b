//! What a node keeps on disk: a record for each module, artifacts, and compiled code.

mod artifact_store;
mod compiled_cache;
mod record;
mod record_store;

pub(crate) use artifact_store::{ArtifactPin, ArtifactStore, Error as ArtifactError};
pub(crate) use compiled_cache::{CompiledCache, CompiledComponent};
pub(crate) use record::{ModuleRecord, OperationLookup};
pub(crate) use record_store::{DamagedRecord, RecordStore};
