use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings;
use crate::limits::Limits;
use crate::state::{State, TABLE_ELEMENTS};

/// Stack of the WebAssembly code. What overflows it is a trap.
const WASM_STACK: usize = 512 << 10;

/// Stack of a run: that, and as much again for the host's functions, which only lift
/// and lower values on it. Calls are answered on the stack of whoever runs the strategy.
const RUN_STACK: usize = 2 * WASM_STACK;

/// A page of WebAssembly.
const PAGE: usize = 64 << 10;

/// Core instances of a component: the module itself, two by which `wit-component` ties
/// its knots, and one to spare.
const CORE_INSTANCES: u32 = 4;

/// Memory of a free slot that is wiped and kept, rather than given back to the system and
/// faulted in again: more than what a small strategy touches in a run, some 50 KiB.
const KEPT: usize = 256 << 10;

/// An engine, and the functions that its components may import.
pub(crate) struct Linked {
    pub engine: Engine,
    pub linker: Linker<State>,
}

impl Linked {
    /// Instances come from a pool that is set aside at the start.
    pub(crate) fn pooled(limits: &Limits) -> wasmtime::Result<Self> {
        let instances = limits.pooled.max(1);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
            .total_memories(instances)
            .total_tables(instances.saturating_mul(2))
            .total_stacks(instances)
            .max_memory_size(memory(limits))
            .max_tables_per_module(4)
            .table_elements(TABLE_ELEMENTS)
            .linear_memory_keep_resident(KEPT)
            // Wipes the pages that were touched and no others, where Linux can tell which:
            // half the time of a small strategy's run.
            .pagemap_scan(Enabled::Auto)
            .table_keep_resident(PAGE / 16);
        let mut config = config(limits);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Self::new(&config)
    }

    /// Each instance is allocated as it is made. The code is the same as that of the
    /// pooled engine.
    pub(crate) fn on_demand(limits: &Limits) -> wasmtime::Result<Self> {
        let mut config = config(limits);
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Self::new(&config)
    }

    fn new(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        bindings::Strategy::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        Ok(Self { engine, linker })
    }
}

/// The most that a memory can grow to: the limit in whole pages.
pub(crate) fn memory(limits: &Limits) -> usize {
    limits.memory.max(PAGE).next_multiple_of(PAGE)
}

fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Set though they are the defaults: other crates of a program may switch the
        // features on by which the defaults change.
        .concurrency_support(false)
        .gc_support(false)
        .epoch_interruption(true)
        // The same bits on every machine: a replay may happen on another one.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(RUN_STACK)
        // Exactly as much address space as can be used. Code pays for it with checks of
        // its bounds; strategies hardly compute, and thousands of them fit.
        .memory_reservation(memory(limits) as u64)
        .memory_guard_size(PAGE as u64)
        .memory_may_move(false);
    config
}
