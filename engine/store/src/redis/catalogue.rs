//! [`Catalogue`] for [`Redis`].

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{ModuleName, NodeId, StrategyName};
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, script};
use crate::EngineMessages;
use crate::catalogue::{
    BackendRecord, Catalogue, CatalogueError, ModuleRecord, NodeRecord, StrategyRecord,
};
use crate::unreadable_records::{Listed, UnreadableRecord};

#[async_trait]
impl Catalogue for Redis {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        let args = Args::new()
            .text("put")
            .text(record.module.name.as_str())
            .text(record.module.version.to_string());
        let args = args.bytes(encode("a module", &record)?);
        let stored = self.inner.commands.write(&script::MODULES, args).await?;
        Ok(decode("a module", stored.bytes(0)?)?)
    }

    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        let (hash, field) = (format!("module:{name}"), version.to_string());
        Ok(self.find("module", &hash, &field).await?)
    }

    async fn modules(
        &self,
        name: Option<&ModuleName>,
    ) -> Result<Vec<ModuleRecord>, CatalogueError> {
        let mut found = self.report(self.list_modules(name).await?);
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

    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        let args = Args::new()
            .text("put")
            .text(record.name.as_str())
            .text(revision(&record))
            .optional(replaces.map(revision))
            .bytes(encode("a strategy", &record)?);
        let put = self.inner.commands.write(&script::STRATEGIES, args).await?;
        Ok(put.word()? == "put")
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        Ok(self.find("strategy", "strategies", name.as_str()).await?)
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        let found = self
            .list::<StrategyRecord>("strategy", "strategies")
            .await?;
        let mut found = self.report(found);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError> {
        let args = Args::new()
            .text("delete")
            .text(record.name.as_str())
            .text(revision(record));
        let deleted = self.inner.commands.write(&script::STRATEGIES, args).await?;
        Ok(deleted.word()? == "removed")
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        let stored = encode("a backend", &record)?;
        Ok(self.put("backends", record.name.as_str(), stored).await?)
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        let found = self.list::<BackendRecord>("backend", "backends").await?;
        let mut found = self.report(found);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        Ok(self.remove("backends", name.as_str()).await?)
    }

    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError> {
        let replaces = replaces.and_then(|replaces| replaces.instance.as_ref());
        let mut unreadable = Vec::new();
        loop {
            let args = Args::new()
                .text(record.id.as_str())
                .optional(record.instance.as_ref())
                .optional(replaces)
                .bytes(encode("a node", &record)?)
                .bytes(unreadable.clone());
            let stored = self.inner.commands.write(&script::PUT_NODE, args).await?;
            let stored = stored.bytes(0)?;
            match decode("a node", stored) {
                // It gives way, as one that is no JSON. Another engine may have replaced it by now.
                Err(_) if stored != unreadable => unreadable = stored.to_vec(),
                decoded => return Ok(decoded?),
            }
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        let found = self.list::<NodeRecord>("node", "nodes").await?;
        let mut found = self.report(found);
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        Ok(self.remove("nodes", id.as_str()).await?)
    }

    async fn unreadable_records(&self) -> Result<Vec<UnreadableRecord>, CatalogueError> {
        let mut found = self.list_modules(None).await?.unreadable;
        let strategies = self
            .list::<StrategyRecord>("strategy", "strategies")
            .await?;
        found.extend(strategies.unreadable);
        let backends = self.list::<BackendRecord>("backend", "backends").await?;
        found.extend(backends.unreadable);
        let nodes = self.list::<NodeRecord>("node", "nodes").await?;
        found.extend(nodes.unreadable);
        Ok(found)
    }

    fn node_reports(&self) -> Option<Arc<dyn EngineMessages>> {
        Some(Arc::clone(&self.inner.channels.node_reports) as Arc<dyn EngineMessages>)
    }

    fn soak_progress(&self) -> Option<Arc<dyn EngineMessages>> {
        Some(Arc::clone(&self.inner.channels.soaks) as Arc<dyn EngineMessages>)
    }

    fn metric_samples(&self) -> Option<Arc<dyn EngineMessages>> {
        Some(Arc::clone(&self.inner.channels.samples) as Arc<dyn EngineMessages>)
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

    /// `None` where there is none, or it cannot be read.
    async fn find<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        hash: &str,
        field: &str,
    ) -> Result<Option<T>, Error> {
        let args = Args::new().text(hash).text(field);
        let found = self.inner.commands.read(&script::LOOKUP, args).await?;
        let mut listed = Listed::new();
        if let Some(bytes) = Reply::single(found)? {
            listed.add(kind, || field.to_owned(), serde_json::from_slice(&bytes));
        }
        Ok(self.report(listed).pop())
    }

    async fn list<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        hash: &str,
    ) -> Result<Listed<T>, Error> {
        let args = Args::new().text(hash);
        let found = self.inner.commands.read_list(&script::VALUES, args).await?;
        decode_all(kind, &found)
    }

    async fn list_modules(&self, name: Option<&ModuleName>) -> Result<Listed<ModuleRecord>, Error> {
        let args = Args::new().text("list").optional(name);
        let found = self.inner.commands.read_list(&script::MODULES, args);
        decode_all("module", &found.await?)
    }

    /// The records that can be read. Reports the others.
    fn report<T>(&self, listed: Listed<T>) -> Vec<T> {
        self.inner.unreadable.report(&listed.unreadable);
        listed.records
    }
}

/// By what the records of a strategy differ, as `lua/strategies.lua` has it.
fn revision(record: &StrategyRecord) -> String {
    let built_in = if record.built_in { " built in" } else { "" };
    format!("{}{built_in}", record.digest)
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

/// Decodes names and their records.
fn decode_all<T: DeserializeOwned>(kind: &'static str, found: &Reply) -> Result<Listed<T>, Error> {
    let mut listed = Listed::new();
    for index in (0..found.len()).step_by(2) {
        let key = || String::from_utf8_lossy(found.bytes(index).unwrap_or_default()).into_owned();
        listed.add(kind, key, serde_json::from_slice(found.bytes(index + 1)?));
    }
    Ok(listed)
}
