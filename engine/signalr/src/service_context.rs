use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::hub::Hub;
use crate::principal::Principal;
use crate::reconnect::MessageBuffer;
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::send_queue::SendQueue;
use crate::session::{NewSession, Session};

/// The random bytes of a connection token: more than the 122 random bits of a UUID.
const TOKEN_BYTES: usize = 18;

/// What the sessions of a service share.
pub(crate) struct ServiceContext<H: Hub> {
    pub hub: Arc<H>,
    pub config: Config,
    /// The tasks that serve WebSockets.
    pub tasks: TaskTracker,
    started_at: Instant,
    registry: Mutex<Registry<H>>,
}

impl<H: Hub> ServiceContext<H> {
    pub fn new(hub: Arc<H>, config: Config) -> Self {
        Self {
            hub,
            config,
            tasks: TaskTracker::new(),
            started_at: Instant::now(),
            registry: Mutex::new(Registry::new()),
        }
    }

    /// Milliseconds since the service started, plus one: 0 means never.
    pub fn now_millis(&self) -> u64 {
        self.millis(Instant::now())
    }

    fn millis(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.started_at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub fn registry(&self) -> MutexGuard<'_, Registry<H>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates and registers a session without a transport.
    ///
    /// # Errors
    /// Where a limit on connections is reached, or the service is shutting down.
    pub fn create_session(
        self: &Arc<Self>,
        principal: Principal<H::User>,
        stateful_reconnect: bool,
    ) -> Result<Arc<Session<H>>, Rejection> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let send_queue = SendQueue::new(
            NEXT_ID.fetch_add(1, Ordering::Relaxed),
            self.config.queue_capacity,
            stateful_reconnect.then(MessageBuffer::default),
        );
        let Principal {
            user,
            user_id,
            expires_at,
        } = principal;
        let session = Arc::new(Session::new(NewSession {
            context: Arc::clone(self),
            connection_token: random_token(),
            user_id,
            user,
            send_queue,
            expires_at: self.expiry_millis(expires_at),
            stateful_reconnect,
        }));
        self.registry().add(&session, &self.config)?;
        Ok(session)
    }

    /// The session with this connection token. A principal whose token expires later extends
    /// the session.
    ///
    /// # Errors
    /// [`Rejection::UnknownConnection`] where there is none, or it belongs to another user.
    pub fn find_session(
        &self,
        connection_token: &str,
        principal: &Principal<H::User>,
    ) -> Result<Arc<Session<H>>, Rejection> {
        let registry = self.registry();
        let session = registry
            .sessions
            .get(connection_token)
            .ok_or(Rejection::UnknownConnection)?;
        if session.user_id != principal.user_id {
            // The same answer as for an unknown token: it must not reveal which tokens exist.
            return Err(Rejection::UnknownConnection);
        }
        let expires_at = self.expiry_millis(principal.expires_at);
        session
            .timestamps
            .expires_at
            .fetch_max(expires_at, Ordering::Relaxed);
        Ok(Arc::clone(session))
    }

    pub fn remove_session(&self, connection_token: &str) {
        self.registry().remove(connection_token);
    }

    fn expiry_millis(&self, expires_at: Option<Instant>) -> u64 {
        expires_at.map_or(u64::MAX, |at| self.millis(at))
    }
}

/// A token that cannot be guessed.
///
/// # Panics
/// Where the operating system provides no randomness: without it, one client could use the
/// connection of another.
pub(crate) fn random_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}
