use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;
use std::time::Duration;

use hotswap_core::Digest;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::Error;
use crate::compiled::{self, Compiled};
use crate::instance::State;

/// How often running modules look whether they must yield or end. A module that only
/// computes holds its thread for this long at a time.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Instances that the pool has room for; beyond, they are allocated one by one.
const POOLED_INSTANCES: u32 = 1000;

/// A component made by wit-component has three core instances: the module, and two
/// that tie its imports.
const CORE_INSTANCES_EACH: u32 = 4;

/// The WebAssembly engine, and the modules that are compiled for it. Cheap to clone;
/// the nodes of one process share one.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    pooled: Host,
    /// For instances that the pool has no room for.
    spare: Host,
    compiled: compiled::Cache,
    /// One entry for each artifact that is in use or being loaded.
    loaded: Mutex<HashMap<Digest, Slot>>,
    /// Ends the ticking thread when the last clone is dropped.
    _ticker: mpsc::Sender<()>,
}

/// Held while an artifact is being loaded, so that nodes that want the same one do the
/// work once.
type Slot = Arc<tokio::sync::Mutex<Weak<Loaded>>>;

/// An engine and what modules may import in it.
struct Host {
    engine: Engine,
    linker: Linker<State>,
}

/// An artifact, compiled and tied to its imports, ready for instances.
pub(crate) struct Loaded {
    /// In the pool.
    pub(crate) pooled: ProxyPre<State>,
    /// One by one, where the pool is full.
    pub(crate) spare: ProxyPre<State>,
}

impl Runtime {
    /// Keeps compiled modules in `cache_dir`, which it makes with access for its owner
    /// alone: what lies there is run as machine code. One process alone may use it.
    ///
    /// # Errors
    /// Where the engine cannot run on this machine, or the folder cannot be made.
    pub fn new(cache_dir: &Path) -> Result<Self, Error> {
        let spare = Engine::new(&settings()).map_err(Error::Engine)?;
        let pooled = Engine::new(settings().allocation_strategy(pool())).unwrap_or_else(|error| {
            // The pool reserves terabytes of addresses, which some sandboxes refuse.
            tracing::warn!(
                error = format!("{error:#}"),
                "no pool of instances: requests take longer"
            );
            spare.clone()
        });
        let (ticker, ended) = mpsc::channel();
        tick([pooled.clone(), spare.clone()], ended).map_err(Error::Ticker)?;
        let compiled =
            compiled::Cache::new(cache_dir, &pooled).map_err(|source| Error::Folder {
                path: cache_dir.to_owned(),
                source,
            })?;
        Ok(Self(Arc::new(Shared {
            pooled: Host::new(pooled).map_err(Error::Engine)?,
            spare: Host::new(spare).map_err(Error::Engine)?,
            compiled,
            loaded: Mutex::default(),
            _ticker: ticker,
        })))
    }

    /// Loads an artifact: from memory where another node has it loaded, else compiled
    /// from disk, else by compiling what `read` gives.
    ///
    /// Safe to cancel; the compilation then goes on and its result is kept on disk.
    pub(crate) async fn load<R>(
        &self,
        digest: Digest,
        read: R,
    ) -> Result<Arc<Loaded>, compiled::Error>
    where
        R: FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static,
    {
        let slot = self.slot(digest);
        let mut slot = slot.lock().await;
        if let Some(loaded) = slot.upgrade() {
            return Ok(loaded);
        }
        let shared = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            let Compiled { pooled, spare } = shared.compiled.load(
                digest,
                [&shared.pooled.engine, &shared.spare.engine],
                read,
            )?;
            Ok(Arc::new(Loaded {
                pooled: shared.pooled.tie(&pooled)?,
                spare: shared.spare.tie(&spare)?,
            }))
        });
        let loaded = match work.await {
            Ok(loaded) => loaded?,
            Err(_) => return Err(compiled::Error::Interrupted),
        };
        *slot = Arc::downgrade(&loaded);
        Ok(loaded)
    }

    fn slot(&self, digest: Digest) -> Slot {
        let mut slots = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries that nobody waits for and whose artifact is gone.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|weak| weak.strong_count() > 0)
        });
        slots.entry(digest).or_default().clone()
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Host {
    fn new(engine: Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(Self { engine, linker })
    }

    fn tie(
        &self,
        component: &wasmtime::component::Component,
    ) -> Result<ProxyPre<State>, compiled::Error> {
        let tied = self
            .linker
            .instantiate_pre(component)
            .map_err(compiled::Error::Imports)?;
        ProxyPre::new(tied).map_err(compiled::Error::Exports)
    }
}

/// The same for both engines, so that what is compiled for one serves the other.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Backtraces name the functions; the lines would need debug information.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOLED_INSTANCES)
        .total_core_instances(POOLED_INSTANCES * CORE_INSTANCES_EACH)
        .total_memories(POOLED_INSTANCES)
        .total_tables(POOLED_INSTANCES * 2)
        .total_stacks(POOLED_INSTANCES)
        // The limit of each node is held by the store's limiter.
        .max_memory_size(4 << 30)
        // An instance lives for one request: the few pages that it wrote are cleared
        // sooner than they are given back and faulted in again.
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

fn tick(engines: [Engine; 2], ended: mpsc::Receiver<()>) -> std::io::Result<()> {
    thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                for engine in &engines {
                    engine.increment_epoch();
                }
            }
        })
        .map(drop)
}
