use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::Digest;
use tokio::sync::Semaphore;

use crate::engine::Linked;
use crate::limits::Limits;
use crate::strategy::Strategy;
use crate::ticker::Ticker;

/// Compiled strategies that a host keeps; one that is needed again later is compiled again,
/// which takes some 30 ms.
const KEPT: usize = 64;

/// Where strategies run: WebAssembly engines with their limits, and a thread that
/// interrupts what computes for long.
///
/// Cheap to clone. The thread stops when the last clone and the last strategy that was
/// loaded by one are dropped.
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Arc<Shared>,
    /// Beside what is shared, not in it: a strategy holds on to that.
    loaded: Arc<Mutex<HashMap<Digest, Strategy>>>,
}

/// What a host and its strategies own together.
pub(crate) struct Shared {
    pub limits: Limits,
    pub pooled: Linked,
    pub on_demand: Linked,
    /// A permit for each run that there is room for.
    pub room: Semaphore,
    _ticker: Ticker,
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limits do not suit this machine, or it has too little address space.
    #[error("the WebAssembly engine does not start with these limits: {0}")]
    Engine(String),
    /// The thread could not be started.
    #[error("the thread that interrupts strategies does not start")]
    Ticker(#[source] std::io::Error),
}

impl Host {
    /// A host in which each run has these limits.
    ///
    /// # Errors
    /// Where the machine has no room for it: fewer pooled instances take less.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        let engine = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let pooled = Linked::pooled(&limits).map_err(engine)?;
        let on_demand = Linked::on_demand(&limits).map_err(engine)?;
        let engines = vec![pooled.engine.clone(), on_demand.engine.clone()];
        let ticker = Ticker::start(engines).map_err(Error::Ticker)?;
        let room = Semaphore::new(limits.runs.max(1) as usize);
        Ok(Self {
            shared: Arc::new(Shared {
                room,
                limits,
                pooled,
                on_demand,
                _ticker: ticker,
            }),
            loaded: Arc::default(),
        })
    }

    /// The strategy with this digest, where it was loaded and is still kept.
    pub fn loaded(&self, digest: Digest) -> Option<Strategy> {
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest)
            .cloned()
    }

    pub(crate) fn keep(&self, strategy: Strategy) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.len() >= KEPT
            && let Some(other) = loaded.keys().next().copied()
        {
            loaded.remove(&other);
        }
        loaded.insert(strategy.digest(), strategy);
    }

    /// What each run may use.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Instances that are in the pool now; those over [`Limits::pooled`] are not counted.
    pub fn pooled(&self) -> u64 {
        let metrics = self.shared.pooled.engine.pooling_allocator_metrics();
        metrics.map_or(0, |metrics| metrics.component_instances())
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
