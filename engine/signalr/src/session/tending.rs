//! What is due by the clock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Session, Transport, lock};
use crate::hub::Hub;
use crate::line::Close;
use crate::message::Message;
use crate::replay::Received;

impl<H: Hub> Session<H> {
    /// Pings, confirmations and ends. False where it has
    /// ended.
    pub fn tend(&self) -> bool {
        let (config, now) = (&self.shared.config, self.shared.now());
        let state = self.state();
        let after =
            |since: u64, time: Duration| u128::from(now.saturating_sub(since)) >= time.as_millis();
        if self.line().is_closed() {
            // The client has been given time to hear why.
            let _ =
                self.times
                    .closing
                    .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            let since = self.times.closing.load(Ordering::Relaxed);
            let taken = !state.carried && state.transport != Some(Transport::LongPolling);
            if taken || after(since, config.send_timeout) {
                self.end();
                return false;
            }
            return true;
        }
        if now >= self.times.expires.load(Ordering::Relaxed) {
            // Back at once: the client asks for a fresh token when it connects again.
            self.line().close(Close {
                error: Some("The token has expired.".to_owned()),
                allow_reconnect: true,
            });
            return true;
        }
        if !state.agreed {
            if after(self.times.created, config.handshake_timeout) {
                self.end();
                return false;
            }
            return true;
        }
        let heard = self.times.heard.load(Ordering::Relaxed).max(state.since);
        // A poll that waits is as good as a ping.
        let polling = state.transport == Some(Transport::LongPolling) && state.carried;
        if !polling && after(heard, config.client_timeout) {
            if state.carried {
                self.line().close(Close {
                    error: Some("Nothing was heard of the client for too long.".to_owned()),
                    allow_reconnect: true,
                });
            } else {
                self.end();
                return false;
            }
            return true;
        }
        if let Some(sequence) = lock(&self.received).as_mut().and_then(Received::news) {
            self.tell(Message::Ack { sequence });
        }
        let sent = self.times.sent.load(Ordering::Relaxed);
        let silent = state.transport != Some(Transport::LongPolling);
        if silent && state.carried && after(sent, config.keep_alive) {
            self.sent();
            self.tell(Message::Ping);
        }
        true
    }
}
