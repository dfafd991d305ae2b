//! Stateful reconnect: sends unacknowledged messages again over the next WebSocket of the
//! same connection, and recognises received messages that were handled before.
//!
//! Where the text of the specification and the reference server (MessageBuffer.cs of
//! dotnet/aspnetcore) differ, this follows the server, as the clients do: Sequence carries
//! the number of the first message that is sent again.

mod message_buffer;
mod received_sequence;
#[cfg(test)]
mod tests;

pub(crate) use message_buffer::MessageBuffer;
pub(crate) use received_sequence::ReceivedSequence;
