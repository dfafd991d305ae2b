use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hotswap_core::{Append, EventBody};
use hotswap_store::{AppendError, Head, Journal};
use tokio::sync::Mutex;

use crate::{InterceptedJournal, Interceptor};

/// Lets a person always win the race: right before the engine appends a certain event for the
/// first time, the person's event is appended.
pub struct Race {
    is_target: fn(&EventBody) -> bool,
    body: EventBody,
    has_raced: AtomicBool,
    /// Locked while the person's event is appended.
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
    /// What came of the person's append; `None` before it was tried. Waits while it is under way, so
    /// whoever has seen the event gets its result.
    pub async fn take_result(&self) -> Option<Result<Head, AppendError>> {
        self.result.lock().await.take()
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
            let mut result = self.result.lock().await;
            *result = Some(journal.append(first).await);
        }
        journal.append(append).await
    }
}
