//! The engine's REST API: the only crate that knows HTTP status codes.
//!
//! [`Server::bind`] takes an [`hotswap_runner::Engine`] and serves it; [`openapi()`] is the
//! document that describes what it serves, and needs no engine.
//!
//! One file for each resource holds its operations; each extracts what the request says,
//! calls the engine once and answers with an object of `view`, or with a failure that
//! becomes a problem (RFC 9457) in one place, `problem`. What all requests share (ids,
//! time limits, metrics, headers) is in `front`.

mod artifacts;
mod auth;
mod body;
mod clusters;
mod config;
mod context;
mod deployments;
mod front;
mod health;
mod metrics;
mod modules;
mod nodes;
mod openapi;
mod pages;
mod problem;
mod routes;
mod server;
mod strategies;
mod text;
pub(crate) mod view;

pub use auth::{Secret, Tokens, WeakSecret};
pub use config::{Config, Limits};
pub use openapi::openapi;
pub use server::{Error, Server};
