//! Rust types and traits that `bindgen!` generates from the contract.
#![allow(missing_docs, clippy::all)]

wasmtime::component::bindgen!({
    world: "discovery",
    path: "../../wit/discovery/0.1.0",
    imports: { default: async | trappable },
    exports: { default: async },
    additional_derives: [PartialEq],
    require_store_data_send: true,
    with: {
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
    },
});
