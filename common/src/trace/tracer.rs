//! The one tracer of the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::queue::Ended;
use super::span::FinishedSpan;
use super::{Sampler, SpanQueue, TraceContext};

static TRACER: OnceLock<Tracer> = OnceLock::new();
static EXPORTED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Decides which spans are recorded, and takes those that have ended.
#[derive(Debug)]
pub(super) struct Tracer {
    sampler: Sampler,
    ended: Ended,
}

/// What became of the spans that were recorded since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The collector has taken them.
    pub exported: u64,
    /// The queue was full when they ended.
    pub dropped: u64,
    /// The collector did not take them in time, or refused them.
    pub failed: u64,
}

impl Counts {
    /// Each outcome by the name that metrics give it.
    pub fn by_outcome(&self) -> [(&'static str, u64); 3] {
        [
            ("exported", self.exported),
            ("dropped", self.dropped),
            ("failed", self.failed),
        ]
    }
}

/// Switches tracing on for the rest of the process. Spans that have ended wait in the queue that
/// this returns, `capacity` at most: further ones are dropped and counted. Whoever waits for the
/// queue is woken for `batch_size` of them, and not for each. `None` if tracing is on already.
pub fn install(sampler: Sampler, capacity: usize, batch_size: usize) -> Option<SpanQueue> {
    let (ended, queue) = SpanQueue::new(capacity.max(1), batch_size);
    TRACER.set(Tracer { sampler, ended }).ok()?;
    Some(queue)
}

/// Whether spans are recorded.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// What became of the spans so far.
pub fn counts() -> Counts {
    Counts {
        exported: EXPORTED.load(Relaxed),
        dropped: DROPPED.load(Relaxed),
        failed: FAILED.load(Relaxed),
    }
}

/// Counts spans that a collector has taken.
pub fn count_exported(spans: usize) {
    EXPORTED.fetch_add(spans as u64, Relaxed);
}

/// Counts spans that a collector has not taken.
pub fn count_failed(spans: usize) {
    FAILED.fetch_add(spans as u64, Relaxed);
}

pub(super) fn tracer() -> Option<&'static Tracer> {
    TRACER.get()
}

impl Tracer {
    /// The context of a span whose parent is `parent`: of a new trace where there is none.
    pub(super) fn next(&self, parent: Option<TraceContext>) -> TraceContext {
        match parent {
            Some(parent) if self.sampler.samples(parent) => parent.new_child(true),
            // Nothing is recorded here, so later spans are children of the parent. They follow
            // this sampler's decision, not the parent's.
            Some(parent) => parent.sampled(false),
            None => TraceContext::new_root(|id| self.sampler.samples_root(id)),
        }
    }

    /// Whether a trace that somebody else began is recorded.
    pub(super) fn samples(&self, parent: TraceContext) -> bool {
        self.sampler.samples(parent)
    }

    /// Never waits.
    pub(super) fn end(&self, span: FinishedSpan) {
        if !self.ended.add(span) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
}
