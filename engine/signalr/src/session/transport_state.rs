/// How a connection's bytes are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    ServerSentEvents,
    LongPolling,
}

/// The transport of a session, and whether it may attach again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransportState {
    /// `None` until the first transport attaches. It cannot change after that.
    pub transport: Option<Transport>,
    /// Whether a transport is attached at this moment.
    pub is_attached: bool,
    /// When `is_attached` last changed.
    pub changed_at: u64,
    pub handshake_done: bool,
    /// Whether another WebSocket may attach after the handshake.
    pub stateful_reconnect: bool,
}

impl TransportState {
    pub fn new(now: u64, stateful_reconnect: bool) -> Self {
        Self {
            transport: None,
            is_attached: false,
            changed_at: now,
            handshake_done: false,
            stateful_reconnect,
        }
    }

    /// Whether this transport may attach although one was attached before.
    pub fn can_reattach(&self, transport: Transport) -> bool {
        self.transport == Some(transport)
            && match transport {
                Transport::WebSocket => self.stateful_reconnect && self.handshake_done,
                Transport::ServerSentEvents => false,
                Transport::LongPolling => true,
            }
    }
}
