//! The control plane of a node: its API for the engine, orders and the modules that they
//! change, metrics, and the registration with the engine.

mod api;
mod context;
mod error_response;
mod identity;
mod metrics;
mod module_probe;
mod module_status;
mod modules;
mod order_problem;
mod order_span;
mod registration;
mod reporter;
mod service;
mod synthetic_traffic;

pub(crate) use context::ControlContext;
pub(crate) use metrics::metrics_text;
pub(crate) use modules::Modules;
pub(crate) use registration::RegistrationClient;
pub(crate) use reporter::Reporter;
pub(crate) use service::ControlService;
pub use service::openapi;
