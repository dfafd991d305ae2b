use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{Append, EventBody};
use hotswap_store::{AppendError, Head, Journal};

use crate::{InterceptedJournal, Interceptor};

/// Lets a person always win the race: right before the engine appends a certain event for the
/// first time, the person's event is appended.
pub struct Race {
    is_target: fn(&EventBody) -> bool,
    body: EventBody,
    has_raced: AtomicBool,
    result: Mutex<Option<Result<Head, AppendError>>>,
}

/// A journal in which a person always wins the race.
pub type RacingJournal = InterceptedJournal<Race>;

impl RacingJournal {
    /// Appends `body` right before the first event that `is_target` accepts.
    pub fn before(
        journal: Arc<dyn Journal>,
        is_target: fn(&EventBody) -> bool,
        body: EventBody,
    ) -> Arc<Self> {
        let race = Race {
            is_target,
            body,
            has_raced: AtomicBool::new(false),
            result: Mutex::new(None),
        };
        Self::new(journal, race)
    }
}

impl Race {
    /// What came of the person's append; `None` before it was tried.
    pub fn take_result(&self) -> Option<Result<Head, AppendError>> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take()
    }
}

#[async_trait]
impl Interceptor for Race {
    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        let races = append.fence.is_some() && append.bodies.iter().any(self.is_target);
        if races && !self.has_raced.swap(true, Ordering::SeqCst) {
            let first = Append {
                fence: None,
                bodies: vec![self.body.clone()],
                ..append.clone()
            };
            let result = journal.append(first).await;
            *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
        journal.append(append).await
    }
}
