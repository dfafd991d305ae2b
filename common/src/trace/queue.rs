use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::span::FinishedSpan;

/// The spans that have ended and that nobody has exported.
///
/// It wakes the task that exports once for each batch, so that most requests wake nobody.
#[derive(Debug)]
pub struct SpanQueue {
    spans: mpsc::Receiver<FinishedSpan>,
    is_full: Arc<Notify>,
    batch_size: usize,
}

/// Where spans go when they end.
#[derive(Debug)]
pub(super) struct Ended {
    spans: mpsc::Sender<FinishedSpan>,
    is_full: Arc<Notify>,
    batch_size: usize,
}

impl SpanQueue {
    pub(super) fn new(capacity: usize, batch_size: usize) -> (Ended, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        let batch_size = batch_size.clamp(1, capacity);
        let is_full = Arc::new(Notify::new());
        let ended = Ended {
            spans: sender,
            is_full: Arc::clone(&is_full),
            batch_size,
        };
        let queue = Self {
            spans: receiver,
            is_full,
            batch_size,
        };
        (ended, queue)
    }

    /// Waits until the queue has a batch. Cancel safe.
    pub async fn wait_for_batch(&self) {
        // What was taken since it was woken is no batch any more.
        while self.len() < self.batch_size {
            self.is_full.notified().await;
        }
    }

    /// The next spans, a batch at most, without waiting.
    pub fn take_batch(&mut self) -> Vec<FinishedSpan> {
        let count = self.len().min(self.batch_size);
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count
            && let Some(span) = self.take()
        {
            batch.push(span);
        }
        batch
    }

    /// The next span, without waiting.
    pub fn take(&mut self) -> Option<FinishedSpan> {
        self.spans.try_recv().ok()
    }

    /// How many spans wait.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ended {
    /// Adds a span. Never waits: returns `false` where the queue is full.
    pub(super) fn add(&self, span: FinishedSpan) -> bool {
        let is_added = self.spans.try_send(span).is_ok();
        if self.spans.max_capacity() - self.spans.capacity() >= self.batch_size {
            self.is_full.notify_one();
        }
        is_added
    }
}
