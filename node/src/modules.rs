use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hotswap_core::{Digest, ModuleName, ParseError};
use hotswap_protocol::{Action, OrderRequest, Version as VersionId};
use tokio_util::task::TaskTracker;

use crate::artifacts::{self, Artifacts};
use crate::compiled;
use crate::config::Limits;
use crate::counters::Counters;
use crate::record::{Damaged, Known, Record, Records};
use crate::runtime::Runtime;
use crate::slots::Misfit;
use crate::table::{Route, Table};
use crate::version::Version;

/// Versions of a module whose counters are told: those in slots and the latest before.
const COUNTED: usize = 16;

/// The modules of a node: carries out orders, keeps what they lead to on disk and then
/// shows it in the table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Modules(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Runtime,
    artifacts: Arc<Artifacts>,
    records: Records,
    limits: Limits,
    tasks: TaskTracker,
    table: ArcSwap<Table>,
    /// Orders for one module wait for each other; others do not.
    locks: Mutex<HashMap<ModuleName, Arc<tokio::sync::Mutex<()>>>>,
    /// Modules whose record was found damaged.
    damaged: Vec<ModuleName>,
}

/// Why an order was not carried out. Nothing has changed then, but for the highest
/// fence that was seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the order carries fence {given}, and fence {seen} was seen: another engine or a later deployment has taken over"
    )]
    Fenced { given: u64, seen: u64 },
    #[error("another order was carried out as operation {0}: give each order an id of its own")]
    Reused(String),
    #[error("'{0}' is no semantic version, as 1.2.3 is")]
    Version(String),
    #[error(transparent)]
    Digest(#[from] ParseError),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(transparent)]
    Artifact(#[from] artifacts::Error),
    #[error(transparent)]
    Load(#[from] compiled::Error),
    #[error("cannot keep the change on disk: is the node's data directory full or read-only?")]
    Keep(#[source] io::Error),
    #[error("the node is shutting down")]
    Interrupted,
}

impl Modules {
    /// The modules that the records name, none of them loaded yet: call
    /// [`Modules::restore`].
    ///
    /// # Errors
    /// Where the records cannot be read at all.
    pub(crate) fn new(
        runtime: Runtime,
        artifacts: Arc<Artifacts>,
        records: Records,
        limits: Limits,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        let mut table = Table::default();
        let mut damaged = Vec::new();
        for (module, record) in records.read()? {
            let record = record.unwrap_or_else(|damage: Damaged| {
                tracing::error!(error = chain(&damage), "a module starts empty");
                damaged.push(damage.module);
                Record::default()
            });
            let route = Route::default().with(record);
            table = table.with(module.as_str(), Arc::new(route));
        }
        Ok(Self(Arc::new(Shared {
            runtime,
            artifacts,
            records,
            limits,
            tasks,
            table: ArcSwap::from_pointee(table),
            locks: Mutex::default(),
            damaged,
        })))
    }

    /// Who answers which request now.
    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.0.table.load()
    }

    /// What is not as it should be, in a sentence; `None` where all is well.
    pub(crate) fn complaint(&self) -> Option<String> {
        let table = self.table();
        let mut modules: Vec<_> = table
            .iter()
            .filter(|(_, route)| !route.is_whole())
            .map(|(module, _)| format!("module {module} is not loaded"))
            .collect();
        modules.sort();
        let damaged = self.0.damaged.iter();
        modules.extend(damaged.map(|module| format!("the record of module {module} was damaged")));
        (!modules.is_empty()).then(|| modules.join("; "))
    }

    /// Carries out an order, once for each operation. When this returns, what it did is
    /// on disk, and requests go by it. An order that was begun is finished even if this
    /// is cancelled.
    pub(crate) async fn order(
        &self,
        module: ModuleName,
        operation: String,
        order: OrderRequest,
    ) -> Result<(), Error> {
        let this = self.clone();
        let work = async move { this.carry_out(&module, &operation, &order).await };
        match self.0.tasks.spawn(work).await {
            Ok(done) => done,
            Err(_) => Err(Error::Interrupted),
        }
    }

    async fn carry_out(
        &self,
        module: &ModuleName,
        operation: &str,
        order: &OrderRequest,
    ) -> Result<(), Error> {
        let lock = self.lock(module);
        let _alone = lock.lock().await;
        let route = self.route(module);
        let record = &route.record;
        if order.fence < record.fence {
            return Err(Error::Fenced {
                given: order.fence,
                seen: record.fence,
            });
        }
        match record.knows(operation, &order.action) {
            Known::Done => return self.raise(module, &route, order.fence).await,
            Known::Different => return Err(Error::Reused(operation.to_owned())),
            Known::New => {}
        }

        let began = std::time::Instant::now();
        match self.change(module, &route, operation, order).await {
            Ok(()) => {
                tracing::info!(%module, operation, action = ?order.action, took = ?began.elapsed(),
                    "order carried out");
                Ok(())
            }
            Err(error) => {
                // Whoever gave this order has taken over, whatever became of it.
                self.raise(module, &route, order.fence).await?;
                Err(error)
            }
        }
    }

    async fn change(
        &self,
        module: &ModuleName,
        route: &Route,
        operation: &str,
        order: &OrderRequest,
    ) -> Result<(), Error> {
        if let Some(version) = named(&order.action) {
            checked(version)?;
        }
        let slots = route.record.slots.next(&order.action)?;
        let record = route
            .record
            .done(operation, &order.action, order.fence, slots);
        let mut next = route.with(record);
        let _pins = self.load(module, route, &mut next).await?;
        self.publish(module, next).await?;
        if matches!(order.action, Action::Settle(_) | Action::Revert(_)) {
            self.collect().await;
        }
        Ok(())
    }

    /// Remembers a fence that is higher than those before.
    async fn raise(&self, module: &ModuleName, route: &Route, fence: u64) -> Result<(), Error> {
        if fence <= route.record.fence {
            return Ok(());
        }
        let next = route.with(route.record.raised(fence));
        self.publish(module, next).await
    }

    /// Loads what the slots of `next` name into it: from `route` where that has it. A pin
    /// is to be held until `next` is published.
    async fn load(
        &self,
        module: &ModuleName,
        route: &Route,
        next: &mut Route,
    ) -> Result<Vec<artifacts::Pin>, Error> {
        let slots = next.record.slots.clone();
        let mut pins = Vec::new();
        let mut loaded = Vec::new();
        for slot in [&slots.active, &slots.staged, &slots.previous] {
            let Some(id) = slot else {
                loaded.push(None);
                continue;
            };
            let held = route.loaded().find(|version| version.id() == id);
            let version = match held {
                Some(version) => version.clone(),
                None => {
                    let digest: Digest = id.digest.parse()?;
                    pins.push(self.0.artifacts.pin(digest));
                    let counters = counters(&mut next.counters, id);
                    self.load_version(module, id, digest, counters).await?
                }
            };
            loaded.push(Some(version));
        }
        next.previous = loaded.pop().flatten();
        next.staged = loaded.pop().flatten();
        next.active = loaded.pop().flatten();
        Ok(pins)
    }

    async fn load_version(
        &self,
        module: &ModuleName,
        id: &VersionId,
        digest: Digest,
        counters: Arc<Counters>,
    ) -> Result<Arc<Version>, Error> {
        let shared = &self.0;
        let read = || {
            let artifacts = shared.artifacts.clone();
            shared.runtime.load(digest, move || artifacts.read(digest))
        };
        shared.artifacts.ensure(digest).await?;
        let loaded = match read().await {
            // It was damaged on disk, and is gone now.
            Err(compiled::Error::Read(_)) => {
                shared.artifacts.ensure(digest).await?;
                read().await?
            }
            loaded => loaded?,
        };
        let version = Version::new(
            module.as_str(),
            id.clone(),
            loaded,
            counters,
            shared.limits.clone(),
            shared.tasks.clone(),
        );
        version.warm().await?;
        Ok(version)
    }

    /// Keeps a record, then lets requests go by it.
    async fn publish(&self, module: &ModuleName, next: Route) -> Result<(), Error> {
        let shared = self.0.clone();
        let (name, record) = (module.clone(), next.record.clone());
        tokio::task::spawn_blocking(move || shared.records.write(&name, &record))
            .await
            .map_err(|_| Error::Interrupted)?
            .map_err(Error::Keep)?;
        self.show(module, next);
        Ok(())
    }

    fn show(&self, module: &ModuleName, next: Route) {
        let next = Arc::new(next);
        self.0
            .table
            .rcu(|table| table.with(module.as_str(), next.clone()));
    }

    /// Tries to load what the slots name and is not loaded; says whether all is there.
    /// Idempotent: at the start of the node, and again while that left something out.
    pub(crate) async fn restore(&self) -> bool {
        let missing: Vec<ModuleName> = self
            .table()
            .iter()
            .filter(|(_, route)| !route.is_whole())
            .filter_map(|(module, _)| module.parse().ok())
            .collect();
        for module in missing {
            let lock = self.lock(&module);
            let _alone = lock.lock().await;
            let route = self.route(&module);
            let mut next = Route::clone(&route);
            match self.load(&module, &route, &mut next).await {
                Ok(_pins) => self.show(&module, next),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%module, error, "cannot load a module, trying again");
                }
            }
        }
        self.table().iter().all(|(_, route)| route.is_whole())
    }

    /// Removes the artifacts that no module needs any more.
    async fn collect(&self) {
        let shared = self.0.clone();
        let kept = move || {
            let shared_table = shared.table.load();
            let kept: HashSet<Digest> = shared_table
                .iter()
                .flat_map(|(_, route)| route.record.kept())
                .filter_map(|version| version.digest.parse().ok())
                .collect();
            kept
        };
        let artifacts = self.0.artifacts.clone();
        let done = tokio::task::spawn_blocking(move || artifacts.collect(kept)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "cannot remove artifacts that are not needed any more");
        }
    }

    fn route(&self, module: &ModuleName) -> Arc<Route> {
        self.table()
            .get(module.as_str())
            .cloned()
            .unwrap_or_default()
    }

    fn lock(&self, module: &ModuleName) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(module.clone()).or_default().clone()
    }
}

/// An error and what led to it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

/// The versions that an action names.
fn named(action: &Action) -> Option<&VersionId> {
    match action {
        Action::Stage(stage) => Some(&stage.version),
        Action::Shift(shift) => Some(&shift.version),
        Action::Promote(promote) => Some(&promote.version),
        Action::Revert(revert) => revert.to.as_ref(),
        Action::Settle(_) => None,
    }
}

fn checked(version: &VersionId) -> Result<(), Error> {
    let _: Digest = version.digest.parse()?;
    let parsed = semver::Version::parse(&version.version);
    parsed.map_err(|_| Error::Version(version.version.chars().take(80).collect()))?;
    Ok(())
}

/// The counters of a version, which go on where they were if it was loaded before.
fn counters(all: &mut Vec<Arc<Counters>>, id: &VersionId) -> Arc<Counters> {
    if let Some(at) = all.iter().position(|counters| counters.version() == id) {
        // The latest is last, and forgotten last.
        let counters = all.remove(at);
        all.push(counters.clone());
        return counters;
    }
    let counters = Counters::new(id.clone());
    all.push(counters.clone());
    let excess = all.len().saturating_sub(COUNTED);
    all.drain(..excess);
    counters
}
