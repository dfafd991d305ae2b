//! A service as an application uses it, over the transports that need no socket: requests
//! are made up, and time is paused.

mod calls;
mod chat;
mod ends;
mod polling;
mod server_sent_events;
