use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a node cannot start, or a [`Runtime`](crate::Runtime) cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WebAssembly engine does not work on this machine.
    #[error("cannot set up the WebAssembly engine")]
    Engine(#[source] wasmtime::Error),
    /// The thread that interrupts modules cannot be started.
    #[error("cannot start the thread that interrupts modules")]
    Ticker(#[source] io::Error),
    /// A folder of the node's cannot be made or read.
    #[error("cannot use the folder {}: make it writable, or name another as data directory", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another node works with the same data directory.
    #[error("another node uses the data directory {}: stop it, or name another", .0.display())]
    InUse(PathBuf),
    /// A port cannot be listened on.
    #[error("cannot listen on {addr}: stop what listens there, or name another address")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The engine's URL is none, or not one of HTTP.
    #[error("'{0}' is no URL of an engine: write it as http://host:5000")]
    EngineUrl(String),
    /// The client for the engine cannot be made.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}
