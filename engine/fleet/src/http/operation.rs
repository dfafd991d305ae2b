//! Measures what the engine asks of a node.

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{NodeError, NodeId};
use reqwest::{Method, Url};
use tokio::time::Instant;

use crate::metrics::{NODE_FAILURES, NODE_OPERATIONS};

/// An order or a probe: its span, and what is counted of it.
pub(super) struct Operation {
    name: &'static str,
    pub(super) span: Span,
    started: Instant,
}

impl Operation {
    /// Begins an operation, whose name is `node.` and a name of [`NODE_OPERATIONS`], and which sends
    /// requests with `method`. `url` finds the node's address as it is now.
    pub(super) fn begin(
        span_name: &'static str,
        method: &Method,
        node: &NodeId,
        url: impl FnOnce() -> Option<Url>,
    ) -> Self {
        let mut span = Span::child(span_name, Kind::Client);
        if span.is_recorded() {
            span.set_text("http.request.method", method);
            span.set_text("hotswap.node.id", node);
            set_server(&mut span, url());
        }
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
        if let Err(error) = &result {
            self.span.fail_as(error.kind(), error);
        }
        if let Some(durations) = NODE_OPERATIONS.get(self.name) {
            durations.observe(self.started.elapsed());
        }
        if let Some(failures) = NODE_FAILURES.get(self.name).filter(|_| result.is_err()) {
            failures.count();
        }
        result
    }
}

/// Sets the address to which the requests go. Sets nothing if the node is not registered.
fn set_server(span: &mut Span, url: Option<Url>) {
    let Some(url) = url else { return };
    let scheme = match url.scheme() {
        "https" => "https",
        _ => "http",
    };
    // Registered addresses name their ports.
    if let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) {
        span.set_server(scheme, &format!("{host}:{port}"));
    }
}
