//! What carries a connection's bytes, as TransportProtocols.md of dotnet/aspnetcore says.

pub(crate) mod long_polling;
pub(crate) mod server_sent_events;
pub(crate) mod websocket;
