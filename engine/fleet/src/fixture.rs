//! Fixtures of this crate's tests: a clock that tests advance, and a catalogue in memory.

use std::collections::BTreeMap;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{Clock, ModuleName, NodeId, StrategyName, Timestamp};
use hotswap_protocol::Registration;
use hotswap_store::{
    BackendRecord, Catalogue, CatalogueError, EngineMessages, ModuleRecord, NodeRecord,
    StrategyRecord,
};
use semver::Version;

/// A clock whose wall-clock and monotonic clock tests set independently.
pub(crate) struct ManualClock {
    wall_millis: AtomicI64,
    started: Instant,
    span: Mutex<Duration>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            wall_millis: AtomicI64::new(1_000_000_000),
            started: Instant::now(),
            span: Mutex::default(),
        }
    }
}

impl ManualClock {
    /// Lets time pass on both clocks.
    pub(crate) fn advance(&self, span: Duration) {
        *self.span.lock().expect("not poisoned") += span;
        let millis = i64::try_from(span.as_millis()).expect("a short span");
        self.wall_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the wall-clock forward or back.
    pub(crate) fn step(&self, seconds: i64) {
        self.wall_millis
            .fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_millis.load(Ordering::Relaxed) as u64)
    }

    fn instant(&self) -> Instant {
        self.started + *self.span.lock().expect("not poisoned")
    }

    /// Never wakes: tests call what would run then.
    async fn sleep_until(&self, _: Instant) {
        std::future::pending().await
    }
}

/// A catalogue of nodes in memory. Tests can make it fail and count its writes.
#[derive(Default)]
pub(crate) struct MemoryCatalogue {
    nodes: Mutex<BTreeMap<NodeId, NodeRecord>>,
    pub(crate) fails: AtomicBool,
    pub(crate) writes: AtomicUsize,
    reports: Mutex<Option<Arc<dyn EngineMessages>>>,
    /// The next list of nodes waits here twice after it was read.
    pub(crate) held_read: Mutex<Option<Arc<tokio::sync::Barrier>>>,
}

impl MemoryCatalogue {
    /// Registries that are loaded from now on share what nodes report.
    pub(crate) fn share_reports(&self, reports: Arc<dyn EngineMessages>) {
        *self.reports.lock().expect("not poisoned") = Some(reports);
    }

    fn check(&self) -> Result<(), CatalogueError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err("the disk is full".into());
        }
        Ok(())
    }
}

#[async_trait]
impl Catalogue for MemoryCatalogue {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        Ok(record)
    }

    async fn module(
        &self,
        _: &ModuleName,
        _: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        Ok(None)
    }

    async fn modules(&self, _: Option<&ModuleName>) -> Result<Vec<ModuleRecord>, CatalogueError> {
        Ok(Vec::new())
    }

    async fn delete_module(&self, _: &ModuleName, _: &Version) -> Result<bool, CatalogueError> {
        Ok(false)
    }

    async fn put_strategy(
        &self,
        _: StrategyRecord,
        _: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        Ok(true)
    }

    async fn strategy(&self, _: &StrategyName) -> Result<Option<StrategyRecord>, CatalogueError> {
        Ok(None)
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        Ok(Vec::new())
    }

    async fn delete_strategy(&self, _: &StrategyRecord) -> Result<bool, CatalogueError> {
        Ok(false)
    }

    async fn put_backend(&self, _: BackendRecord) -> Result<(), CatalogueError> {
        Ok(())
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        Ok(Vec::new())
    }

    async fn delete_backend(&self, _: &StrategyName) -> Result<bool, CatalogueError> {
        Ok(false)
    }

    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError> {
        self.check()?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut nodes = self.nodes.lock().expect("not poisoned");
        let may_replace = |other: &NodeRecord| {
            let key = &other.instance;
            let known = replaces.map(|replaces| &replaces.instance);
            key.is_none() || *key == record.instance || known == Some(key)
        };
        match nodes.get(&record.id) {
            Some(other) if !may_replace(other) => Ok(other.clone()),
            _ => {
                nodes.insert(record.id.clone(), record.clone());
                Ok(record)
            }
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        self.check()?;
        let found = {
            let nodes = self.nodes.lock().expect("not poisoned");
            nodes.values().cloned().collect()
        };
        let held = self.held_read.lock().expect("not poisoned").take();
        if let Some(held) = held {
            held.wait().await;
            held.wait().await;
        }
        Ok(found)
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        self.check()?;
        let mut nodes = self.nodes.lock().expect("not poisoned");
        Ok(nodes.remove(id).is_some())
    }

    fn node_reports(&self) -> Option<Arc<dyn EngineMessages>> {
        self.reports.lock().expect("not poisoned").clone()
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

pub(crate) fn registration(environment: &str, control_url: &str) -> Registration {
    Registration {
        environment: Some(environment.to_owned()),
        zone: Some("rack 7".to_owned()),
        labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
        control_url: control_url.to_owned(),
        data_url: "http://127.0.0.1:9".to_owned(),
        highest_fence: 0,
        boot: None,
        instance: None,
        modules: None,
    }
}
