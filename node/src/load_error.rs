use std::io;

/// Why an artifact cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The artifact cannot be read from disk.
    #[error("cannot read the artifact")]
    Read(#[source] io::Error),
    /// The artifact is a WebAssembly core module.
    #[error(
        "the artifact is a core module, not a component: convert it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The artifact is not WebAssembly.
    #[error("the artifact is not a WebAssembly component")]
    NotWasm,
    /// The component cannot be compiled.
    #[error("the component does not compile")]
    Compile(#[from] wasmtime::Error),
    /// The component imports an interface that nodes do not provide.
    #[error("the component imports an interface that nodes do not provide")]
    Imports(#[source] wasmtime::Error),
    /// The component does not export the HTTP handler.
    #[error("the component does not export wasi:http/incoming-handler@0.2")]
    Exports(#[source] wasmtime::Error),
    /// The component traps before its first request, or exceeds its memory limit.
    #[error("the component does not start")]
    Start(#[source] wasmtime::Error),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}
