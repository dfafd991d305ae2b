//! [`Catalogue`] for [`Redis`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Digest, Environment, ModuleName, ModuleVersion, NodeId, StrategyName, Timestamp,
};
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, script};
use crate::NodeReports;
use crate::catalogue::{
    BackendRecord, BackendSecret, Catalogue, CatalogueError, ModuleRecord, NodeRecord,
    StrategyRecord,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredModule {
    module: ModuleVersion,
    size: u64,
    uploaded_at: Timestamp,
    uploaded_by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredStrategy {
    name: StrategyName,
    version: String,
    summary: String,
    config_schema: serde_json::Value,
    digest: Digest,
    wit: Version,
    built_in: bool,
    uploaded_at: Timestamp,
    uploaded_by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredNode {
    id: NodeId,
    environment: Environment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    labels: BTreeMap<String, String>,
    control_url: String,
    data_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    registered_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredBackend {
    name: StrategyName,
    version: String,
    summary: String,
    config_schema: serde_json::Value,
    can_register: bool,
    secrets: Vec<BackendSecret>,
    digest: Digest,
    wit: Version,
    uploaded_at: Timestamp,
    uploaded_by: String,
}

/// Two types with the same fields.
macro_rules! same_fields {
    ($one:ident, $other:ident: $($field:ident),*) => {
        impl From<$one> for $other {
            fn from(from: $one) -> Self {
                Self { $($field: from.$field),* }
            }
        }

        impl From<$other> for $one {
            fn from(from: $other) -> Self {
                Self { $($field: from.$field),* }
            }
        }
    };
}

same_fields!(ModuleRecord, StoredModule: module, size, uploaded_at, uploaded_by);
same_fields!(StrategyRecord, StoredStrategy: name, version, summary, config_schema, digest, wit,
    built_in, uploaded_at, uploaded_by);
same_fields!(BackendRecord, StoredBackend: name, version, summary, config_schema, can_register,
    secrets, digest, wit, uploaded_at, uploaded_by);
same_fields!(NodeRecord, StoredNode: id, environment, zone, labels, control_url, data_url,
    instance, registered_at);

#[async_trait]
impl Catalogue for Redis {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        let args = Args::new()
            .text("put")
            .text(record.module.name.as_str())
            .text(record.module.version.to_string());
        let args = args.bytes(encode("a module", &StoredModule::from(record))?);
        let stored = self.inner.commands.write(&script::MODULES, args).await?;
        Ok(decode::<StoredModule>("a module", stored.bytes(0)?)?.into())
    }

    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        let (hash, field) = (format!("module:{name}"), version.to_string());
        let found: Option<StoredModule> = self.find(&hash, &field).await?;
        Ok(found.map(ModuleRecord::from))
    }

    async fn modules(
        &self,
        name: Option<&ModuleName>,
    ) -> Result<Vec<ModuleRecord>, CatalogueError> {
        let args = Args::new().text("list").optional(name);
        let found = self
            .inner
            .commands
            .read_list(&script::MODULES, args)
            .await?;
        let mut found: Vec<ModuleRecord> = decode_all::<StoredModule, _>("a module", &found)?;
        ModuleRecord::sort(&mut found);
        Ok(found)
    }

    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError> {
        let args = Args::new()
            .text("delete")
            .text(name.as_str())
            .text(version.to_string());
        let deleted = self.inner.commands.write(&script::MODULES, args).await?;
        Ok(deleted.word()? == "removed")
    }

    async fn put_strategy(&self, record: StrategyRecord) -> Result<(), CatalogueError> {
        let name = record.name.clone();
        let stored = encode("a strategy", &StoredStrategy::from(record))?;
        Ok(self.put("strategies", name.as_str(), stored).await?)
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        let found: Option<StoredStrategy> = self.find("strategies", name.as_str()).await?;
        Ok(found.map(StrategyRecord::from))
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        let found = self.values("strategies").await?;
        let mut found = decode_all::<StoredStrategy, StrategyRecord>("a strategy", &found)?;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    async fn delete_strategy(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        Ok(self.remove("strategies", name.as_str()).await?)
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        let name = record.name.clone();
        let stored = encode("a backend", &StoredBackend::from(record))?;
        Ok(self.put("backends", name.as_str(), stored).await?)
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        let found = self.values("backends").await?;
        let mut found = decode_all::<StoredBackend, BackendRecord>("a backend", &found)?;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        Ok(self.remove("backends", name.as_str()).await?)
    }

    async fn put_node(&self, record: NodeRecord) -> Result<(), CatalogueError> {
        let id = record.id.clone();
        let stored = encode("a node", &StoredNode::from(record))?;
        Ok(self.put("nodes", id.as_str(), stored).await?)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        let found = self.values("nodes").await?;
        let mut found = decode_all::<StoredNode, NodeRecord>("a node", &found)?;
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        Ok(self.remove("nodes", id.as_str()).await?)
    }

    fn node_reports(&self) -> Option<Arc<dyn NodeReports>> {
        Some(Arc::clone(&self.inner.channel) as Arc<dyn NodeReports>)
    }
}

impl Redis {
    async fn put(&self, hash: &str, field: &str, value: Vec<u8>) -> Result<(), Error> {
        let args = Args::new().text(hash).text(field).bytes(value);
        self.inner.commands.write(&script::PUT, args).await?;
        Ok(())
    }

    async fn remove(&self, hash: &str, field: &str) -> Result<bool, Error> {
        let args = Args::new().text(hash).text(field);
        let removed = self.inner.commands.write(&script::REMOVE, args).await?;
        Ok(removed.word()? == "removed")
    }

    async fn find<T: DeserializeOwned>(&self, hash: &str, field: &str) -> Result<Option<T>, Error> {
        let args = Args::new().text(hash).text(field);
        let found = self.inner.commands.read(&script::LOOKUP, args).await?;
        let found = Reply::single(found)?;
        found.map(|bytes| decode("a record", &bytes)).transpose()
    }

    async fn values(&self, hash: &str) -> Result<Reply, Error> {
        let args = Args::new().text(hash);
        self.inner.commands.read_list(&script::VALUES, args).await
    }
}

fn encode(what: &'static str, record: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(record).map_err(|source| Error::Encode { what, source })
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode {
        what,
        source: Box::new(source),
    })
}

fn decode_all<T: DeserializeOwned, U: From<T>>(
    what: &'static str,
    found: &Reply,
) -> Result<Vec<U>, Error> {
    let records = (0..found.len()).map(|index| decode::<T>(what, found.bytes(index)?));
    records.map(|record| record.map(U::from)).collect()
}
