//! A server for the SignalR protocol. The official clients connect to it unmodified.
//!
//! An application implements [`Hub`], gives it to a [`Service`], authenticates each request
//! on the hub's path and passes the request on with the [`Principal`] it found. To send to
//! a client later, it keeps the [`ConnectionHandle`] of the [`Caller`] and sends
//! [`OutboundMessage`]s through it. `tests/service/chat.rs` is a complete hub.
//!
//! - Transports: WebSockets, Server-Sent Events, long polling; negotiate versions 0 and 1.
//! - Protocols: JSON and MessagePack, handshake versions 0 to 2.
//! - Invocations, server-to-client streams, cancellation, pings and time-outs, Close with
//!   `allowReconnect`, stateful reconnect.
//! - Not supported: client-to-server streams, and client results (invocations of the server
//!   that the client answers).
//! - Each connection has a bounded send queue. A message made with
//!   [`OutboundMessage::replaceable`] may be replaced by a newer one; no other message is
//!   ever dropped. A client that falls too far behind is closed with `allowReconnect`, and
//!   resumes by the means of the application.
//!
//! This crate knows nothing of what the hubs are about. It follows HubProtocol.md and
//! TransportProtocols.md of dotnet/aspnetcore. Where these and the reference server differ,
//! it follows the server, as the clients do.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod config;
mod hub;
mod negotiate;
mod outbound_message;
mod principal;
mod protocol;
mod random_token;
mod reconnect;
mod registry;
mod rejection;
mod response;
mod send_queue;
mod service;
mod session;
mod session_context;
mod sessions;
mod transport;

pub use config::Config;
pub use hub::{Caller, ConnectionHandle, Hub, HubError, Invocation, Reply, StreamItems};
pub use outbound_message::OutboundMessage;
pub use principal::Principal;
pub use protocol::{
    CompletionResult, HandshakeError, HandshakeParser, HandshakeRequest, Message, Parser, Protocol,
    ProtocolError,
};
pub use rejection::Rejection;
pub use send_queue::{Close, QueueCapacity};
pub use service::Service;
pub use transport::{WebSocket, WebSocketUpgrade};
