//! [`Catalogue`] for [`Memory`].

use async_trait::async_trait;
use hotswap_core::{ModuleName, NodeId, StrategyName};
use semver::Version;

use super::Memory;
use crate::catalogue::{
    BackendRecord, Catalogue, CatalogueError, ModuleRecord, NodeRecord, StrategyRecord,
};

#[async_trait]
impl Catalogue for Memory {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        let key = (record.module.name.clone(), record.module.version.clone());
        let mut state = self.state();
        Ok(state.modules.entry(key).or_insert(record).clone())
    }

    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        let key = (name.clone(), version.clone());
        Ok(self.state().modules.get(&key).cloned())
    }

    async fn modules(
        &self,
        name: Option<&ModuleName>,
    ) -> Result<Vec<ModuleRecord>, CatalogueError> {
        let state = self.state();
        let found = state.modules.values();
        let found = found.filter(|one| name.is_none_or(|name| *name == one.module.name));
        let mut found: Vec<_> = found.cloned().collect();
        ModuleRecord::sort(&mut found);
        Ok(found)
    }

    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError> {
        let key = (name.clone(), version.clone());
        Ok(self.state().modules.remove(&key).is_some())
    }

    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        let mut state = self.state();
        let is_expected = match (state.strategies.get(&record.name), replaces) {
            (None, None) => true,
            (Some(stored), Some(replaces)) if stored.is_same(replaces) => true,
            (Some(stored), _) => stored.is_same(&record),
            (None, Some(_)) => false,
        };
        if is_expected {
            state.strategies.insert(record.name.clone(), record);
        }
        Ok(is_expected)
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        Ok(self.state().strategies.get(name).cloned())
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        Ok(self.state().strategies.values().cloned().collect())
    }

    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError> {
        let mut state = self.state();
        let stored = state.strategies.get(&record.name);
        if !stored.is_some_and(|stored| stored.is_same(record)) {
            return Ok(false);
        }
        Ok(state.strategies.remove(&record.name).is_some())
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        let name = record.name.clone();
        self.state().backends.insert(name, record);
        Ok(())
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        Ok(self.state().backends.values().cloned().collect())
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        Ok(self.state().backends.remove(name).is_some())
    }

    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError> {
        let mut state = self.state();
        let other = state.nodes.get(&record.id);
        if let Some(other) = other.filter(|other| !other.gives_way(&record, replaces)) {
            return Ok(other.clone());
        }
        state.nodes.insert(record.id.clone(), record.clone());
        Ok(record)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        Ok(self.state().nodes.values().cloned().collect())
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        Ok(self.state().nodes.remove(id).is_some())
    }
}
