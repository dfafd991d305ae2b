use hotswap_common::trace::{Kind, Span};
use tokio::time::Instant;

use crate::metrics::STEPS;

/// Runs a step of a deployment, which has a span and whose time is counted. `span` is
/// `deployment.` and a name of [`STEPS`].
pub(super) async fn measured<T, E: ToString>(
    span_name: &'static str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut span = Span::child(span_name, Kind::Internal);
    let started = Instant::now();
    let result = span.run(step).await;
    span.fail_on_error(&result);
    let name = span_name.strip_prefix("deployment.").unwrap_or(span_name);
    if let Some(durations) = STEPS.get(name) {
        durations.observe(started.elapsed());
    }
    result
}
