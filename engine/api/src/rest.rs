//! The REST API. One file for each resource holds its operations: each takes what it needs
//! through the extractors of `extract`, calls the engine once, and answers with an object of
//! `view` or with a `Failure`.

mod artifacts;
mod backends;
mod clusters;
mod cursor;
mod debug;
mod deployments;
mod discovery;
mod environments;
mod events;
mod health;
mod history;
mod modules;
mod nodes;
mod operations;
mod reruns;
mod store;
mod strategies;
mod tag;

pub(crate) use events::MAX_EVENT_WAIT;
pub(crate) use operations::operations;
