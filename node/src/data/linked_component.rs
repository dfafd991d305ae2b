use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::instance_state::InstanceState;
use crate::load_error::LoadError;

/// A compiled component, linked to its imports and ready to be instantiated.
pub(crate) struct LinkedComponent {
    /// For instances in the pool.
    pub(super) pooled: ProxyPre<InstanceState>,
    /// For instances outside the pool, when it is full.
    pub(super) on_demand: ProxyPre<InstanceState>,
}

/// A WebAssembly engine and the interfaces that modules may import in it.
pub(super) struct ComponentLinker {
    pub(super) engine: Engine,
    linker: Linker<InstanceState>,
}

impl ComponentLinker {
    /// Provides WASI and the types of `wasi:http`.
    pub(super) fn new(engine: Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(Self { engine, linker })
    }

    /// Links a component to its imports.
    pub(super) fn link(&self, component: &Component) -> Result<ProxyPre<InstanceState>, LoadError> {
        let linked = self
            .linker
            .instantiate_pre(component)
            .map_err(LoadError::Imports)?;
        ProxyPre::new(linked).map_err(LoadError::Exports)
    }
}
