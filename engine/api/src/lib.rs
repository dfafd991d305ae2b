//! The engine's REST API and hubs: the only crate that says what a failure is in HTTP.
//!
//! [`Server::bind`] takes an [`hotswap_runner::Engine`] and serves it; [`openapi()`] is the
//! document that describes what it serves, and needs no engine.
//!
//! One file for each resource holds its operations; each extracts what the request says,
//! calls the engine once and answers with an object of `view`, or with a failure that
//! becomes a problem (RFC 9457) in one place, `problem`. Which role an operation needs is
//! told by the extractor of `auth` that it takes. What all requests share (ids, time
//! limits, metrics, headers, pages of other origins) is in `front`; what goes on for longer
//! than a request, in `live`.

mod artifacts;
mod auth;
mod body;
mod clusters;
mod config;
mod context;
mod deployments;
mod events;
mod front;
mod health;
mod live;
mod metrics;
mod modules;
mod nodes;
mod openapi;
mod origin;
mod pages;
mod problem;
mod routes;
mod server;
mod strategies;
mod text;
pub(crate) mod view;

pub use auth::{
    Algorithm, Jwt, KeyError, Role, Secret, SignError, Signer, Tokens, UnknownRole, WeakSecret,
};
pub use config::{Config, Limits, Live};
pub use openapi::openapi;
pub use origin::{BadOrigin, Origin};
pub use server::{Error, Server};
