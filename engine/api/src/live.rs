//! Live updates. The journal's tail is their only source: a `Channel` folds the events of
//! one deployment and tells what follows from each; the hubs tell it to SignalR clients,
//! `stream` and `socket` the bare events to all others.
//!
//! What is told has an `Offset` that follows from the journal alone, so that whoever
//! comes back, also to an engine that was started anew, can be told exactly what they
//! missed.

mod announce;
mod channel;
mod channels;
mod deployments;
mod everything;
mod hubs;
mod metrics;
mod offset;
mod pauses;
pub(crate) mod place;
pub(crate) mod reader;
mod recent;
mod sampler;
pub(crate) mod socket;
pub(crate) mod stream;
mod tell;
mod topic;

pub(crate) use hubs::{Hubs, WithHubs};
