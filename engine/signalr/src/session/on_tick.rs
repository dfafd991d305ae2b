//! Pings, acknowledgements and time-outs of a session.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Session, Transport, lock};
use crate::hub::Hub;
use crate::protocol::Message;
use crate::reconnect::ReceivedSequence;
use crate::send_queue::Close;

impl<H: Hub> Session<H> {
    /// Does what is due by the clock. Called once per tick.
    pub fn on_tick(&self) {
        let (config, now) = (&self.context.config, self.context.now_millis());
        let state = self.transport_state();
        let has_elapsed =
            |since: u64, time: Duration| u128::from(now.saturating_sub(since)) >= time.as_millis();
        if self.send_queue().is_closed() {
            // The client gets time to read the Close.
            let closing_since = &self.timestamps.closing_since;
            let _ = closing_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            let since = closing_since.load(Ordering::Relaxed);
            let is_gone = !state.is_attached && state.transport != Some(Transport::LongPolling);
            if is_gone || has_elapsed(since, config.send_timeout) {
                self.end();
            }
            return;
        }
        if now >= self.timestamps.expires_at.load(Ordering::Relaxed) {
            // The client may reconnect at once: it gets a fresh token when it does.
            self.send_queue().close(Close {
                error: Some("The token has expired.".to_owned()),
                allow_reconnect: true,
            });
            return;
        }
        if !state.handshake_done {
            if has_elapsed(self.timestamps.created, config.handshake_timeout) {
                self.end();
            }
            return;
        }
        let received = self.timestamps.received.load(Ordering::Relaxed);
        let is_long_polling = state.transport == Some(Transport::LongPolling);
        // A waiting poll shows that the client is there, as a ping does.
        let is_polling = is_long_polling && state.is_attached;
        if !is_polling && has_elapsed(received.max(state.changed_at), config.client_timeout) {
            if state.is_attached {
                self.send_queue().close(Close {
                    error: Some("The client sent nothing for too long.".to_owned()),
                    allow_reconnect: true,
                });
            } else {
                self.end();
            }
            return;
        }
        let ack = lock(&self.received)
            .as_mut()
            .and_then(ReceivedSequence::next_ack);
        if let Some(sequence_id) = ack {
            self.send(Message::Ack { sequence_id });
        }
        let sent = self.timestamps.sent.load(Ordering::Relaxed);
        if !is_long_polling && state.is_attached && has_elapsed(sent, config.keep_alive_interval) {
            self.mark_sent();
            self.send(Message::Ping);
        }
    }
}
