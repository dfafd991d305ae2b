//! The data plane: hosts modules, routes requests to them and swaps versions in place.
//!
//! A module is a WebAssembly component that exports `wasi:http/incoming-handler@0.2`.
//! A node holds up to three versions of each in slots: `active` answers requests,
//! `staged` gets a percentage of them, `previous` is what a promotion replaced. A
//! request goes by the routing table that it found, to its end; a version's code is
//! unloaded when no slot names it and the last of its requests has ended.
//!
//! # The data port
//! HTTP/1.1 and HTTP/2, without TLS. The first label of the host says which module a
//! request is for (`checkout.example.org`, the path as it is); where no module is
//! called so, the first segment of the path does (`/checkout/cart`, of which the module
//! sees `/cart`). The header `x-hotswap-version` of each answer tells the version. Each
//! request has an instance of its own, without files, environment or network. A module
//! that traps answers 500, one that takes too long 504, one that has too many requests
//! 503; all of them as `application/problem+json`.
//!
//! # The control port
//! The routes are listed in [`hotswap_protocol`], and in `/openapi.json` and `/swagger`
//! of the node; [`openapi`] gives the same document. `/health/live`, `/health/ready`
//! and `/metrics` are open, all else needs the node token.
//!
//! # On disk
//! Below the data directory: `modules/{name}.json`, a module's slots, highest fence and
//! latest 256 operations; `artifacts/{digest}`, for the versions in slots and the five
//! before them; `compiled/`, machine code by digest, version of wasmtime and CPU. An
//! order's outcome is on disk before it is answered, and before requests go by it.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use hotswap_node::{Config, Limits, Node, Token};
//!
//! let node = Node::start(Config {
//!     id: "node-1".parse()?,
//!     environment: "production".parse()?,
//!     zone: None,
//!     labels: Default::default(),
//!     data_addr: "127.0.0.1:8080".parse()?,
//!     control_addr: "127.0.0.1:8081".parse()?,
//!     advertise: None,
//!     engine_url: Some("http://127.0.0.1:5000".to_owned()),
//!     token: Token::new("the token that engine and nodes share"),
//!     data_dir: "/var/lib/hotswap".into(),
//!     limits: Limits::default(),
//! })
//! .await?;
//! println!("modules answer at http://{}", node.data_addr());
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod artifacts;
mod body;
mod compiled;
mod config;
mod control;
mod counters;
mod data;
mod error;
mod folder;
mod gate;
mod instance;
mod meter;
mod modules;
mod node;
mod problem;
mod process;
mod record;
mod registration;
mod runtime;
mod server;
mod slots;
mod table;
mod version;

pub use config::{Config, Limits, Token};
pub use control::openapi;
pub use error::Error;
pub use node::Node;
pub use runtime::Runtime;
