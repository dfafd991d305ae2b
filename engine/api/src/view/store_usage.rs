use hotswap_runner::DiskUsage;
use poem_openapi::Object;

/// What takes room on the engine's disk.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StoreUsage {
    /// The number of deployments that have not ended.
    pub open_deployments: u64,
    /// The number of deployments that have ended and are kept.
    pub ended_deployments: u64,
    /// The journals and the catalogue, with the write-ahead log, in bytes.
    pub database_bytes: u64,
    /// The part of the database that deletions have freed and that is used again, in bytes. The
    /// file does not shrink.
    pub reusable_bytes: u64,
    /// The artifacts of modules.
    pub artifacts: FileUsage,
    /// The components of strategies and of uploaded discovery backends.
    pub components: FileUsage,
    /// Files that no module and no strategy names. They are removed after a while, unless an open
    /// deployment needs them.
    pub others: FileUsage,
    /// The room that is kept so that running deployments can end on a full disk, in bytes.
    pub reserve_bytes: u64,
    /// The free room on the disk, in bytes.
    pub free_bytes: u64,
    /// Whether the disk is full: new deployments and uploads are refused.
    pub full: bool,
}

/// A number of files.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct FileUsage {
    /// How many there are.
    pub count: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

impl From<DiskUsage> for StoreUsage {
    fn from(usage: DiskUsage) -> Self {
        let store = usage.store;
        Self {
            open_deployments: store.open_deployments,
            ended_deployments: store.ended_deployments,
            database_bytes: store.database_bytes,
            reusable_bytes: store.reusable_bytes,
            artifacts: usage.artifacts.into(),
            components: usage.components.into(),
            others: usage.others.into(),
            reserve_bytes: store.reserve_bytes,
            free_bytes: store.free_bytes,
            full: usage.is_full,
        }
    }
}

impl From<hotswap_runner::Files> for FileUsage {
    fn from(files: hotswap_runner::Files) -> Self {
        let hotswap_runner::Files { count, bytes } = files;
        Self { count, bytes }
    }
}
