use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::hub::Hub;

/// What the sessions of a service share.
pub(crate) struct SessionContext<H: Hub> {
    pub hub: Arc<H>,
    pub config: Config,
    /// The tasks that serve WebSockets.
    pub tasks: TaskTracker,
    started_at: Instant,
    on_end: Box<OnEnd>,
}

/// Called with the connection token of a session that has ended.
type OnEnd = dyn Fn(&str) + Send + Sync;

impl<H: Hub> SessionContext<H> {
    pub fn new(hub: Arc<H>, config: Config, on_end: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            hub,
            config,
            tasks: TaskTracker::new(),
            started_at: Instant::now(),
            on_end: Box::new(on_end),
        }
    }

    /// Milliseconds since the service started, plus one: 0 means never.
    pub fn now_millis(&self) -> u64 {
        self.millis(Instant::now())
    }

    /// The same for an expiry. `None` never expires.
    pub fn expiry_millis(&self, expires_at: Option<Instant>) -> u64 {
        expires_at.map_or(u64::MAX, |at| self.millis(at))
    }

    fn millis(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.started_at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Tells the service that a session has ended.
    pub fn session_ended(&self, connection_token: &str) {
        (self.on_end)(connection_token);
    }
}
