//! The [`Catalogue`] trait: the contract of every store, and its records. As JSON, the records are
//! what lies on a server of Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Digest, Environment, ModuleName, ModuleVersion, NodeId, NodeLabels, StrategyName, Timestamp,
};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{EngineMessages, UnreadableRecord};

/// The error of the store below. Boxed because every store has its own error type.
pub type CatalogueError = Box<dyn std::error::Error + Send + Sync>;

/// The known modules, strategies, discovery backends and nodes: the contract of every store.
///
/// Every implementation passes the suite in `tests/suite`.
///
/// # Guarantees
/// - A change is durable once its method returns `Ok`, as far as the store's medium is: see
///   [`Journal`](crate::Journal). A crash during the call leaves the old record or the new one,
///   never a part.
/// - Every method may be cancelled. A cancelled change has happened whole or not at all; all
///   changes are safe to repeat.
/// - Reads see everything that was acknowledged before they began.
/// - A record that cannot be read is left out of lists, as if there were none, and logged once.
///   What the caller deletes because no record names it, it must not delete while there are
///   [unreadable records](Self::unreadable_records).
///
/// # Errors
/// Every method fails only if the store fails. Whether a change happened is then unknown.
#[async_trait]
pub trait Catalogue: Send + Sync + 'static {
    /// Records a version of a module. A record is never replaced, only deleted.
    ///
    /// Returns the record that is stored under this name and version. It differs from `record`
    /// if another one was stored first; compare the digests to detect that.
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError>;
    /// Returns one version of a module, or `None` if there is no such version, or its record cannot
    /// be read.
    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError>;
    /// Lists all versions of one module, or of all modules, sorted by name, then by version
    /// (SemVer precedence), newest first.
    async fn modules(&self, name: Option<&ModuleName>)
    -> Result<Vec<ModuleRecord>, CatalogueError>;
    /// Deletes a version of a module; its artifact stays in the blobs. Returns whether there was
    /// a record.
    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError>;

    /// Records a strategy in the place of `replaces`, the record of its name that the caller has
    /// read; `None` if there was none. The replaced component stays in the blobs, for the
    /// deployments that pinned its digest.
    ///
    /// Returns whether it is recorded: `false`, and nothing has changed, if the name has another
    /// record by now, or none. Read it again then. Only [digest](StrategyRecord::digest) and
    /// [`built_in`](StrategyRecord::built_in) are compared. If `record` is there already, as
    /// after a first attempt, it is recorded.
    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError>;
    /// Returns the current strategy of this name, or `None` if there is none.
    async fn strategy(&self, name: &StrategyName)
    -> Result<Option<StrategyRecord>, CatalogueError>;
    /// Lists the current strategies, sorted by name.
    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError>;
    /// Deletes the record of a strategy that the caller has read; its component stays in the
    /// blobs. Returns whether it did: not if the name has another record by now, or none. Compares
    /// as [`put_strategy`](Self::put_strategy).
    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError>;

    /// Records a discovery backend. Replaces the record of the same name. The replaced component
    /// stays in the blobs.
    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError>;
    /// Lists the uploaded discovery backends, sorted by name.
    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError>;
    /// Deletes the record of a discovery backend; its component stays in the blobs. Returns
    /// whether there was a record.
    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError>;

    /// Records a node, unless another one has its id: a record with another
    /// [`instance`](NodeRecord::instance) than `record` and `replaces`, the record of its id that
    /// the caller has read. So of two nodes that register at once with two engines, one gets the
    /// id.
    ///
    /// Returns the stored record: `record`, or the record of the other node.
    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError>;
    /// Lists all nodes, sorted by id.
    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError>;
    /// Deletes a node. Returns whether it was recorded.
    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError>;

    /// The records that cannot be read. A module's can be deleted; a node's is replaced once the
    /// node registers again, and a strategy's once it is recorded again.
    async fn unreadable_records(&self) -> Result<Vec<UnreadableRecord>, CatalogueError> {
        Ok(Vec::new())
    }

    /// Passes on what nodes report, where several engines share the store.
    fn node_reports(&self) -> Option<Arc<dyn EngineMessages>> {
        None
    }

    /// Passes on what the judge thinks of soaks that are under way, where several engines share
    /// the store.
    fn soak_progress(&self) -> Option<Arc<dyn EngineMessages>> {
        None
    }

    /// Passes on the metrics of nodes for live subscribers, where several engines share the store.
    fn metric_samples(&self) -> Option<Arc<dyn EngineMessages>> {
        None
    }
}

