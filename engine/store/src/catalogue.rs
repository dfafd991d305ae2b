use std::collections::BTreeMap;

use async_trait::async_trait;
use hotswap_core::{
    Digest, Environment, ModuleName, ModuleVersion, NodeId, StrategyName, Timestamp,
};
use semver::Version;

/// Boxed so that every store can tell its own story.
pub type CatalogueError = Box<dyn std::error::Error + Send + Sync>;

/// What modules, strategies and nodes there are. Every change is durable once its
/// method returns.
#[async_trait]
pub trait Catalogue: Send + Sync + 'static {
    /// Records a version of a module, for good. Returns what is recorded under its name
    /// and version: something else than `record` where one with another digest came first.
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError>;
    /// One version of a module.
    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError>;
    /// All versions of one module, or of all; sorted by name, then by version, newest first.
    async fn modules(&self, name: Option<&ModuleName>)
    -> Result<Vec<ModuleRecord>, CatalogueError>;

    /// Records a strategy; it takes the place of one of the same name, whose component
    /// stays readable by digest for the deployments that began with it.
    async fn put_strategy(&self, record: StrategyRecord) -> Result<(), CatalogueError>;
    /// The strategy that a name stands for now.
    async fn strategy(&self, name: &StrategyName)
    -> Result<Option<StrategyRecord>, CatalogueError>;
    /// All strategies that a name stands for now, sorted by name.
    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError>;
    /// Lets a name stand for nothing. Returns whether it stood for something.
    async fn delete_strategy(&self, name: &StrategyName) -> Result<bool, CatalogueError>;

    /// Records a node, or what has changed of it.
    async fn put_node(&self, record: NodeRecord) -> Result<(), CatalogueError>;
    /// All nodes, sorted by id.
    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError>;
    /// Forgets a node. Returns whether it was known.
    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError>;
}

/// A version of a module that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRecord {
    /// Name, version, digest.
    pub module: ModuleVersion,
    /// Of the artifact, in bytes.
    pub size: u64,
    /// When.
    pub uploaded_at: Timestamp,
    /// By whom.
    pub uploaded_by: String,
}

/// A strategy that was uploaded, or is built in.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyRecord {
    /// Its name.
    pub name: StrategyName,
    /// The version that it says of itself.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema (2020-12) of its configuration.
    pub config_schema: serde_json::Value,
    /// Of the component, which the blobs hold.
    pub digest: Digest,
    /// The version of the contract that it was built for.
    pub wit: Version,
    /// Whether it came with the engine: such a one cannot be deleted or replaced.
    pub built_in: bool,
    /// When.
    pub uploaded_at: Timestamp,
    /// By whom.
    pub uploaded_by: String,
}

/// A node that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub id: NodeId,
    /// Which environment it belongs to.
    pub environment: Environment,
    /// Where it stands, if it says so.
    pub zone: Option<String>,
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// Where it takes orders: `http://host:port`.
    pub control_url: String,
    /// Where it answers requests: `http://host:port`.
    pub data_url: String,
    /// When it registered first.
    pub registered_at: Timestamp,
}
