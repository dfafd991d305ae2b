use std::time::Duration;

use crate::line::Capacity;

/// Times and limits of a service. The defaults are those of the reference server where it
/// has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A connection that was told nothing for so long is pinged.
    pub keep_alive: Duration,
    /// A client that says nothing for so long is given up; it pings more often than that.
    /// Also how long a connection may be without a WebSocket before it is taken up again.
    pub client_timeout: Duration,
    /// How long a client may take to say which protocol it speaks.
    pub handshake_timeout: Duration,
    /// How long a poll waits for something to tell.
    pub poll_timeout: Duration,
    /// How long a client may take to take what it is sent.
    pub send_timeout: Duration,
    /// How long a hub may take to answer a call.
    pub call_timeout: Duration,
    /// The longest record of a client, in bytes.
    pub record: usize,
    /// What may wait to be sent to one client.
    pub capacity: Capacity,
    /// Streams that one connection may have open.
    pub streams: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one user.
    pub connections_per_user: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            client_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(15),
            poll_timeout: Duration::from_secs(90),
            send_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            record: 32 << 10,
            capacity: Capacity {
                records: 1024,
                bytes: 1 << 20,
            },
            streams: 16,
            connections: 20_000,
            connections_per_user: 1000,
        }
    }
}