/// A version of a module that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleRecord {
    /// Name, version and digest.
    pub module: ModuleVersion,
    /// Size of the artifact, in bytes.
    pub size: u64,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// Who uploaded it.
    pub uploaded_by: String,
}

/// A strategy that was uploaded, or is built in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRecord {
    /// The name that deployments use.
    pub name: StrategyName,
    /// The version that the component declares.
    pub version: String,
    /// One sentence, for lists.
    pub summary: String,
    /// JSON Schema (2020-12) of its configuration.
    pub config_schema: serde_json::Value,
    /// Digest of the component, which is stored in the blobs.
    pub digest: Digest,
    /// The version of the WIT contract that the component was built for.
    pub wit: Version,
    /// Whether it came with the engine. A built-in strategy cannot be deleted or replaced.
    pub built_in: bool,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// Who uploaded it.
    pub uploaded_by: String,
}

/// A discovery backend that was uploaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRecord {
    /// The name that it declares, which sources can use. The rules are those for strategies.
    pub name: StrategyName,
    /// The version that the component declares.
    pub version: String,
    /// One sentence, for lists.
    pub summary: String,
    /// JSON Schema (2020-12) of its settings.
    pub config_schema: serde_json::Value,
    /// Whether instances can be registered through it.
    pub can_register: bool,
    /// The secrets that it can be given, and where in its requests the engine puts them.
    pub secrets: Vec<BackendSecret>,
    /// Digest of the component, which is stored in the blobs.
    pub digest: Digest,
    /// The version of the WIT contract that the component was built for.
    pub wit: Version,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// Who uploaded it.
    pub uploaded_by: String,
}

/// A secret of a discovery backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSecret {
    /// Its name in the configuration.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// Where the engine puts it: `header authorization`, or `bodies to /v3/auth/authenticate`.
    pub place: String,
}

/// A node that has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// The node's name.
    pub id: NodeId,
    /// The environment that the node belongs to.
    pub environment: Environment,
    /// Where the node stands, if its operator configured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels that its operator configured.
    pub labels: BTreeMap<String, String>,
    /// Address of its control API, which takes orders: `http://host:port`.
    pub control_url: String,
    /// Address where it serves requests: `http://host:port` or `https://host:port`.
    pub data_url: String,
    /// Key of its data folder. It distinguishes a restarted node from another one with its id.
    /// `None` if it has not reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When it registered first.
    pub registered_at: Timestamp,
}

impl ModuleRecord {
    /// Sorts by name, then by version (SemVer precedence), newest first.
    pub(crate) fn sort(records: &mut [Self]) {
        records.sort_by(|one, other| {
            let (one, other) = (&one.module, &other.module);
            let by_name = one.name.cmp(&other.name);
            by_name.then_with(|| other.version.cmp(&one.version))
        });
    }
}

impl StrategyRecord {
    /// Whether the other is the same component, with the same rights.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.built_in == other.built_in
    }
}

impl NodeRecord {
    /// Whether this record gives way to `record`, for a caller that knows of `replaces`. One
    /// without a key does: its node cannot be told from others.
    pub(crate) fn gives_way(&self, record: &Self, replaces: Option<&Self>) -> bool {
        let is = |other: &Self| other.instance == self.instance;
        self.instance.is_none() || is(record) || replaces.is_some_and(is)
    }

    /// Its labels, as selectors see them.
    pub fn labels(&self) -> NodeLabels<'_> {
        NodeLabels::new(self.zone.as_deref(), &self.labels)
    }
}
