//! The journal's events, for clients that do not use the hubs.

mod environment_tail;
mod event_cursor;
mod event_order;
mod event_reader;
mod event_socket;
mod event_stream;
mod reader;
mod soak_watch;

pub(crate) use event_cursor::EventCursor;
pub(crate) use event_socket::EventSocket;
pub(crate) use event_stream::{EnvironmentEventStream, EventStream};
pub(crate) use reader::{Reader, StopConditions};
