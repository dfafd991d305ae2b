use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::state::InstanceState;
use crate::bindings;
use crate::limits::{Limits, TABLE_ELEMENTS, WASM_PAGE};

/// Stack for WebAssembly code. Overflowing it is a trap.
const WASM_STACK: usize = 512 << 10;

/// Stack of a run: the WebAssembly stack, and as much again for the imported functions.
/// These only lift and lower values on it; calls are answered on the stack of the task that
/// runs the strategy.
const RUN_STACK: usize = 2 * WASM_STACK;

/// Core instances of a component: its module, two that `wit-component` adds to connect the
/// imports, and one to spare.
const CORE_INSTANCES: u32 = 4;

/// Bytes of a free slot's memory that are zeroed and kept resident. Giving them back to the
/// system would cost page faults in the next run. A small strategy touches some 50 KiB.
const RESIDENT_MEMORY: usize = 256 << 10;

/// A wasmtime engine, with a linker for the functions that its components may import.
pub(crate) struct LinkedEngine {
    pub engine: Engine,
    pub linker: Linker<InstanceState>,
}

impl LinkedEngine {
    /// An engine that takes instances from a pool, which it reserves at the start.
    pub(crate) fn pooled(limits: &Limits) -> wasmtime::Result<Self> {
        let instances = limits.pooled_runs.max(1);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
            .total_memories(instances)
            .total_tables(instances.saturating_mul(2))
            .total_stacks(instances)
            .max_memory_size(limits.max_memory())
            .max_tables_per_module(4)
            .table_elements(TABLE_ELEMENTS)
            .linear_memory_keep_resident(RESIDENT_MEMORY)
            // Zeroes only the pages that were touched, where Linux can tell which. That
            // halves the time of a run of a small strategy.
            .pagemap_scan(Enabled::Auto)
            .table_keep_resident(WASM_PAGE / 16);
        let mut config = config(limits.max_memory());
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Self::new(&config)
    }

    /// An engine that allocates each instance when it is made. Code that the pooled engine
    /// has compiled runs in it unchanged.
    pub(crate) fn on_demand(limits: &Limits) -> wasmtime::Result<Self> {
        let mut config = config(limits.max_memory());
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Self::new(&config)
    }

    fn new(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        bindings::Strategy::add_to_linker::<_, HasSelf<InstanceState>>(&mut linker, |state| state)?;
        Ok(Self { engine, linker })
    }
}

/// What all engines of this crate have in common. No instance uses more than `max_memory` bytes,
/// in whole pages.
pub(crate) fn config(max_memory: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // These two are the defaults, but other crates in a program can enable cargo
        // features that change them.
        .concurrency_support(false)
        .gc_support(false)
        // Fuel is the same on every machine and in every run, unlike time: a replay must not
        // end where the first run went on (docs/adr/0019).
        .consume_fuel(true)
        // The same bits on every machine: a replay may happen on another one.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(RUN_STACK)
        // Reserve no more address space than a run can use, so that thousands of runs fit.
        // The price is bounds checks in the code, and strategies hardly compute.
        .memory_reservation(max_memory as u64)
        .memory_guard_size(WASM_PAGE as u64)
        .memory_may_move(false);
    hotswap_wasm::compile_fast_in_debug_builds(&mut config);
    config
}
