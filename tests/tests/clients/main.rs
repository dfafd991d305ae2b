//! The official SignalR clients and the example clients against the real program.

mod chromium;
mod examples;
mod flaky_proxy;
mod nodejs;
mod notifications;
mod python;
mod stateful_reconnect;
mod token_expiry;
