//! Live updates. Their source is the tail of the journal, and for soaks that are under way what
//! the engine knows of them.
//!
//! - [`hubs`] sends notifications to SignalR clients. They come from [`feed`], which folds
//!   the events of the journal and derives notifications from them.
//! - [`events`] sends the journal's events themselves, as server-sent events and over plain
//!   WebSockets.
//!
//! The offset of a notification and the id of an event follow from the journal alone. A
//! client that reconnects, even after a restart of the engine, can be sent exactly what it
//! missed. The progress of a running soak is a state without an offset of its own: new subscribers
//! get the latest one.

mod events;
mod feed;
mod hubs;

pub(crate) use events::{
    EnvironmentEventStream, EventCursor, EventSocket, EventStream, Reader, StopConditions,
};
pub(crate) use hubs::{HubRouter, Hubs};
