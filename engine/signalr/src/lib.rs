//! A server for the SignalR protocol: the official clients connect to it unmodified.
//!
//! An application writes a [`Hub`], gives it to a [`Service`], and passes on the requests
//! that come in on the hub's path, each with the [`Guest`] that it found behind the
//! request's token. To tell clients something, it keeps the [`Peer`] of a [`Caller`] and
//! sends it an [`Event`].
//!
//! - Transports: WebSockets, Server-Sent Events, long polling; negotiation versions 0 and 1.
//! - Protocols: JSON and MessagePack, handshake versions 0 to 2.
//! - Calls, streams to the client, cancellation, pings and time-outs, Close with
//!   `allowReconnect`, stateful reconnect.
//! - Not spoken: streams from the client, and calls of the server that the client answers.
//! - Each connection has a bounded queue. An event made with [`Event::newest`] gives way to
//!   a later one; no other is ever left out: a client that falls too far behind is closed
//!   with `allowReconnect`, to come back and resume by the means of the application.
//!
//! Nothing here knows what the hubs are about. The protocol is that of HubProtocol.md and
//! TransportProtocols.md of dotnet/aspnetcore; where these and the reference server differ,
//! the server's way is taken, which the clients follow.

mod config;
mod event;
mod handshake;
mod hub;
mod line;
mod message;
mod negotiate;
mod protocol;
mod refusal;
mod registry;
mod replay;
mod service;
mod session;
mod transport;
mod upgrade;

pub use config::Config;
pub use event::Event;
pub use handshake::{Agreed, Disagreed, Handshake};
pub use hub::{Call, Caller, Hub, HubError, Items, Peer, Reply};
pub use line::{Capacity, Close};
pub use message::{Message, Outcome};
pub use protocol::{Malformed, Parser, Protocol};
pub use refusal::Refusal;
pub use service::{Guest, Service};
pub use upgrade::{Socket, Upgrade};
