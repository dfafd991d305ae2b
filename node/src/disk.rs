//! What a node keeps on disk: a record for each module, and artifacts. Compiled code is kept by
//! [`hotswap_wasm`].

mod artifact_error;
mod artifact_fetch;
mod artifact_store;
mod instance_key;
mod partial_artifact;
mod record;
mod record_store;
mod serving_times;
mod start_record;

pub(crate) use artifact_error::Error as ArtifactError;
pub(crate) use artifact_store::{ArtifactPin, ArtifactStore};
pub(crate) use instance_key::read_or_create as read_instance_key;
pub(crate) use record::{ModuleRecord, OperationLookup};
pub(crate) use record_store::{DamagedRecord, RecordStore};
pub(crate) use serving_times::Moment;
pub(crate) use start_record::StartRecord;
