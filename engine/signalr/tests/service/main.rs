//! Tests a service as an application uses it, over the transports that need no socket.
//! The tests construct the requests, and some pause the clock.

mod chat;
mod closing;
mod invocations;
mod long_polling;
mod server_sent_events;
