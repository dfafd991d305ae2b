use std::sync::{Mutex, OnceLock, PoisonError};

use hotswap_common::trace::{self, Span, TraceContext};
use hotswap_core::{Fence, Header};
use hotswap_store::Lease;

/// The trace of what happens under one lease.
///
/// Its span covers only the beginning, from the lease to the end of the journal: a span is lost
/// with the engine that holds it, and all others of the attempt name this one as their parent.
#[derive(Debug)]
pub(super) struct AttemptTrace {
    /// Zero where there is none: thousands of deployments that wait keep this in memory.
    previous: Fence,
    context: OnceLock<Option<TraceContext>>,
}

impl AttemptTrace {
    pub(super) fn new(lease: &Lease) -> Self {
        Self {
            previous: lease.previous.unwrap_or_default(),
            context: OnceLock::new(),
        }
    }

    /// Records the span, the first time. It continues the trace of the request, and links to the
    /// span of the attempt before, whichever engine made that.
    pub(super) fn begin(&self, fence: Fence, header: &Header) -> Option<TraceContext> {
        *self.context.get_or_init(|| {
            let request = header.trace.as_deref()?.parse().ok();
            let previous = Some(self.previous).filter(|fence| *fence != Fence(0));
            let mut span = drive_span(request, fence, previous);
            span.set_text("hotswap.deployment.id", &header.id);
            span.set_text("hotswap.module.name", &header.module.name);
            span.set_text("hotswap.module.version", &header.module.version);
            span.set_text("hotswap.environment", &header.environment);
            span.context()
        })
    }

    /// The context of the attempt. `None` before its beginning.
    pub(super) fn context(&self) -> Option<TraceContext> {
        self.context.get().copied().flatten()
    }
}

/// The context of the newest attempt that has read the journal. What is logged of an attempt that
/// has failed belongs to it.
#[derive(Debug, Default)]
pub(super) struct NewestTrace(Mutex<Option<TraceContext>>);

impl NewestTrace {
    pub(super) fn set(&self, context: Option<TraceContext>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }

    /// Runs `work` within the context.
    pub(super) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let context = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trace::within_sync(context, work)
    }
}

/// The span of a lease. Its id follows from the fence, so every engine can link to it.
pub(super) fn drive_span(
    parent: Option<TraceContext>,
    fence: Fence,
    previous: Option<Fence>,
) -> Span {
    let mut span = Span::numbered(parent, fence.0, "deployment.drive");
    span.set("hotswap.fence", fence.0);
    if let Some((context, previous)) = span.context().zip(previous) {
        span.link(context.numbered(previous.0));
    }
    span
}
