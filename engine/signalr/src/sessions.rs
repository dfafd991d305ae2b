use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::hub::Hub;
use crate::principal::Principal;
use crate::random_token::random_token;
use crate::reconnect::MessageBuffer;
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::send_queue::SendQueue;
use crate::session::{NewSession, Session};
use crate::session_context::SessionContext;

/// Creates, finds and forgets the sessions of a service.
pub(crate) struct Sessions<H: Hub> {
    pub context: Arc<SessionContext<H>>,
    registry: Arc<Mutex<Registry<H>>>,
}

impl<H: Hub> Sessions<H> {
    pub fn new(hub: Arc<H>, config: Config) -> Self {
        let registry = Arc::new(Mutex::new(Registry::new()));
        // Weak, because the registry holds sessions, and each session holds the context.
        let weak = Arc::downgrade(&registry);
        let context = SessionContext::new(hub, config, move |connection_token| {
            if let Some(registry) = weak.upgrade() {
                lock(&registry).remove(connection_token);
            }
        });
        Self {
            context: Arc::new(context),
            registry,
        }
    }

    /// Creates and registers a session without a transport.
    ///
    /// # Errors
    /// Where a limit on connections is reached, or the service is shutting down.
    pub fn create(
        &self,
        principal: Principal<H::User>,
        stateful_reconnect: bool,
    ) -> Result<Arc<Session<H>>, Rejection> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let config = &self.context.config;
        let send_queue = SendQueue::new(
            NEXT_ID.fetch_add(1, Ordering::Relaxed),
            config.queue_capacity,
            stateful_reconnect.then(MessageBuffer::default),
        );
        let Principal {
            user,
            user_id,
            expires_at,
        } = principal;
        let session = Arc::new(Session::new(NewSession {
            context: Arc::clone(&self.context),
            connection_token: random_token(),
            user_id,
            user,
            send_queue,
            expires_at: self.context.expiry_millis(expires_at),
            stateful_reconnect,
        }));
        self.registry().add(&session, config)?;
        Ok(session)
    }

    /// The session with this connection token. A principal whose token expires later extends
    /// the session.
    ///
    /// # Errors
    /// [`Rejection::UnknownConnection`] if there is none, or it belongs to another user.
    pub fn find(
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
        let expires_at = self.context.expiry_millis(principal.expires_at);
        session
            .timestamps
            .expires_at
            .fetch_max(expires_at, Ordering::Relaxed);
        Ok(Arc::clone(session))
    }

    pub fn registry(&self) -> MutexGuard<'_, Registry<H>> {
        lock(&self.registry)
    }
}

fn lock<H: Hub>(registry: &Mutex<Registry<H>>) -> MutexGuard<'_, Registry<H>> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
