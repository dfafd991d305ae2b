//! Measures what the engine asks of a node.

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{NodeError, NodeId};
use tokio::time::Instant;

use crate::metrics::{NODE_FAILURES, NODE_OPERATIONS};

/// An order or a probe: its span, and what is counted of it.
pub(super) struct Operation {
    name: &'static str,
    pub(super) span: Span,
    started: Instant,
}

impl Operation {
    /// Begins an operation, whose name is `node.` and a name of [`NODE_OPERATIONS`].
    pub(super) fn begin(span_name: &'static str, node: &NodeId) -> Self {
        let mut span = Span::child(span_name, Kind::Client);
        span.set_text("hotswap.node.id", node);
        Self {
            name: span_name.strip_prefix("node.").unwrap_or(span_name),
            span,
            started: Instant::now(),
        }
    }

    /// Runs it to its end. One that is cancelled is not counted.
    pub(super) async fn run(
        mut self,
        work: impl Future<Output = Result<(), NodeError>>,
    ) -> Result<(), NodeError> {
        let result = self.span.run(work).await;
        self.span.fail_on_error(&result);
        if let Some(durations) = NODE_OPERATIONS.get(self.name) {
            durations.observe(self.started.elapsed());
        }
        if let Some(failures) = NODE_FAILURES.get(self.name).filter(|_| result.is_err()) {
            failures.count();
        }
        result
    }
}
