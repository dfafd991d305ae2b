//! The engine's HTTP server: the REST API, the hubs for live updates, and the OpenAPI
//! document. The only crate of the engine that maps failures to HTTP.
//!
//! [`Server::bind`] takes a [`hotswap_runner::Engine`] and serves it. [`openapi()`] returns
//! the OpenAPI document and needs no engine.
//!
//! A request passes through these modules:
//!
//! 1. `server` accepts the connection and removes a token from the URL.
//! 2. `middleware` does what all requests share: request id, time limit, log, metrics,
//!    headers, CORS.
//! 3. `live` serves the hubs; `rest` all other operations. `extract` checks who may call an
//!    operation, by `auth`, and parses its parameters and body.
//! 4. The operation answers with an object of `view`, or with a failure, which `problem`
//!    turns into a problem document (RFC 9457).

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod auth;
mod config;
mod context;
mod diagnostics;
mod extract;
mod live;
mod metrics;
mod middleware;
mod openapi;
mod origin;
mod pages;
mod problem;
mod rest;
mod routes;
mod server;
mod unread_body;
mod view;

pub use auth::{
    Algorithm, Authenticator, JwtVerifier, KeyError, Role, SignError, Signer, Tokens, UnknownRole,
};
pub use config::{Config, Limits, LiveConfig};
pub use diagnostics::{Diagnostics, RecentLog};
pub use hotswap_common::{Secret, WeakSecret};
pub use openapi::openapi;
pub use origin::{InvalidOrigin, Origin};
pub use server::{Error, Server};
