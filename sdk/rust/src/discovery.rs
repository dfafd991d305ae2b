//! SDK for discovery backends: the adapters between HotSwap and registries of services.
//!
//! A backend tells the engine which instances of a service there are, and registers instances.
//! It has no network but the requests that it sends through its [`Context`], and these reach
//! only the servers that the operator's configuration names. It never sees a password or a
//! token: [`Backend::SECRETS`] says where each belongs, and the engine adds it to the requests.
//!
//! The engine runs several instances of a backend, and replaces one that panics. So a backend
//! keeps only what another instance could find out again.
//!
//! # Example
//!
//! A backend for a list behind a URL, and its test.
//!
//! ```
//! use hotswap_sdk::Span;
//! use hotswap_sdk::discovery::{Backend, Context, Error, Health, Instance, Snapshot, poll};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Settings of `list`.
//! #[derive(Deserialize, Serialize, JsonSchema)]
//! #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
//! struct Config {
//!     /// The URL of a JSON list of addresses.
//!     url: String,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { url: "http://127.0.0.1:8000/nodes.json".to_owned() }
//!     }
//! }
//!
//! struct List(Config);
//!
//! impl Backend for List {
//!     type Config = Config;
//!     const NAME: &'static str = "list";
//!     const SUMMARY: &'static str = "Finds instances in a list behind a URL.";
//!
//!     fn new(config: Config) -> Result<Self, Error> {
//!         Ok(Self(config))
//!     }
//!
//!     fn watch(
//!         &mut self,
//!         context: &Context,
//!         service: &str,
//!         cursor: Option<&str>,
//!         patience: Span,
//!     ) -> Result<Snapshot, Error> {
//!         poll(context, cursor, patience, Span::secs(10), || {
//!             let list: Vec<String> = context.get(&self.0.url).send()?.ok()?.json()?;
//!             let instance = |address: String| Instance {
//!                 id: format!("{service}-{address}"),
//!                 health: Health::Unknown,
//!                 ..hotswap_sdk::discovery::instance(address)
//!             };
//!             Ok(list.into_iter().map(instance).collect())
//!         })
//!     }
//! }
//!
//! hotswap_sdk::register_backend!(List);
//!
//! // The test runs natively, against a registry that follows a script.
//! use hotswap_sdk::discovery::testing::{Answer, ScriptedRegistry};
//!
//! let registry = ScriptedRegistry::new()
//!     .answer("GET /nodes.json", Answer::json(200, &serde_json::json!(["10.0.0.1"])))
//!     .answer("GET /nodes.json", Answer::status(503));
//! let mut list = registry.backend::<List>(Config::default()).unwrap();
//! let found = list.watch("web", None, Span::secs(60)).unwrap();
//! assert_eq!(found.instances[0].id, "web-10.0.0.1");
//! let error = list.watch("web", Some(&found.cursor), Span::secs(60)).unwrap_err();
//! assert!(matches!(error, Error::Unavailable(_)));
//! ```

mod backend;
mod backoff;
#[doc(hidden)]
pub mod bindings;
mod blocking_query;
mod context;
mod document;
mod endpoints;
mod flat;
mod follow;
mod gateway;
mod gateway_failure;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod host;
mod lines;
mod objects;
mod path;
mod registrations;
mod request;
mod response;
mod session;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod unite;
mod watching;

pub use backend::{Backend, Registered, Secret, SecretPlace, describe, instance};
pub use backoff::Backoff;
pub use bindings::exports::hotswap::discovery::backend::Descriptor;
pub use bindings::hotswap::discovery::dns::SrvRecord;
pub use bindings::hotswap::discovery::log::Level;
pub use bindings::hotswap::discovery::types::{
    Error, Health, HealthCheck, HttpCheck, Instance, Port, Registration, Snapshot,
};
pub use blocking_query::BlockingQuery;
pub use context::Context;
pub use document::Document;
pub use endpoints::Endpoints;
pub use flat::{flat_metadata, read_metadata};
pub use follow::follow;
pub use gateway::{Base64, Int64};
pub use gateway_failure::{GatewayFailure, GatewayLine};
pub use host::{Body, Chunk, Host, RawRequest, RawResponse};
pub use lines::{Line, Lines};
pub use objects::{ObjectList, ObjectMetadata, list_metadata, list_objects, watch_objects};
pub use path::Path;
pub use registrations::{KeyValueStore, Registrations};
pub use request::{Method, Request, encode};
pub use response::{Response, error_of_status};
pub use session::Session;
pub use unite::{unite, worst};
pub use watching::{ListAndWatch, Waited, list_and_watch, poll};
