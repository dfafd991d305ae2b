use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a node or a [`Runtime`](crate::Runtime) cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WebAssembly engine does not work on this machine.
    #[error("cannot set up the WebAssembly engine")]
    WebAssembly(#[source] wasmtime::Error),
    /// The thread that interrupts modules cannot be started.
    #[error("cannot start the thread that interrupts modules")]
    EpochThread(#[source] io::Error),
    /// A folder of the node cannot be created or read.
    #[error("cannot use the folder {}: make it writable, or choose another data directory", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why the operation failed.
        #[source]
        source: io::Error,
    },
    /// Another node uses the same data directory.
    #[error("another node uses the data directory {}: stop that node, or choose another directory", .0.display())]
    DataDirInUse(PathBuf),
    /// The node cannot listen on a port.
    #[error("cannot listen on {addr}: stop the program that uses it, or choose another address")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why listening failed.
        #[source]
        source: io::Error,
    },
    /// The engine's URL is not a valid HTTP URL.
    #[error("'{0}' is not an engine URL: write it as http://host:5000 or https://host:5000")]
    EngineUrl(String),
    /// Others cannot reach the node at the host that it should advertise.
    #[error(
        "'{0}' is not a host by which others reach this node: give a host name or an address to --advertise, without a port"
    )]
    Advertise(String),
    /// There can be no TLS.
    #[error("cannot set up TLS for requests to the engine")]
    Tls(#[from] hotswap_common::tls::Error),
    /// The HTTP client for the engine cannot be created.
    #[error("cannot set up the HTTP client for the engine")]
    HttpClient(#[source] reqwest::Error),
}

/// The messages of an error and its sources on one line, separated by colons. Skips a
/// message that an outer one already contains.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}
