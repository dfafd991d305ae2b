use std::time::Duration;

use crate::send_queue::QueueCapacity;

/// Time-outs and limits of a [`Service`](crate::Service). The defaults are those of the
/// reference server where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A connection that was sent nothing for this long is pinged.
    pub keep_alive_interval: Duration,
    /// A client that sends nothing for this long is considered gone. Clients ping more often
    /// than that. A connection with stateful reconnect also waits this long for its next
    /// WebSocket.
    pub client_timeout: Duration,
    /// How long a client may take to send its handshake request.
    pub handshake_timeout: Duration,
    /// How long a long poll waits for a message.
    pub poll_timeout: Duration,
    /// How long a single send may take.
    pub send_timeout: Duration,
    /// How long a hub may take to answer an invocation.
    pub invocation_timeout: Duration,
    /// The maximum size of a message from a client, in bytes.
    pub max_message_size: usize,
    /// How much may wait to be sent to one client.
    pub queue_capacity: QueueCapacity,
    /// The maximum number of open streams of one connection.
    pub max_streams: usize,
    /// The maximum number of connections.
    pub max_connections: usize,
    /// The maximum number of connections of one user.
    pub max_connections_per_user: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive_interval: Duration::from_secs(15),
            client_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(15),
            poll_timeout: Duration::from_secs(90),
            send_timeout: Duration::from_secs(10),
            invocation_timeout: Duration::from_secs(30),
            max_message_size: 32 << 10,
            queue_capacity: QueueCapacity {
                messages: 1024,
                bytes: 1 << 20,
            },
            max_streams: 16,
            max_connections: 20_000,
            max_connections_per_user: 1000,
        }
    }
}
