//! Traces: spans of what this program did, which the spans of other programs name as parents.
//!
//! [`install`] switches tracing on, and returns the queue from which somebody exports. Until then
//! [`Span`]s cost nothing, and the [`TraceContext`] that a request brings is passed on as it came.
//!
//! ```
//! # use hotswap_common::trace::{self, Kind, Span, TraceContext};
//! # async fn answer() {}
//! # async fn example(traceparent: &str) {
//! let caller: Option<TraceContext> = traceparent.parse().ok();
//! let mut span = Span::continuing(caller, "answer", Kind::Server);
//! span.set("http.request.method", "GET");
//! // All that runs in here finds the span's context with `trace::current`.
//! span.run(answer()).await;
//! # }
//! ```

mod context;
mod current;
mod http;
mod queue;
mod sampler;
mod span;
mod tracer;

pub use context::{InvalidTraceParent, TRACEPARENT, TraceContext};
pub use current::{current, within, within_sync};
pub use http::{OTHER_METHOD, known_method};
pub use queue::SpanQueue;
pub use sampler::Sampler;
pub use span::{FinishedSpan, Kind, Span, Value};
pub use tracer::{Counts, count_exported, count_failed, counts, install, is_on};
