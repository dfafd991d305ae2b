use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::config::Config;
use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::session::Session;

/// The sessions of a service by connection token. Enforces the limits on connections.
pub(crate) struct Registry<H: Hub> {
    pub sessions: HashMap<String, Arc<Session<H>>>,
    counts_by_user: HashMap<String, usize>,
    /// New sessions are rejected.
    pub shutting_down: bool,
}

impl<H: Hub> Registry<H> {
    pub fn new() -> Self {
        Self {
            sessions: HashMap::new(),
            counts_by_user: HashMap::new(),
            shutting_down: false,
        }
    }

    pub fn all(&self) -> Vec<Arc<Session<H>>> {
        self.sessions.values().cloned().collect()
    }

    /// # Errors
    /// Where a limit is reached, or the service is shutting down.
    pub fn add(&mut self, session: &Arc<Session<H>>, config: &Config) -> Result<(), Rejection> {
        if self.shutting_down {
            return Err(Rejection::ShuttingDown);
        }
        if self.sessions.len() >= config.max_connections {
            return Err(Rejection::ServerFull);
        }
        let count = self
            .counts_by_user
            .entry(session.user_id.clone())
            .or_default();
        if *count >= config.max_connections_per_user {
            return Err(Rejection::TooManyConnections { count: *count });
        }
        *count += 1;
        self.sessions
            .insert(session.connection_token.clone(), Arc::clone(session));
        Ok(())
    }

    pub fn remove(&mut self, connection_token: &str) {
        let Some(session) = self.sessions.remove(connection_token) else {
            return;
        };
        if let Entry::Occupied(mut count) = self.counts_by_user.entry(session.user_id.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
