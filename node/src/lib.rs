//! The data plane: hosts modules, routes requests to them and swaps versions in place.
//!
//! A module is a WebAssembly component that exports `wasi:http/incoming-handler@0.2`.
//! A node holds up to three versions of each module in slots: `active` serves requests,
//! `staged` serves a percentage of them, and `previous` is the version that a promotion
//! replaced. A request is routed once and stays on that version to its end. A version's
//! code is unloaded when no slot names the version and its last request has ended.
//!
//! # The data port
//! HTTP/1.1 and HTTP/2, with TLS if the node has a certificate. The first label of the host names the module
//! (`checkout.example.org`; the path stays as it is). If no module has that name, the
//! first segment of the path names it (`/checkout/cart`; the module sees `/cart`). The
//! response header `x-hotswap-version` holds the version that served the request. Each
//! request runs in its own instance, without files, environment variables or network. A
//! module that traps is answered with 500, one that exceeds its time limit with 504, and
//! one that has too many requests with 503, all as `application/problem+json`.
//! `/.hotswap/ready` answers 200 while clients may be sent to this node.
//!
//! # The control port
//! [`hotswap_protocol`] lists the routes, as do `/openapi.json` and `/swagger` of a
//! running node; [`openapi`] returns the same document. `/health/live`, `/health/ready`
//! and `/metrics` are open, all other routes need the node token, and a client certificate if
//! the node asks for one.
//!
//! # On disk
//! Below the data directory:
//! - `modules/{name}.json`: a module's slots, its highest fence and its latest 256
//!   operations.
//! - `artifacts/{digest}`: the versions in slots and the five before them;
//!   `{digest}.partial`: what has arrived of one.
//! - `instance`: the random key by which the engine tells a node that was restarted from
//!   another node with the same id.
//! - `compiled/`: machine code by digest, wasmtime version and CPU.
//!
//! The outcome of an order is on disk before the order is answered as carried out, and before
//! requests are routed by it. A version that cannot be loaded affects no other slot.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use hotswap_node::{Config, Limits, Node, Secret};
//!
//! let node = Node::start(Config {
//!     id: "node-1".parse()?,
//!     environment: Some("production".parse()?),
//!     zone: None,
//!     labels: Default::default(),
//!     data_addr: "127.0.0.1:8080".parse()?,
//!     control_addr: "127.0.0.1:8081".parse()?,
//!     advertise: None,
//!     engine_url: Some("http://127.0.0.1:5000".to_owned()),
//!     is_discovered: false,
//!     token: Secret::new("the token that engine and nodes share"),
//!     data_dir: "/var/lib/hotswap".into(),
//!     tls: None,
//!     engine_tls: Default::default(),
//!     drain: None,
//!     limits: Limits::default(),
//!     log: Default::default(),
//! })
//! .await?;
//! println!("modules serve requests at http://{}", node.data_addr());
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod addresses;
mod config;
mod control;
mod current_engine;
mod data;
mod disk;
mod engine_client;
mod error;
mod load_error;
mod memory_limit;
mod node;
mod problem;
mod process;
mod server;
mod server_span;
mod slots;

pub use addresses::{Locator, UnknownAddress};
pub use config::{Config, Limits};
pub use control::openapi;
pub use data::Runtime;
pub use error::Error;
pub use hotswap_common::Secret;
pub use memory_limit::instance_memory;
pub use node::Node;
