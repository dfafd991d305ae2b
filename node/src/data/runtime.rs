use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hotswap_core::Digest;
use hotswap_wasm::CompiledCache;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use super::epoch_ticker::EpochTicker;
use super::linked_component::{ComponentLinker, LinkedComponent};
use crate::Error;
use crate::load_error::LoadError;

/// Instances that fit in the pool. Further instances are allocated one by one.
const POOLED_INSTANCES: u32 = 1000;

/// A component made by wit-component has three core instances: the module, and two
/// that link its imports.
const CORE_INSTANCES_EACH: u32 = 4;

/// The WebAssembly engine and the modules that are loaded into it. Cheap to clone; the
/// nodes of one process share one.
#[derive(Clone)]
pub struct Runtime(Arc<RuntimeInner>);

struct RuntimeInner {
    pooled: ComponentLinker,
    /// For instances that do not fit in the pool.
    on_demand: ComponentLinker,
    compiled: CompiledCache,
    /// One entry per artifact that is loaded or being loaded.
    components: Mutex<HashMap<Digest, ComponentEntry>>,
    _ticker: EpochTicker,
}

/// Where compiled code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From memory, if it is loaded.
    Memory,
    /// From disk, even if it is loaded: the version is to start as a new one does.
    Disk,
}

/// Locked while the artifact is being loaded, so that nodes that need the same artifact
/// load it once.
type ComponentEntry = Arc<tokio::sync::Mutex<Weak<LinkedComponent>>>;

impl Runtime {
    /// Creates a runtime that keeps compiled modules in `cache_dir`.
    ///
    /// If the folder is absent, it is created with access for its owner only, because its content
    /// is run as machine code. Nodes and engines of one user may share it.
    ///
    /// # Errors
    /// If the WebAssembly engine does not work on this machine, or the folder cannot be
    /// created.
    pub fn new(cache_dir: &Path) -> Result<Self, Error> {
        let on_demand = Engine::new(&engine_config()).map_err(Error::WebAssembly)?;
        let pooled = Engine::new(engine_config().allocation_strategy(pooling_strategy()))
            .unwrap_or_else(|error| {
                // The pool reserves terabytes of addresses, which some sandboxes reject.
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot reserve the instance pool, so requests take longer"
                );
                on_demand.clone()
            });
        let ticker =
            EpochTicker::start([pooled.clone(), on_demand.clone()]).map_err(Error::EpochThread)?;
        let compiled = CompiledCache::open(cache_dir).map_err(|source| Error::Folder {
            path: cache_dir.to_owned(),
            source,
        })?;
        Ok(Self(Arc::new(RuntimeInner {
            pooled: ComponentLinker::new(pooled).map_err(Error::WebAssembly)?,
            on_demand: ComponentLinker::new(on_demand).map_err(Error::WebAssembly)?,
            compiled,
            components: Mutex::default(),
            _ticker: ticker,
        })))
    }

    /// Loads an artifact: from memory if `source` says so and a node has it loaded, else from
    /// compiled code on disk, else by compiling what `read` returns.
    ///
    /// Cancel safe: the compilation continues and its result is kept on disk.
    pub(crate) async fn load<R>(
        &self,
        digest: Digest,
        source: Source,
        read: R,
    ) -> Result<Arc<LinkedComponent>, LoadError>
    where
        R: FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
    {
        let entry = self.entry(digest);
        let mut entry = entry.lock().await;
        if source == Source::Memory
            && let Some(component) = entry.upgrade()
        {
            return Ok(component);
        }
        let runtime = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            let engines = [&runtime.pooled.engine, &runtime.on_demand.engine];
            let [pooled, on_demand] = runtime.compiled.load(digest, engines, || component(read))?;
            Ok::<_, LoadError>(Arc::new(LinkedComponent {
                pooled: runtime.pooled.link(&pooled)?,
                on_demand: runtime.on_demand.link(&on_demand)?,
            }))
        });
        let component = match work.await {
            Ok(component) => component?,
            Err(error) if error.is_panic() => {
                let reason = "the compiler panicked, which is a bug in the node: please report it";
                return Err(LoadError::Compile(wasmtime::Error::msg(reason)));
            }
            Err(_) => return Err(LoadError::ShuttingDown),
        };
        *entry = Arc::downgrade(&component);
        Ok(component)
    }

    fn entry(&self, digest: Digest) -> ComponentEntry {
        let components = &self.0.components;
        let mut entries = components.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops the entries of unloaded artifacts, unless a load is under way.
        entries.retain(|_, entry| {
            Arc::strong_count(entry) > 1
                || entry.try_lock().is_ok_and(|weak| weak.strong_count() > 0)
        });
        entries.entry(digest).or_default().clone()
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// The bytes of a component. Other kinds of artifacts are refused with words that say what they are.
fn component(read: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<Vec<u8>, LoadError> {
    const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    const CORE_MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
    let artifact = read().map_err(LoadError::Read)?;
    if artifact.starts_with(CORE_MODULE_HEADER) {
        return Err(LoadError::CoreModule);
    }
    if !artifact.starts_with(COMPONENT_HEADER) {
        return Err(LoadError::NotWasm);
    }
    Ok(artifact)
}

/// Common to both engines, so that code compiled for one runs in the other.
fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Backtraces name functions; line numbers would need debug information.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    hotswap_wasm::compile_fast_in_debug_builds(&mut config);
    config
}

fn pooling_strategy() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOLED_INSTANCES)
        .total_core_instances(POOLED_INSTANCES * CORE_INSTANCES_EACH)
        .total_memories(POOLED_INSTANCES)
        .total_tables(POOLED_INSTANCES * 2)
        .total_stacks(POOLED_INSTANCES)
        // The store's limiter enforces the limit of each node.
        .max_memory_size(4 << 30)
        // An instance lives for one request. Clearing the few pages that it wrote is faster
        // than returning them to the system and faulting them in again.
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_compiler_that_panics_has_not_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(folder.path()).unwrap();
        let digest = Digest::of(b"no matter");
        let load = runtime.load(digest, Source::Disk, || panic!("as the test wants"));
        let error = load.await.err();
        assert!(matches!(error, Some(LoadError::Compile(_))), "{error:?}");
        // The artifact is not locked.
        let load = runtime.load(digest, Source::Disk, || Ok(b"no component".to_vec()));
        let error = load.await.err();
        assert!(matches!(error, Some(LoadError::NotWasm)), "{error:?}");
    }
}
