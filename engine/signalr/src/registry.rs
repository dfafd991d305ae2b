use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::config::Config;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::session::Session;

/// The connections that there are, and how many may be.
pub(crate) struct Registry<H: Hub> {
    pub sessions: HashMap<String, Arc<Session<H>>>,
    /// How many each user has.
    of: HashMap<String, usize>,
    /// No more are taken.
    pub closing: bool,
}

impl<H: Hub> Registry<H> {
    pub fn new() -> Self {
        Self {
            sessions: HashMap::new(),
            of: HashMap::new(),
            closing: false,
        }
    }

    pub fn all(&self) -> Vec<Arc<Session<H>>> {
        self.sessions.values().cloned().collect()
    }

    /// Takes one in.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub fn add(&mut self, session: &Arc<Session<H>>, config: &Config) -> Result<(), Refusal> {
        if self.closing {
            return Err(Refusal::Closing);
        }
        if self.sessions.len() >= config.connections {
            return Err(Refusal::Full);
        }
        let count = self.of.entry(session.owner.clone()).or_default();
        if *count >= config.connections_per_user {
            return Err(Refusal::TooMany { count: *count });
        }
        *count += 1;
        self.sessions
            .insert(session.token.clone(), Arc::clone(session));
        Ok(())
    }

    pub fn remove(&mut self, token: &str) {
        let Some(session) = self.sessions.remove(token) else {
            return;
        };
        if let Entry::Occupied(mut count) = self.of.entry(session.owner.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
