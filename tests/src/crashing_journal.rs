use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use hotswap_core::Append;
use hotswap_store::{AppendError, Head, Journal};
use tokio::sync::Notify;

use crate::{InterceptedJournal, Interceptor};

/// Whether the engine crashes before or after an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashTiming {
    /// The append is lost.
    BeforeAppend,
    /// The append is in the journal, but the engine gets no answer.
    AfterAppend,
}

/// Where the engine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// Number of the engine's append, counted from 0.
    pub append: u64,
    /// Before or after it.
    pub timing: CrashTiming,
}

/// Simulates a crash of the engine: a chosen append never returns.
///
/// Only the engine's own appends count, those with a fence. What users append, such as an
/// abort, does not.
pub struct Crash {
    crash_point: Option<CrashPoint>,
    append_count: AtomicU64,
    crashed: Notify,
    is_killed: AtomicBool,
}

/// A journal under which the engine crashes at a chosen point.
pub type CrashingJournal = InterceptedJournal<Crash>;

impl CrashingJournal {
    /// Crashes at `crash_point`. With `None` it only counts appends.
    pub fn at(journal: Arc<dyn Journal>, crash_point: Option<CrashPoint>) -> Arc<Self> {
        let crash = Crash {
            crash_point,
            append_count: AtomicU64::new(0),
            crashed: Notify::new(),
            is_killed: AtomicBool::new(false),
        };
        Self::new(journal, crash)
    }
}

impl Crash {
    /// How often the engine has appended.
    pub fn append_count(&self) -> u64 {
        self.append_count.load(Ordering::SeqCst)
    }

    /// Crashes the engine wherever it is: no append of it returns any more, and none that has not
    /// begun arrives.
    pub fn kill(&self) {
        self.is_killed.store(true, Ordering::SeqCst);
    }

    fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::SeqCst)
    }

    /// Waits until the crash point is reached.
    pub async fn wait_for_crash(&self) {
        self.crashed.notified().await;
    }

    async fn hang_forever(&self) -> ! {
        self.crashed.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Interceptor for Crash {
    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        if append.fence.is_none() {
            return journal.append(append).await;
        }
        let number = self.append_count.fetch_add(1, Ordering::SeqCst);
        let crash_point = self
            .crash_point
            .filter(|crash_point| crash_point.append == number);
        if self.is_killed()
            || crash_point
                .is_some_and(|crash_point| crash_point.timing == CrashTiming::BeforeAppend)
        {
            self.hang_forever().await;
        }
        let appended = journal.append(append).await;
        if crash_point.is_some() || self.is_killed() {
            self.hang_forever().await;
        }
        appended
    }
}
