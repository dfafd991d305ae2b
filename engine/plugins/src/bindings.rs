//! Rust types and traits that `bindgen!` generates from the contract.
#![allow(missing_docs, clippy::all)]

wasmtime::component::bindgen!({
    world: "strategy",
    path: "../../wit/strategy/0.1.0",
    imports: { default: async | trappable },
    exports: { default: async },
});
