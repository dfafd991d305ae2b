//! Serves requests: routes each one to a version, and runs the module in an instance of
//! its own.
//!
//! A request passes [`handler`] → [`routing_table`] → [`route`] → [`loaded_version`] →
//! [`instance`].

mod concurrency_limit;
mod counters;
mod cpu_meter;
mod epoch_ticker;
mod exchange;
mod failure;
mod handler;
mod instance;
mod instance_state;
mod linked_component;
mod loaded_version;
mod memory_budget;
mod module_metrics;
mod module_span;
mod rejected_requests;
mod request_body;
mod request_tracker;
mod response_body;
mod route;
mod routing_table;
mod runtime;

pub(crate) use counters::VersionCounters;
pub(crate) use handler::handle;
pub(crate) use loaded_version::LoadedVersion;
pub(crate) use memory_budget::MemoryBudget;
pub(crate) use rejected_requests::RejectedRequests;
pub(crate) use response_body::ResponseBody;
pub(crate) use route::Route;
pub(crate) use routing_table::{RoutingTable, SharedRoutingTable};
pub use runtime::Runtime;
pub(crate) use runtime::Source;
