//! The transports of TransportProtocols.md of dotnet/aspnetcore.

pub(crate) mod long_polling;
pub(crate) mod server_sent_events;
mod upgrade;
pub(crate) mod websocket;

pub use upgrade::{WebSocket, WebSocketUpgrade};
